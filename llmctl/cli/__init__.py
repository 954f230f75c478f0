"""The command line: flags, terminal output and exit codes. A command parses flags, makes one call and renders once."""
