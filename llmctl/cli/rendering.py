"""A thread as it stands now: written out in a format, or kept as a snapshot."""

from __future__ import annotations

from typing import Any

from llmctl.cli.app import App
from llmctl.cli.looking import harmless
from llmctl.cli.showing import conversation
from llmctl.core.errors import NotFoundError
from llmctl.formats import conversations
from llmctl.store import snapshots
from llmctl.store.database import Database


def write(app: App, database: Database, thread_id: str, format: str) -> None:
    """Write every message of a thread, in order, in the format of that name."""
    render = conversations.RENDERINGS.load(format)
    for piece in render(harmless(app, conversation(database, thread_id, steps=True))):
        app.io.write(piece)


def keep(database: Database, thread_id: str, reason: str | None) -> dict[str, Any]:
    """Keep a snapshot of a thread; return its record."""
    found = conversation(database, thread_id, steps=True)
    if not found:
        raise NotFoundError("there is nothing to keep: nothing has been said yet")
    shown = conversations.plain(found)
    return snapshots.keep(database, thread_id, shown, upto_seq=found[-1]["seq"], reason=reason)
