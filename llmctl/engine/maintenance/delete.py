"""Deleting chats for good: no live turn is cut off, and the file keeps nothing of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from llmctl.core.errors import LockedError
from llmctl.engine.jobs import unlock
from llmctl.store.database import Database
from llmctl.store.maintenance import delete, integrity
from llmctl.store.records import agents, threads

#: A larger hub is not written anew for each deletion: 7 s and as much free space for a gigabyte.
REWRITTEN_BYTES = 1_000_000_000


class Erased(NamedTuple):
    """What is to be known after a deletion: chats that keep copies, and what may still be in the hub's files."""

    forks: tuple[str, ...]
    in_log: bool
    in_gaps: bool


def erase(
    database: Database,
    chat_ids: Iterable[str],
    *,
    with_usage: bool = False,
    progress: Callable[[str], None] = lambda word: None,
) -> Erased:
    """Delete chats with every copy of their text; raise LockedError, and delete none, where a live job holds one.

    What agents were asked in them, and said, goes with them. ``progress`` is told in a word what is being done.
    """
    wanted = set(chat_ids)
    forks: list[str] = []
    with database.transaction(durable=True):
        wanted |= {asked for chat_id in wanted for asked in agents.asked_in(database, chat_id)}
        for chat_id in wanted:
            thread = threads.of_chat(database, chat_id)
            if thread is not None:
                unlock.free(database, thread["id"])
            progress(chat_id[:8])
            forks += delete.delete(database, chat_id, with_usage=with_usage)
    progress("the search index")
    emptied = delete.purge(database)
    is_small = integrity.size(database.path) <= REWRITTEN_BYTES
    if is_small:
        progress("writing the file anew")
        emptied = _rewrite(database)
    return Erased(tuple(fork for fork in forks if fork not in wanted), not emptied, not is_small)


def _rewrite(database: Database) -> bool:
    """Write the file anew; return whether the log could be emptied.

    ``secure_delete`` overwrites what is deleted, but not the copies that stay in the unused middle of a page when
    its rows move to another one: they are common where turns run side by side.
    """
    try:
        integrity.vacuum(database)
    except LockedError:
        return False
    return True
