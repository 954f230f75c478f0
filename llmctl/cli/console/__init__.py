"""Streams, terminal, output formats, tables, prompts and signals."""
