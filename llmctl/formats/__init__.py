"""Conversations and records in other shapes: text, JSON Lines, Markdown. Does not know the database."""
