"""Flags, terminal and exit codes. A command is: flags, one call into the engine or the store, one rendering."""
