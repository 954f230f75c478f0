"""Other programs' SQLite databases, read as conversations."""
