"""Scripts for development, not part of the installed package."""
