"""What llmctl does: the only room that combines the others. Knows no terminal, no exit code and no SQL."""
