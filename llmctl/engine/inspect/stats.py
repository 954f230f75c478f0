"""Resolve the references that limit a statistics query: chats, agents, connections, existing or deleted."""

from __future__ import annotations

from typing import Literal

from llmctl.core.errors import NotFoundError
from llmctl.store import refs
from llmctl.store.database import Database
from llmctl.store.stats import query
from llmctl.store.stats.scope import Scope


def resolve_scope(
    database: Database,
    chat_id: str | None,
    agent: str | None,
    connection: str | None,
    since: str | None,
    until: str | None,
) -> Scope:
    """Return the scope of a query; agents and connections by REF. Raises NotFoundError for an unknown one."""
    agent, agent_id = _resolve_name(database, "agents", "agent", agent)
    connection, connection_id = _resolve_name(database, "model_connections", "connection", connection)
    return Scope(chat_id, agent, agent_id, connection, connection_id, since, until)


def _resolve_name(
    database: Database, table: str, kind: Literal["agent", "connection"], ref: str | None
) -> tuple[str | None, str | None]:
    """Return name and id of an agent or connection; a deleted one still has its name in the requests."""
    if ref is None:
        return None, None
    row = refs.find(database, table, ref, kind=kind)
    if row is not None:
        return row["name"], row["id"]
    if query.is_known_name(database, kind, ref):
        return ref, None
    raise NotFoundError(f'no {kind} "{ref}"', hint=f"see: llmctl {kind} list")
