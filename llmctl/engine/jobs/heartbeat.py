"""Keep a job alive: a heartbeat renews its lease, so that other machines do not take its process for dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import LlmctlError
from llmctl.core.ids import new_id
from llmctl.core.signals import block_signals, defer_signals
from llmctl.engine.jobs import lease
from llmctl.store.database import Database
from llmctl.store.opening import MEMORY, open_hub
from llmctl.store.writes import Insert, Update


class Heartbeat:
    """Renews the lease of a job every ``lease.HEARTBEAT_INTERVAL_S``, with its own thread and connection."""

    def __init__(self, hub_path: str, job_id: str) -> None:
        self._path = hub_path
        self._job_id = job_id
        self._timer: Timer | None = None
        if hub_path != MEMORY:
            self._schedule()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._timer = Timer(lease.HEARTBEAT_INTERVAL_S, self._beat)
        self._timer.daemon = True
        with block_signals():
            self._timer.start()

    def _beat(self) -> None:
        with suppress(LlmctlError):  # the job continues without it; the next attempt may succeed
            self._renew_lease()
        if self._timer:
            self._schedule()

    def _renew_lease(self) -> None:
        database = open_hub(self._path, "write")
        try:
            database.commit(Update("jobs", self._job_id, {"lease_expires_at": lease.lease_expiry()}))
        finally:
            database.close()


@contextmanager
def tracked_job(database: Database, name: str, type: str) -> Iterator[str]:
    """Run a block as a job of this process, so that its death is noticed; yield the id of the job."""
    job_id, now = new_id(), clock.now()
    row = {
        "id": job_id,
        "name": name,
        "type": type,
        "status": "running",
        **lease.process_identity()._asdict(),
        "lease_expires_at": lease.lease_expiry(),
        "started_at": now,
        "created_at": now,
        "updated_at": now,
    }
    database.commit(Insert("jobs", row))
    heartbeat = Heartbeat(database.path, job_id)
    end: dict[str, Any] = {"status": "cancelled", "error": "interrupted"}
    try:
        yield job_id
        end = {"status": "completed", "error": None}
    finally:
        heartbeat.stop()
        now = clock.now()
        with defer_signals():
            database.commit(Update("jobs", job_id, {**end, "finished_at": now, "updated_at": now}), durable=True)
