"""Conversations as they are now: what is still being written, with what came so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.store.database import Database, Row
from llmctl.store.records import messages


def conversation(database: Database, thread_id: str, *, steps: bool) -> list[Row]:
    """Return a thread's messages, those that are still being written with what came so far."""
    return list(so_far(database, messages.conversation(database, thread_id, steps=steps)))


def so_far(database: Database, found: Iterable[Row]) -> Iterator[Row]:
    """Yield messages, those that are still being written with what came so far."""
    for row in found:
        if row["status"] == "pending":
            from llmctl.engine.inspect import reparse  # 10 ms of wires and providers

            yield from reparse.complete(database, [row])
        else:
            yield row
