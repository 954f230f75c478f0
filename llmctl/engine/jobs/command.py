"""Commands as jobs: a row before they begin, their output in a log as it comes, their exit status at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from llmctl.core import clock, time_ranges
from llmctl.core.errors import LlmctlError, NotFoundError, StorageError, UnavailableError
from llmctl.core.ids import new_id
from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.core.signals import Signalled, uninterrupted
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.jobs import lease
from llmctl.engine.jobs.heartbeat import Heartbeat
from llmctl.engine.tools.output_log import PIECE_S, ToolLog
from llmctl.engine.turn.redaction import Redaction
from llmctl.store.database import Database, Row
from llmctl.store.records import jobs
from llmctl.store.writes import Insert, Update
from llmctl.tools import process
from llmctl.tools.process_io import Guest

#: More than this of a command's output is shown, but not kept.
MOST_LOG_BYTES = 10_000_000

PERIODS = ("hour", "day", "week", "month", "year")


@dataclass(frozen=True, slots=True)
class Work:
    """A command to run."""

    command: tuple[str, ...]
    name: str
    folder: str | None = None
    timeout_s: float | None = None
    #: Not again where one began in this hour, day, week, month or year (of this machine's clock) and ended well.
    once_per: str | None = None
    skip_if_running: bool = False
    #: The job that this one tries again or is a part of, and which try it is.
    parent_id: str | None = None
    attempt: int = 1

    def payload(self) -> str:
        """Return what is needed to run it again; a key on the command line is not kept."""
        words = [mask_keys(legible_text(word)) for word in self.command]
        return dumps({"command": words, "folder": self.folder, "timeout": self.timeout_s, "once_per": self.once_per})


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a command was not run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ears:
    """Who hears a command's output as it comes."""

    stdout: Callable[[bytes], None]
    stderr: Callable[[bytes], None]


def begin(database: Database, work: Work, *, pending: bool = False) -> str | Skipped:
    """Commit a job for the command and return its id, or why it is not to be run now.

    Two processes that ask at once get one answer each: the look and the row are one transaction. A ``pending`` job
    waits for the process that will run it.
    """
    with database.transaction(durable=True):
        reason = _reason_not_to(database, work)
        if reason:
            return Skipped(reason)
        job_id = new_id()
        database.commit(Insert("jobs", _row(database, job_id, work, pending)))
    return job_id


def claim(database: Database, job_id: str) -> Work:
    """Take over a pending job, once; return its command. Raises NotFoundError where it is not pending any more."""
    with database.transaction(durable=True):
        row = database.one("SELECT * FROM {jobs} WHERE id = ? AND status = 'pending' AND type = 'command'", (job_id,))
        if row is None:
            raise NotFoundError(f'no pending job "{job_id}"')
        database.commit(Update("jobs", job_id, _held(clock.now())))
    return of_row(row)


def of_row(row: Row) -> Work:
    """Return the command of a job's row."""
    payload = loads(row["payload"], {})
    return Work(
        tuple(payload.get("command") or ()),
        row["name"],
        payload.get("folder"),
        payload.get("timeout"),
        payload.get("once_per"),
        attempt=row["attempts"],
    )


def perform(
    database: Database, job_id: str, work: Work, env: Mapping[str, str], ears: Ears, stdin_fd: int | None = None
) -> int:
    """Run the command of a begun job to its end and return its exit status.

    Its output is logged as it comes. Raises UnavailableError where its time is over; a signal to us goes on to it,
    and the job is cancelled.
    """
    running = _Running(database, job_id, ears)
    beat = Heartbeat(database.path, job_id)
    guest = Guest(running.hear(ears.stderr), running.started, running.idle, stdin_fd)
    try:
        done = process.run(
            work.command,
            env={**env, lease.JOB_VARIABLE: job_id},
            cwd=work.folder,
            timeout_s=work.timeout_s,
            max_output_bytes=0,
            on_output=running.hear(ears.stdout),
            guest=guest,
        )
    except BaseException as error:
        running.finish("cancelled" if isinstance(error, Signalled) else "failed", None, _words(error))
        raise
    finally:
        beat.stop()
    if done.timed_out:
        late = UnavailableError(f"no end within {work.timeout_s:g} s; it was stopped", reason="timeout")
        running.finish("failed", late.exit_code, late.message)
        raise late
    failed = f"exit status {done.exit_status}" if done.exit_status else None
    try:
        running.finish("failed" if failed else "completed", done.exit_status, failed)
    except StorageError as error:
        error.message = f"the command ended with exit status {done.exit_status}, but {error.message}"
        raise
    return done.exit_status


