"""What llmctl does: the only package that combines the others. Knows no terminal, no exit code and no SQL."""
