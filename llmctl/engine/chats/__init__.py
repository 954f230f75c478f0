"""Find, fork and rewind chats; read their attachments."""
