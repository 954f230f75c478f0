"""Two rows for one place: a name, a position in a thread, the content of a file. Neither is lost, neither doubled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmctl.store.database import Database, Row

if TYPE_CHECKING:
    from llmctl.store.transfer.merge import Merger

#: How often another place is looked for.
MOST = 8

#: A row for another place; or a text: why there is none, empty where the row is here already.
Solution = Mapping[str, Any] | str


def solve(merger: Merger, table: str, row: Mapping[str, Any]) -> Solution:
    """Return the row for a place that is free, or why it stays out."""
    solver = _SOLVERS.get(table)
    return solver(merger, table, row) if solver else f"{table}: it is here already under another id"


def _named(merger: Merger, table: str, row: Mapping[str, Any]) -> Solution:
    """A name is unique: the same thing under another id is that thing, another one gets a number."""
    ours = merger.database.one(f"SELECT * FROM {{{table}}} WHERE name = ?", (row["name"],))
    if ours is None:
        return f"{table}: it is here already under another id"
    if ours["id"] != row["id"] and _means_the_same(table, ours, row):
        if merger.is_fresh and ours["created_at"] == ours["updated_at"] and table == "model_connections":
            _replace(merger.database, table, ours["id"])
            return row
        merger.links.same(row["id"], ours["id"])
        return ""
    return {**row, "name": _free_name(merger.database, table, row["name"], row["id"])}


def _chat(merger: Merger, table: str, row: Mapping[str, Any]) -> Solution:
    return {**row, "name": _free_name(merger.database, table, row["name"], row["id"])}


def _file(merger: Merger, table: str, row: Mapping[str, Any]) -> Solution:
    ours = merger.database.value("SELECT id FROM {attachments} WHERE content_hash = ?", (row["content_hash"],))
    merger.links.same(row["id"], ours)
    return ""


def _message(merger: Merger, table: str, row: Mapping[str, Any]) -> Solution:
    """A conversation that went on in two hubs: what comes second stands at the end."""
    last = merger.database.value("SELECT max(seq) FROM {messages} WHERE thread_id = ?", (row["thread_id"],))
    return {**row, "seq": last + 1}


def _piece(merger: Merger, table: str, row: Mapping[str, Any]) -> Solution:
    last = merger.database.value("SELECT max(position) FROM {text_logs} WHERE series_id = ?", (row["series_id"],))
    return {**row, "position": last + 1}


def _here(merger: Merger, table: str, row: Mapping[str, Any]) -> Solution:
    return ""


_SOLVERS: Mapping[str, Callable[[Merger, str, Mapping[str, Any]], Solution]] = {
    "model_connections": _named,
    "model_aliases": _named,
    "tools": _named,
    "agents": _named,
    "chats": _chat,
    "attachments": _file,
    "messages": _message,
    "text_logs": _piece,
    "agent_tool_connections": _here,
    "message_attachments": _here,
    "agent_sessions": _here,
    "tool_invocations": _here,
}
#: What makes two rows of one name the same thing.
_MEANING = {
    "model_connections": ("provider", "model_id", "type", "data"),
    "model_aliases": ("target", "options"),
    "tools": ("type", "schema", "data"),
    "agents": ("instructions", "options"),
}


def _means_the_same(table: str, ours: Row, theirs: Mapping[str, Any]) -> bool:
    return all(ours[name] == theirs.get(name) for name in _MEANING[table])


def _replace(database: Database, table: str, id: str) -> None:
    database.execute(f"DELETE FROM {{{table}}} WHERE id = ?", (id,))


def _free_name(database: Database, table: str, name: str, id: str) -> str:
    number = 2
    sql = f"SELECT 1 FROM {{{table}}} WHERE name = ? AND id <> ?"
    while database.value(sql, (f"{name}-{number}", id)):
        number += 1
    return f"{name}-{number}"