def is_alive(job: Row) -> bool:
    """Tell whether a job's process lives, or, where that was killed, the command it ran."""
    return lease.is_alive(job) or lease.command_is_alive(job)


class _Running:
    """The rows of a command that runs. What cannot be written while it does is no reason to end it."""

    def __init__(self, database: Database, job_id: str, ears: Ears) -> None:
        self._database = database
        self._job_id = job_id
        #: What is to be said of output that could not be written.
        self._lost: str | None = None
        self._log = ToolLog(job_id, Redaction(), table="jobs", most_bytes=MOST_LOG_BYTES)

    def hear(self, listener: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def heard(data: bytes) -> None:
            self._log.add(data)
            if self._log.due():
                self._settle()
            listener(data)

        return heard

    def started(self, pid: int) -> None:
        """Note the command's own process: it may outlive us."""
        child = {"pid": pid, "process_started_at": lease.start_time(pid)}
        with suppress(StorageError):
            self._database.commit(Update("jobs", self._job_id, {"result": dumps(child)}))

    def idle(self) -> float | None:
        """Write what waits for it; return when to be called again."""
        if self._log.due():
            self._settle()
        return PIECE_S if self._log.waits() else None

    def finish(self, status: str, exit_status: int | None, error: str | None) -> None:
        with uninterrupted():
            now = clock.now()
            words = "; ".join(filter(None, (error, self._lost))) or None
            ended = {"status": status, "exit_code": exit_status, "error": words, "result": None, "updated_at": now}
            self._database.commit(
                *self._log.writes(is_end=True),
                Update("jobs", self._job_id, {**ended, "finished_at": now}, where={"status": "running"}),
                durable=True,
            )

    def _settle(self) -> None:
        with uninterrupted():
            try:
                self._database.commit(*self._log.writes())
            except StorageError as error:
                self._lost = f"part of its output was not kept: {error.message}"


def _reason_not_to(database: Database, work: Work) -> str | None:
    if work.skip_if_running or work.once_per:
        alive = next((job for job in jobs.under_way(database, work.name) if _counts(job)), None)
        if alive is not None:
            since = f" since {alive['started_at'][:19]}" if alive["started_at"] else ""
            return f'"{work.name}" is running{since}, job {alive["id"][:8]}'
    if work.once_per is None:
        return None
    done = jobs.succeeded(database, work.name, _beginning(work.once_per))
    when = "today" if work.once_per == "day" else f"this {work.once_per}"
    return f'"{work.name}" ended well {when}, job {done["id"][:8]}' if done else None


def _beginning(period: str) -> str:
    """Return when the present hour, day, week, month or year began, by this machine's clock."""
    if period == "hour":
        return f"{clock.now()[:13]}:00:00.000+00:00"
    word = "today" if period == "day" else f"this-{period}"
    return time_ranges.span(word, zone=time_ranges.time_zone("local")).since


def _counts(job: Row) -> bool:
    return job["status"] == "pending" or is_alive(job)


def _row(database: Database, job_id: str, work: Work, pending: bool) -> dict[str, Any]:
    now = clock.now()
    return {
        "id": job_id,
        "name": work.name,
        "type": "command",
        "status": "pending",
        "payload": work.payload(),
        "attempts": work.attempt,
        "parent_id": jobs.known(database, work.parent_id),
        **({} if pending else _held(now)),
        "created_at": now,
        "updated_at": now,
    }


def _held(now: str) -> dict[str, Any]:
    held = {"status": "running", "started_at": now, "lease_expires_at": lease.lease(), "updated_at": now}
    return {**held, **lease.current()._asdict()}


def _words(error: BaseException) -> str:
    return legible_text(error.message if isinstance(error, LlmctlError) else str(error) or type(error).__name__)


def legible_text(text: str) -> str:
    """Return a text of the command line without the bytes in it that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
