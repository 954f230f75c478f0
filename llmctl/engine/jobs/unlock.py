"""Freeing threads: what a dead holder left is put in order, a live one is respected unless it must not be."""

from __future__ import annotations

from typing import Literal

from llmctl.core.errors import LockedError
from llmctl.engine.jobs import lease, recovery
from llmctl.store.database import Database, Row
from llmctl.store.records import threads

#: ``free``: nobody held it; ``recovered``: a dead process did; ``forced``: a live one lost it.
Freed = Literal["free", "recovered", "forced"]


def free(database: Database, thread_id: str, *, force: bool = False) -> Freed:
    """Make sure that nobody holds a thread; raise LockedError where a live job does, unless ``force``.

    One transaction; joins a running one, so that what follows in it has the thread for itself.
    """
    with database.transaction(durable=True):
        job = threads.holder(database, thread_id)
        if job is None:
            return "free"
        alive = lease.is_alive(job)
        if alive and not force:
            raise in_use(job)
        recovery.recover_job(database, job)
        return "forced" if alive else "recovered"


def in_use(job: Row) -> LockedError:
    """Return the error for a thread that a live job holds."""
    return LockedError(
        f"the conversation is in use by process {job['pid']} on {str(job['host']).partition('/')[0]}",
        hint="wait until it is done; `llmctl chats unlock --force` takes it away from a process that hangs",
    )
