"""The life of jobs from outside: wait for one, end one, run one in a process that outlives this one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Literal

from llmctl.core import clock
from llmctl.core.errors import ConfigError, LockedError, PendingError, UsageError
from llmctl.engine.jobs import command as jobs_command
from llmctl.engine.jobs import lease, recovery
from llmctl.engine.jobs.command import Skipped, Work
from llmctl.store.database import Database, Row
from llmctl.store.records import job_log
from llmctl.store.writes import Update
from llmctl.tools import process

#: Seconds between two looks at a job that is waited for.
_PAUSE_S = 0.1
#: Seconds that a process gets to end what it does after it was asked to.
_GRACE_S = 15.0

#: ``cancelled``: before it began. ``ended``: its process was asked to. ``recovered``: that was dead already.
Cancelled = Literal["cancelled", "ended", "recovered"]


def detach(
    database: Database, command: Sequence[str], work: Work, env: Mapping[str, str], stdin_fd: int | None
) -> str | Skipped:
    """Begin a job that another llmctl runs; return its id. ``command`` starts llmctl; what it reads comes from stdin.

    The job is committed before the process starts, so that nothing asked for is lost.
    """
    job_id = jobs_command.begin(database, work, pending=True)
    if isinstance(job_id, Skipped):
        return job_id
    arguments = ["--db", os.path.abspath(database.path), "--quiet", "job", "run", "--as", job_id]
    process.detach([*command, *arguments], env=env, stdin_fd=stdin_fd)
    return job_id


def wait(database: Database, job_id: str, timeout_s: float | None = None) -> Row:
    """Return the row of a job once it ended; one whose process died is recovered. Raises PendingError in time."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        job = job_log.get(database, job_id)
        if job["status"] not in ("pending", "running"):
            return job
        if job["status"] == "running" and not jobs_command.is_alive(job):
            recovery.recover_job(database, job)
            continue
        if deadline is not None and time.monotonic() >= deadline:
            raise PendingError(f"the job {job_id[:8]} still {_doing(job)}", reason="running")
        time.sleep(_PAUSE_S)


def cancel(database: Database, job: Row) -> Cancelled:
    """End a job: its process is asked to (SIGTERM) and waited for. Raises where it cannot be, or does not end."""
    if job["status"] not in ("pending", "running"):
        raise UsageError(f"the job {job['id'][:8]} has ended already: {job['status']}")
    if job["status"] == "pending" and _withdraw(database, job["id"]):
        return "cancelled"
    job = job_log.get(database, job["id"])
    if not jobs_command.is_alive(job):
        recovery.recover_job(database, job)
        return "recovered"
    _ask_to_end(job)
    try:
        wait(database, job["id"], _GRACE_S)
    except PendingError:
        raise LockedError(f"process {job['pid']} does not end", hint=f"kill -9 {job['pid']}", reason="busy") from None
    return "ended"


def _withdraw(database: Database, job_id: str) -> bool:
    now = clock.now()
    ended = {"status": "cancelled", "error": "cancelled before it began", "finished_at": now, "updated_at": now}
    database.commit(Update("jobs", job_id, ended, where={"status": "pending"}), durable=True)
    return bool(job_log.get(database, job_id)["status"] == "cancelled")


def _ask_to_end(job: Row) -> None:
    if job["host"] != lease.current().host:
        host = str(job["host"]).partition("/")[0]
        raise ConfigError(f'the job runs on "{host}"', hint=f"cancel it there: llmctl job cancel {job['id'][:8]}")
    if lease.is_alive(job):
        os.kill(job["pid"], signal.SIGTERM)
    else:  # its llmctl was killed, and what it ran goes on
        os.killpg(lease.command_of(job)["pid"], signal.SIGTERM)


def _doing(job: Row) -> str:
    return "runs" if job["status"] == "running" else "waits to begin"
