"""Signs of life: a long turn renews its lease, so that other machines on the same hub do not take it for dead."""

from __future__ import annotations

from contextlib import suppress
from threading import Timer

from llmctl.core.errors import LlmctlError
from llmctl.core.signals import deaf
from llmctl.engine.jobs import lease
from llmctl.store.opening import MEMORY, open_hub
from llmctl.store.writes import Update


class Heartbeat:
    """Renews the lease of a job every ``holder.BEAT_S`` seconds, from a thread and a connection of its own."""

    def __init__(self, hub_path: str, job_id: str) -> None:
        self._path = hub_path
        self._job_id = job_id
        self._timer: Timer | None = None
        if hub_path != MEMORY:
            self._wait()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = Timer(lease.BEAT_S, self._beat)
        self._timer.daemon = True
        with deaf():
            self._timer.start()

    def _beat(self) -> None:
        with suppress(LlmctlError):  # the turn goes on without a sign of life; the next one may come through
            self._renew()
        if self._timer:
            self._wait()

    def _renew(self) -> None:
        database = open_hub(self._path, "write")
        try:
            database.commit(Update("jobs", self._job_id, {"lease_expires_at": lease.lease()}))
        finally:
            database.close()
