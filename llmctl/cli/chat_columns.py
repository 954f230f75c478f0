"""The columns of ``chats list`` and ``chats search``."""

from __future__ import annotations

from llmctl.cli.console.output import Column

CHATS = [
    Column("id", "id"),
    Column("name"),
    Column("preview", header="begins with"),
    Column("model"),
    Column("message_count", "number", header="messages"),
    Column("last_turn_at", "time", header="last turn"),
    Column("description", shown=False),
    Column("connection", shown=False),
    Column("agent", shown=False),
    Column("provider", shown=False),
    Column("instructions", shown=False),
    Column("thread_id", "id", shown=False),
    Column("type", shown=False),
    Column("source_id", "id", shown=False),
    Column("last_turn_folder", shown=False),
    Column("last_turn_terminal", "bool", shown=False),
    Column("metadata", "json", shown=False),
    Column("settings", "json", shown=False),
    Column("references", "json", shown=False),
    Column("origin", shown=False),
    Column("created_at", "time", shown=False),
    Column("updated_at", "time", shown=False),
]
HITS = [
    Column("chat_id", "id"),
    Column("chat"),
    Column("seq", "number", header="#"),
    Column("role"),
    Column("created_at", "time", header="when"),
    Column("snippet"),
    Column("id", "id", shown=False),
    Column("thread_id", "id", shown=False),
    Column("model", shown=False),
]
