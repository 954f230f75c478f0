"""Named references between records, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.stored_values import dumps, loads
from llmctl.store import refs
from llmctl.store.database import Database, Row, Update

#: Table -> kind of record; those with names first.
KINDS = {
    "chats": "chat",
    "model_connections": "connection",
    "agents": "agent",
    "tools": "tool",
    "model_aliases": "alias",
    "messages": "message",
    "message_threads": "thread",
    "requests": "request",
    "network_calls": "network-call",
    "response_streams": "stream",
    "tool_invocations": "invocation",
    "jobs": "job",
    "map_items": "item",
    "provider_batches": "batch",
    "proxy_apps": "app",
    "agent_sessions": "session",
    "attachments": "attachment",
    "message_attachments": "message-attachment",
    "rendered_conversation_threads": "render",
    "text_logs": "log",
    "metrics": "metric",
    "model_prices": "price",
    "permission_rules": "rule",
    "agent_tool_connections": "permission",
    "user_settings": "settings",
}
_TABLES = {kind: table for table, kind in KINDS.items()}
#: Tables that hubs of earlier schemas do not have.
_SINCE_VERSION = {"map_items": 5, "provider_batches": 5, "proxy_apps": 6}
#: References are not indexed: this scans the rows that have any.
_REFERRING = "SELECT id, refs FROM {{{table}}} WHERE refs <> '{{}}' AND instr(refs, :id) ORDER BY rowid"


def get(database: Database, ref: str) -> tuple[str, Row]:
    """Return table and row of a record; ``ref`` is a REF of any kind of record, or ``kind:REF``."""
    kind, colon, rest = ref.partition(":")
    if colon and kind in _TABLES:
        return _TABLES[kind], refs.get(database, _TABLES[kind], rest, kind=kind)
    kinds = _list_kinds(database)
    result = [(table, row) for table, kind in kinds if (row := refs.find(database, table, ref, kind=kind))]
    if len(result) == 1:
        return result[0]
    if not result:
        raise NotFoundError(f'no record "{ref}"', hint="use an id, a name, or KIND:REF such as chat:fix-42")
    named = ", ".join(f"{KINDS[table]}:{row['id'][:13]}" for table, row in result)
    raise NotFoundError(f'"{ref}" matches more than one record', hint=f"candidates: {named}", reason="ambiguous")


def resolve_targets(database: Database, targets: Mapping[str, Any], *, allow_unknown: bool = False) -> dict[str, Any]:
    """Return name -> id of the record that each target refers to; None stays.

    Raises NotFoundError for an unknown target, unless it is allowed: an id of a record that is not in this hub.
    """
    return {
        name: None if target is None else _resolve_id(database, str(target), allow_unknown=allow_unknown)
        for name, target in targets.items()
    }


def _resolve_id(database: Database, target: str, *, allow_unknown: bool) -> str:
    try:
        return str(get(database, target)[1]["id"])
    except NotFoundError as error:
        if not allow_unknown or error.reason == "ambiguous":
            raise
        return target


def update(database: Database, table: str, id: str, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Set references of a record, and remove those that are None; return all of them."""
    with database.transaction(durable=True):
        old = loads(database.value(f"SELECT refs FROM {{{table}}} WHERE id = ?", (id,)), {})
        new = {name: target for name, target in {**old, **changes}.items() if target is not None}
        if new != old:
            database.commit(Update(table, id, {"refs": dumps(new), "updated_at": clock.now()}))
    return new


def list_outgoing(database: Database, table: str, row: Row) -> Iterator[Row]:
    """Yield the references of a record: ``name``, ``id`` and ``kind`` of the target (None if it is not in this hub)."""
    for name, id in loads(row["refs"], {}).items():
        yield {"direction": "to", "name": name, "kind": _kind(database, str(id)), "id": id}


def list_incoming(database: Database, id: str) -> Iterator[Row]:
    """Yield references to a record: ``name``, and ``kind`` and ``id`` of the record that has it."""
    for table, kind in _list_kinds(database):
        for row in database.rows(_REFERRING.format(table=table), {"id": id}):
            names = [name for name, target in loads(row["refs"], {}).items() if target == id]
            yield from ({"direction": "from", "name": name, "kind": kind, "id": row["id"]} for name in names)


def _list_kinds(database: Database) -> list[tuple[str, str]]:
    """Return the tables of this hub that can refer, each with its kind."""
    return [(table, kind) for table, kind in KINDS.items() if database.version >= _SINCE_VERSION.get(table, 0)]


def _kind(database: Database, id: str) -> str | None:
    for table, kind in _list_kinds(database):
        if database.value(f"SELECT 1 FROM {{{table}}} WHERE id = ?", (id,)):
            return kind
    return None
