"""Deleting chats for good: no live turn is cut off, and the file is searched for what is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from llmctl.engine import unlocking
from llmctl.store import deletion, remnants, threads
from llmctl.store.database import Database
from llmctl.store.opening import MEMORY


class Erased(NamedTuple):
    """What is to be known after a deletion: pieces of the text, chats that keep copies, whether the log is empty."""

    pieces: set[bytes]
    forks: tuple[str, ...]
    is_purged: bool


def erase(database: Database, chat_ids: Iterable[str], *, with_usage: bool = False) -> Erased:
    """Delete chats with every copy of their text; raise LockedError, and delete none, where a live job holds one."""
    wanted = set(chat_ids)
    pieces: set[bytes] = set()
    forks: list[str] = []
    with database.transaction(durable=True):
        for chat_id in wanted:
            thread = threads.of_chat(database, chat_id)
            if thread is not None:
                unlocking.free(database, thread["id"])
            deleted = deletion.delete(database, chat_id, with_usage=with_usage)
            pieces |= deleted.pieces
            forks += (fork for fork in deleted.forks if fork not in wanted)
    return Erased(pieces, tuple(forks), deletion.purge(database))


def is_left(path: str, erased: Erased) -> bool:
    """Search the hub's file for the text. No connection of this process may be open on it."""
    return path != MEMORY and remnants.are_left(path, erased.pieces)
