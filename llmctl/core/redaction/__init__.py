"""Find and mask secrets and personal data in text. Pure: no I/O."""
