"""What the commands that look back share: references, limits, times, columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import Column
from llmctl.cli.console.terminal import coloured, has_colour, safe_text
from llmctl.core import time_ranges
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.registry import unknown
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, threads

#: Rows of a listing when nothing else is said.
FIRST_PAGE = 50

#: What freeing a thread came to, in words.
FREED = {
    "free": "was free already",
    "recovered": "is free: the turn of its dead holder was finished",
    "forced": "was taken from a live process",
}


def limit(value: int) -> int | None:
    """Return how many rows ``--limit`` allows; 0 is all."""
    if value < 0:
        raise UsageError(f'"--limit {value}" is less than 0', hint="0 shows all")
    return value or None


def moment(text: str | None) -> str | None:
    """Return the stored time of ``--since`` and its like."""
    return time_ranges.moment(text) if text is not None else None


def chat(database: Database, ref: str) -> Row:
    """Return the chat of a REF with its numbers; ``last`` is the newest."""
    return chats.one(database, _named(database, ref)["id"])


def chat_id(database: Database, ref: str | None) -> str | None:
    """Return the id of the chat that an option names, if it does."""
    return str(_named(database, ref)["id"]) if ref is not None else None


def thread_of(database: Database, chat_row: Row) -> Row:
    """Return the thread of a chat; raise where nothing was ever said in it."""
    thread = threads.of_chat(database, chat_row["id"])
    if thread is None:
        raise NotFoundError(f'the chat "{called(chat_row)}" has no messages yet')
    return thread


def called(row: Row) -> str:
    """Return what people call a thing: its name, or the beginning of its id."""
    return str(row["name"] or row["id"][:8])


def one_of(value: str | None, choices: Sequence[str], kind: str) -> str | None:
    """Return a value that must be one of a closed set."""
    if value is not None and value not in choices:
        raise unknown(kind, value, choices)
    return value


def with_fields(database: Database, table: str, columns: Sequence[Column]) -> list[Column]:
    """Return the columns of a listing with the hub's own fields of that table, shown when asked for."""
    known = {column.name for column in columns}
    kinds = {"INTEGER": "number", "REAL": "number", "BOOLEAN": "bool", "JSONB": "json"}
    custom = database.fields.get(table, {})
    own = [Column(name, kinds.get(kind.upper(), "text"), shown=False) for name, kind in custom.items()]  # type: ignore[arg-type]
    return [*columns, *(column for column in own if column.name not in known)]


def harmless(app: App, value: Any) -> Any:
    """Return a record whose texts cannot steer the terminal, where stdout is one."""
    if not app.io.stdout_tty:
        return value
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, dict):
        return {key: harmless(app, item) for key, item in value.items()}
    return [harmless(app, item) for item in value] if isinstance(value, list) else value


def paint(app: App, text: str, colour: str) -> str:
    """Return text in a colour where stdout has any."""
    return coloured(text, colour) if has_colour(app.env, app.io.stdout_tty) else text


def _named(database: Database, ref: str) -> Row:
    if ref != "last":
        return refs.get(database, "chats", ref, kind="chat")
    from llmctl.engine.chats import lookup  # 5 ms of what turns are made of

    return lookup.by_reference(database, ref)
