"""Delete chats permanently: running turns are respected, and no text stays in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llmctl.core.errors import LockedError
from llmctl.core.values import Value
from llmctl.engine import recovery
from llmctl.store.database import Database
from llmctl.store.maintenance import delete, integrity
from llmctl.store.records import agents, chats

#: Larger hubs are not vacuumed after each deletion: a gigabyte takes 7 s and as much free space.
MAX_VACUUM_BYTES = 1_000_000_000


class DeletionReport(Value):
    """Forks that still have copies of the text, and whether the log or unused pages may still hold it."""

    forks: tuple[str, ...]
    in_log: bool
    in_gaps: bool


def delete_chats(
    database: Database,
    chat_ids: Iterable[str],
    *,
    with_usage: bool = False,
    progress: Callable[[str], None] = lambda word: None,
) -> DeletionReport:
    """Delete chats with every copy of their text; raise LockedError, and delete none, if a live job uses one.

    Chats of sub-agents that were called from them are deleted too. ``progress`` receives a word per step.
    """
    wanted = set(chat_ids)
    forks: list[str] = []
    with database.transaction(durable=True):
        wanted |= {id for chat_id in wanted for id in agents.subagent_chats(database, chat_id)}
        for chat_id in wanted:
            thread = chats.find_thread(database, chat_id)
            if thread is not None:
                recovery.unlock_thread(database, thread.id)
            progress(chat_id[:8])
            forks += delete.delete_chat(database, chat_id, with_usage=with_usage)
    progress("the search index")
    emptied = delete.purge_deleted_text(database)
    is_small = integrity.hub_size_bytes(database.path) <= MAX_VACUUM_BYTES
    if is_small:
        progress("vacuuming the file")
        emptied = _rewrite(database)
    return DeletionReport(tuple(fork for fork in forks if fork not in wanted), not emptied, not is_small)


def _rewrite(database: Database) -> bool:
    """Vacuum the file; return whether the write-ahead log could be emptied.

    ``secure_delete`` overwrites deleted rows, but not the copies left in the unused middle of a page when its rows
    move to another one, which is common when turns run in parallel.
    """
    try:
        integrity.vacuum(database)
    except LockedError:
        return False
    return True
