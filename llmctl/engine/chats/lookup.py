"""Which chat a turn goes on with."""

from __future__ import annotations

from llmctl.core.errors import NotFoundError
from llmctl.engine.turn.options import Origin
from llmctl.store import refs
from llmctl.store.database import Database, Row

_NEWEST = "SELECT * FROM {chats} WHERE last_turn_at IS NOT NULL AND type <> 'agent'"
#: With a model or an agent; what an agent was asked by another one is not what a person means.
_LAST = """
SELECT * FROM {chats} c WHERE last_turn_at IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM {agent_sessions} s JOIN {tool_invocations} i ON i.id = s.id WHERE s.chat_id = c.id
) ORDER BY last_turn_at DESC LIMIT 1
"""


def by_reference(database: Database, ref: str) -> Row:
    """Return the chat of ``--chat REF``; ``last`` is the newest anywhere. Raises NotFoundError."""
    if ref != "last":
        return refs.get(database, "chats", ref, kind="chat")
    row = database.one(_LAST)
    if row is None:
        raise NotFoundError("there is no chat yet", hint='begin one with: llmctl chat "..."')
    return row


def by_name(database: Database, name: str) -> Row | None:
    """Return the chat of that name, if there is one."""
    return database.one("SELECT * FROM {chats} WHERE name = ?", (name,))


def newest_like(database: Database, origin: Origin) -> Row:
    """Return the newest chat whose last turn was asked for like this one: from a terminal, or from this folder.

    Raises NotFoundError that names the newest elsewhere.
    """
    if origin.terminal:
        row = database.one(f"{_NEWEST} AND last_turn_terminal = 1 ORDER BY last_turn_at DESC LIMIT 1")
        place = "from a terminal"
    else:
        row = database.one(
            f"{_NEWEST} AND last_turn_terminal = 0 AND last_turn_folder IS ? ORDER BY last_turn_at DESC LIMIT 1",
            (origin.folder,),
        )
        place = f"from {_folder(origin.folder)}"
    if row is not None:
        return row
    elsewhere = database.one(f"{_NEWEST} ORDER BY last_turn_at DESC LIMIT 1")
    raise NotFoundError(f"no chat to continue {place}", hint=_elsewhere(elsewhere))


def turns(database: Database, chat: Row) -> int:
    """Return how many times the user spoke."""
    sql = "SELECT count(*) FROM {messages} WHERE chat_id = ? AND role = 'user'"
    return int(database.value(sql, (chat["id"],)) or 0)


def _elsewhere(row: Row | None) -> str:
    if row is None:
        return 'begin one with: llmctl chat "..."'
    name = row["name"] or row["id"][:8]
    place = "a terminal" if row["last_turn_terminal"] else _folder(row["last_turn_folder"])
    return f"the newest one is from {place}: llmctl chat --chat {name}"


def _folder(path: str | None) -> str:
    return f'"{path}"' if path else "a folder that is gone"
