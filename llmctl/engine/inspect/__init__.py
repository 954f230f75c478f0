"""Looking back: what was sent, what came, what it amounts to."""
