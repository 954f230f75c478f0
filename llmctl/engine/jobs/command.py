"""Run commands as jobs: a row before they start, their output in a log, their exit status at the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from llmctl.core import clock, time_ranges
from llmctl.core.errors import (
    ConfigError,
    LlmctlError,
    LockedError,
    NotFoundError,
    PendingError,
    StorageError,
    UnavailableError,
    UsageError,
)
from llmctl.core.redaction import Redaction, mask_keys
from llmctl.core.signals import Signalled, defer_signals
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine.jobs import lease
from llmctl.engine.jobs.lease import Heartbeat
from llmctl.engine.output_log import FLUSH_INTERVAL_S, OutputLog
from llmctl.store.database import Database, Insert, Update
from llmctl.store.records import jobs
from llmctl.store.records.types import JobRow
from llmctl.tools import process
from llmctl.tools.process import ForegroundOptions

#: Limit of the logged output of a command; the rest is shown, but not logged.
MAX_LOG_BYTES = 10_000_000

#: Set in the payload of a job that came with an import: somebody else ran its command, somewhere else.
FOREIGN = "imported"

PERIODS = ("hour", "day", "week", "month", "year")


@dataclass(frozen=True, slots=True)
class CommandJob:
    """A command to run."""

    command: tuple[str, ...]
    name: str
    folder: str | None = None
    timeout_s: float | None = None
    #: Skip it if one started and succeeded in the current hour, day, week, month or year (local time).
    once_per: str | None = None
    skip_if_running: bool = False
    #: The job that this one retries or belongs to, and the number of the attempt.
    parent_id: str | None = None
    attempt: int = 1

    def to_payload(self) -> str:
        """Return what is needed to run it again as JSON; keys on the command line are masked."""
        words = [mask_keys(replace_undecodable_bytes(word)) for word in self.command]
        return dumps({"command": words, "folder": self.folder, "timeout": self.timeout_s, "once_per": self.once_per})


@dataclass(frozen=True, slots=True)
class SkippedJob:
    """Why a command was not run."""

    reason: str


@dataclass(frozen=True, slots=True)
class OutputCallbacks:
    """Receive the output of a command as it arrives."""

    stdout: Callable[[bytes], None]
    stderr: Callable[[bytes], None]


def create_job(database: Database, job: CommandJob, *, pending: bool = False) -> str | SkippedJob:
    """Commit a job for a command and return its id, or why it is skipped.

    Check and insert are one transaction, so that of two processes only one gets the job. A ``pending`` job waits for
    the process that will claim it.
    """
    with database.transaction(durable=True):
        reason = _skip_reason(database, job)
        if reason:
            return SkippedJob(reason)
        job_id = new_id()
        database.commit(Insert("jobs", _job_row(database, job_id, job, pending)))
    return job_id


def claim_job(database: Database, job_id: str) -> CommandJob:
    """Claim a pending job and return its command. Raises NotFoundError if it is not pending any more."""
    with database.transaction(durable=True):
        row = jobs.find_pending_command(database, job_id)
        if row is None:
            raise NotFoundError(f'no pending job "{job_id}"')
        database.commit(Update("jobs", job_id, _holder_columns(clock.now())))
    return job_from_row(row)


def is_foreign(row: JobRow) -> bool:
    """Return whether the job came with an import."""
    return bool(loads(row.payload, {}).get(FOREIGN))


def job_from_row(row: JobRow) -> CommandJob:
    """Return the command in the row of a job."""
    payload = loads(row.payload, {})
    return CommandJob(
        tuple(payload.get("command") or ()),
        row.name,
        payload.get("folder"),
        payload.get("timeout"),
        payload.get("once_per"),
        attempt=row.attempts,
    )


def run_job(
    database: Database,
    job_id: str,
    job: CommandJob,
    env: Mapping[str, str],
    callbacks: OutputCallbacks,
    stdin_fd: int | None = None,
) -> int:
    """Run the command of a job to its end and return its exit status.

    Its output is logged as it arrives. Raises UnavailableError on timeout. A signal to this process is passed on to the
    command, and the job is cancelled.
    """
    recorder = _JobRecorder(database, job_id)
    heartbeat = Heartbeat(database.path, job_id)
    foreground = ForegroundOptions(
        recorder.log_output(callbacks.stderr), recorder.record_process, recorder.flush_due_output, stdin_fd
    )
    try:
        completed = process.run_program(
            job.command,
            env={**env, lease.JOB_VARIABLE: job_id},
            cwd=job.folder,
            timeout_s=job.timeout_s,
            max_output_bytes=0,
            on_output=recorder.log_output(callbacks.stdout),
            foreground=foreground,
        )
    except BaseException as error:
        recorder.finish("cancelled" if isinstance(error, Signalled) else "failed", None, _error_text(error))
        raise
    finally:
        heartbeat.stop()
    if completed.timed_out:
        timeout = UnavailableError(
            f"the command did not end within {job.timeout_s:g} s and was stopped", reason="timeout"
        )
        recorder.finish("failed", timeout.exit_code, timeout.message)
        raise timeout
    failure = f"exit status {completed.exit_status}" if completed.exit_status else None
    try:
        recorder.finish("failed" if failure else "completed", completed.exit_status, failure)
    except StorageError as error:
        error.message = f"the command ended with exit status {completed.exit_status}, but {error.message}"
        raise
    return completed.exit_status


class _JobRecorder:
    """Writes the rows of a running command. Failing to write them does not end the command."""

    def __init__(self, database: Database, job_id: str) -> None:
        self._database = database
        self._job_id = job_id
        #: The error for output that could not be written.
        self._log_error: str | None = None
        self._log = OutputLog(job_id, Redaction(), table="jobs", max_bytes=MAX_LOG_BYTES)

    def log_output(self, callback: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Return a callback that logs output before it passes it on."""

        def log_and_forward(data: bytes) -> None:
            self._log.add(data)
            if self._log.is_due():
                self._flush()
            callback(data)

        return log_and_forward

    def record_process(self, pid: int) -> None:
        """Store the identity of the command's process, which may outlive this one."""
        child = {"pid": pid, "process_started_at": lease.process_start_time(pid)}
        with suppress(StorageError):
            self._database.commit(Update("jobs", self._job_id, {"result": dumps(child)}))

    def flush_due_output(self) -> float | None:
        """Write output that is due; return the seconds until the next call, or None."""
        if self._log.is_due():
            self._flush()
        return FLUSH_INTERVAL_S if self._log.has_unwritten_output() else None

    def finish(self, status: str, exit_status: int | None, error: str | None) -> None:
        with defer_signals():
            now = clock.now()
            message = "; ".join(filter(None, (error, self._log_error))) or None
            end = {"status": status, "exit_code": exit_status, "error": message, "result": None, "updated_at": now}
            self._database.commit(
                *self._log.take_writes(is_end=True),
                Update("jobs", self._job_id, {**end, "finished_at": now}, where={"status": "running"}),
                durable=True,
            )

    def _flush(self) -> None:
        with defer_signals():
            try:
                self._database.commit(*self._log.take_writes())
            except StorageError as error:
                self._log_error = f"part of its output was not logged: {error.message}"


