"""Turn a database of another program into a hub."""
