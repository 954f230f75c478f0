"""What figures are counted of: chats, agents and connections by reference, there or gone."""

from __future__ import annotations

from typing import Literal

from llmctl.core.errors import NotFoundError
from llmctl.store import refs
from llmctl.store.database import Database
from llmctl.store.stats import query
from llmctl.store.stats.scope import Scope


def scope(
    database: Database,
    chat_id: str | None,
    agent: str | None,
    connection: str | None,
    since: str | None,
    until: str | None,
) -> Scope:
    """Return what is counted; agents and connections by REF. Raises NotFoundError for one that nobody ever knew."""
    agent, agent_id = _party(database, "agents", "agent", agent)
    connection, connection_id = _party(database, "model_connections", "connection", connection)
    return Scope(chat_id, agent, agent_id, connection, connection_id, since, until)


def _party(
    database: Database, table: str, kind: Literal["agent", "connection"], ref: str | None
) -> tuple[str | None, str | None]:
    """Return name and id of an agent or connection; of one that is gone the ledger still has the name."""
    if ref is None:
        return None, None
    row = refs.find(database, table, ref, kind=kind)
    if row is not None:
        return row["name"], row["id"]
    if query.is_named(database, kind, ref):
        return ref, None
    raise NotFoundError(f'no {kind} "{ref}"', hint=f"see: llmctl {kind} list")
