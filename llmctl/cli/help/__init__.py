"""Help texts and help topics."""
