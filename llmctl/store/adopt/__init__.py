"""Convert a database of another program to a hub."""
