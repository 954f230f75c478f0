"""Control jobs from another process: start one in the background, wait for it, cancel it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from llmctl.core import clock
from llmctl.core.errors import ConfigError, LockedError, PendingError, UsageError
from llmctl.engine.jobs import lease
from llmctl.engine.jobs.command import CommandJob, SkippedJob, create_job
from llmctl.store.database import Database
from llmctl.store.records import jobs
from llmctl.store.records.types import JobRow
from llmctl.store.writes import Update
from llmctl.tools import process

_POLL_INTERVAL_S = 0.1
#: Seconds that a process gets to end after SIGTERM.
_GRACE_S = 15.0

#: ``cancelled``: before it began; ``ended``: by its process, after SIGTERM; ``recovered``: its process was dead.
CancelResult = Literal["cancelled", "ended", "recovered"]

#: Finishes the rows of a job whose process is dead; a job may be a turn, so the caller provides it.
Recover = Callable[[Database, JobRow], object]


def detach_job(
    database: Database, command: Sequence[str], job: CommandJob, env: Mapping[str, str], stdin_fd: int | None
) -> str | SkippedJob:
    """Start a job in another llmctl process, which reads from ``stdin_fd``; return its id. ``command`` starts llmctl.

    The job is committed before the process starts, so that no request is lost.
    """
    job_id = create_job(database, job, pending=True)
    if isinstance(job_id, SkippedJob):
        return job_id
    arguments = ["--db", os.path.abspath(database.path), "--quiet", "job", "run", "--as", job_id]
    process.start_detached([*command, *arguments], env=env, stdin_fd=stdin_fd)
    return job_id


def wait_for_job(database: Database, job_id: str, recover: Recover, *, timeout_s: float | None = None) -> JobRow:
    """Wait for the end of a job and return its row. Recovers it if its process dies; raises PendingError on timeout."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        job = jobs.get(database, job_id)
        if job.status not in ("pending", "running"):
            return job
        if job.status == "running" and not lease.is_job_alive(job):
            recover(database, job)
            continue
        if deadline is not None and time.monotonic() >= deadline:
            raise PendingError(f"job {job_id[:8]} {_describe_activity(job)}", reason="running")
        time.sleep(_POLL_INTERVAL_S)


def cancel_job(database: Database, job: JobRow, recover: Recover) -> CancelResult:
    """Cancel a job: send SIGTERM to its process and wait for it. Raises an error if it does not end."""
    if job.status not in ("pending", "running"):
        raise UsageError(f"job {job.id[:8]} has already ended: {job.status}")
    if job.status == "pending" and _cancel_pending(database, job.id):
        return "cancelled"
    job = jobs.get(database, job.id)
    if not lease.is_job_alive(job):
        recover(database, job)
        return "recovered"
    _terminate(job)
    try:
        wait_for_job(database, job.id, recover, timeout_s=_GRACE_S)
    except PendingError:
        raise LockedError(
            f"process {job.pid} did not end within {_GRACE_S:g} s", hint=f"kill -9 {job.pid}", reason="busy"
        ) from None
    return "ended"


def _cancel_pending(database: Database, job_id: str) -> bool:
    now = clock.now()
    end = {"status": "cancelled", "error": "cancelled before it began", "finished_at": now, "updated_at": now}
    database.commit(Update("jobs", job_id, end, where={"status": "pending"}), durable=True)
    return bool(jobs.get(database, job_id).status == "cancelled")


def _terminate(job: JobRow) -> None:
    if job.host != lease.process_identity().host:
        host = str(job.host).partition("/")[0]
        raise ConfigError(f'the job runs on "{host}"', hint=f"cancel it there: llmctl job cancel {job.id[:8]}")
    if job.pid is not None and lease.is_alive(job):
        os.kill(job.pid, signal.SIGTERM)
    else:  # its llmctl was killed, but the command still runs
        os.killpg(lease.command_process(job)["pid"], signal.SIGTERM)


def _describe_activity(job: JobRow) -> str:
    return "is still running" if job.status == "running" else "has not begun yet"
