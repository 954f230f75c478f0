"""Which chats a listing shows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from llmctl.cli.app import App
from llmctl.cli.looking import moment
from llmctl.core.errors import UsageError
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.records import chats


def wanted(
    database: Database,
    *,
    since: str | None,
    where: Sequence[str],
    model: str | None,
    agent: str | None,
    connection: str | None,
    folder: str | None,
) -> chats.Filter:
    """Return the filter that the flags mean."""
    return chats.Filter(
        since=moment(since),
        model=model,
        agent_id=refs.get(database, "agents", agent, kind="agent")["id"] if agent else None,
        connection_id=refs.get(database, "model_connections", connection, kind="connection")["id"]
        if connection
        else None,
        folder=os.path.abspath(folder) if folder else None,
        where=[_pair(item) for item in where],
    )


def noted(app: App, database: Database, filter: chats.Filter, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows; where there are none, say so of a field that no chat has."""
    found = False
    for row in rows:
        found = True
        yield row
    if not found:
        for name, _ in filter.where:
            if not chats.knows_field(database, name):
                app.note(f'no chat has a field "{name}"')


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise UsageError(f'"--where {item}" is not FIELD=VALUE')
    return name, value
