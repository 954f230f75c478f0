"""Commands: the path is the command line, ``chats delete`` is ``chats/delete.py``."""