def _skip_reason(database: Database, job: CommandJob) -> str | None:
    if job.skip_if_running or job.once_per:
        active = jobs.list_running_commands(database, job.name)
        running = next((row for row in active if _is_active(row)), None)
        if running is not None:
            since = f" since {running.started_at[:19]}" if running.started_at else ""
            return f'"{job.name}" is running{since}, job {running.id[:8]}'
    if job.once_per is None:
        return None
    succeeded = jobs.find_last_success(database, job.name, _period_start(job.once_per))
    when = "today" if job.once_per == "day" else f"this {job.once_per}"
    return f'"{job.name}" already succeeded {when}, job {succeeded.id[:8]}' if succeeded else None


def _period_start(period: str) -> str:
    """Return the beginning of the current hour, day, week, month or year in local time."""
    if period == "hour":
        return f"{clock.now()[:13]}:00:00.000+00:00"
    word = "today" if period == "day" else f"this-{period}"
    return time_ranges.parse_period(word, zone=time_ranges.parse_time_zone("local")).since


def _is_active(row: JobRow) -> bool:
    return row.status == "pending" or lease.is_job_alive(row)


def _job_row(database: Database, job_id: str, job: CommandJob, pending: bool) -> dict[str, Any]:
    now = clock.now()
    return {
        "id": job_id,
        "name": job.name,
        "type": "command",
        "status": "pending",
        "payload": job.to_payload(),
        "attempts": job.attempt,
        "parent_id": jobs.existing_id(database, job.parent_id),
        **({} if pending else _holder_columns(now)),
        "created_at": now,
        "updated_at": now,
    }


def _holder_columns(now: str) -> dict[str, Any]:
    times = {"started_at": now, "lease_expires_at": lease.lease_expiry(), "updated_at": now}
    return {"status": "running", **times, **lease.process_identity().to_dict()}


def _error_text(error: BaseException) -> str:
    return replace_undecodable_bytes(
        error.message if isinstance(error, LlmctlError) else str(error) or type(error).__name__
    )


def replace_undecodable_bytes(text: str) -> str:
    """Replace the bytes of a command line argument that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# --- control from another process


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
    return "is still running" if job.status == "running" else "has not started yet"
