"""Whether a job's process is alive, and the heartbeat that keeps its lease.

A process is identified so that a reused pid, a reboot or another machine is noticed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import LlmctlError
from llmctl.core.signals import block_signals, defer_signals
from llmctl.core.stored_values import loads, new_id
from llmctl.core.values import Value
from llmctl.store.database import Database, Insert, Update
from llmctl.store.opening import MEMORY, open_hub
from llmctl.store.records.types import JobRow

#: Seconds that a process on another machine counts as alive without a heartbeat.
LEASE_S = 60.0
#: Seconds between heartbeats.
HEARTBEAT_INTERVAL_S = 20.0

#: What systems other than Linux do not have.
_PROC = "/proc"
#: ps counts whole seconds, and a job begins a little after its process.
_PS_TOLERANCE_S = 3

#: Variable with the id of a command's job: jobs that llmctl starts in the command become its children.
JOB_VARIABLE = "LLMCTL_JOB"


class ProcessIdentity(Value):
    """The identity of a process, as columns of ``jobs``."""

    host: str
    pid: int
    boot_id: str | None
    process_started_at: str | None


def process_identity() -> ProcessIdentity:
    """Return the identity of this process."""
    pid = os.getpid()
    return ProcessIdentity(_host_name(), pid, _read_file(f"{_PROC}/sys/kernel/random/boot_id"), process_start_time(pid))


def lease_expiry(now: float | None = None) -> str:
    """Return the time at which a lease taken now expires."""
    return clock.from_unix((time.time() if now is None else now) + LEASE_S)


def is_alive(job: JobRow) -> bool:
    """Whether the process of a running job (a row of ``jobs``) is alive.

    On this machine the process is checked, on other machines the lease.
    """
    if job.status != "running" or job.pid is None:
        return False
    if job.host != _host_name():
        return bool(job.lease_expires_at) and str(job.lease_expires_at) > clock.now()
    if job.boot_id != _read_file(f"{_PROC}/sys/kernel/random/boot_id"):
        return False
    if not _is_running(job.pid):
        return False
    if job.process_started_at is None:  # a system without /proc
        return not _started_after(job.pid, str(job.started_at or job.created_at))
    return process_start_time(job.pid) == job.process_started_at


def is_own(job: JobRow) -> bool:
    """Whether this process is the one that a job names. Processes of two containers may have the same pid."""
    return process_identity() == ProcessIdentity(str(job.host), job.pid or 0, job.boot_id, job.process_started_at)


def command_process(job: JobRow) -> dict[str, Any]:
    """Return ``pid`` and ``process_started_at`` of a running job's command, or an empty dict."""
    if job.type != "command" or job.status != "running":
        return {}
    command = loads(job.result, {})
    return command if isinstance(command, dict) and "pid" in command else {}


def is_command_alive(job: JobRow) -> bool:
    """Whether the command of a job is alive, even if the llmctl that started it is not."""
    command = command_process(job)
    return bool(command) and is_alive(job.replace(**command))


def is_job_alive(job: JobRow) -> bool:
    """Whether the process of a job, or at least its command, is alive."""
    return is_alive(job) or is_command_alive(job)


def _host_name() -> str:
    """Return the host name with the pid namespace, since containers may have their own."""
    try:
        return f"{os.uname().nodename}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return os.uname().nodename


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, which may be a zombie as well
        pass
    return not (_process_state(pid) or "").startswith("Z")


def _process_state(pid: int) -> str | None:
    fields = _process_stat(pid)
    if fields or os.path.exists(f"{_PROC}/self"):
        return fields[0] if fields else None
    found = _ask_ps(pid)
    return found[0] if found else None


def _started_after(pid: int, time_: str) -> bool:
    """Return whether a process began after a stored time: then it is another one with the pid of an earlier one."""
    found = None if os.path.exists(f"{_PROC}/self") else _ask_ps(pid)
    return found is not None and time.time() - found[1] > clock.parse(time_).timestamp() + _PS_TOLERANCE_S


def _ask_ps(pid: int) -> tuple[str, int] | None:
    """Return the state of a process and the seconds since it began, where there is no /proc; None if unknown."""
    from llmctl.tools import process  # only on such systems

    return process.ask_ps(pid)


def process_start_time(pid: int) -> str | None:
    """Return the start of a process in clock ticks since boot (field 22 of proc(5) stat); None without /proc."""
    fields = _process_stat(pid)
    return fields[19] if fields else None


def _process_stat(pid: int) -> list[str] | None:
    text = _read_file(f"{_PROC}/{pid}/stat")
    # The second field is the program's name in parentheses; it may contain spaces and parentheses.
    return text.rpartition(")")[2].split() if text else None


def _read_file(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


# --- heartbeat


class Heartbeat:
    """Renews the lease of a job every :data:`HEARTBEAT_INTERVAL_S` seconds, with its own thread and connection."""

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
        self._timer = Timer(HEARTBEAT_INTERVAL_S, self._beat)
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
            database.commit(Update("jobs", self._job_id, {"lease_expires_at": lease_expiry()}))
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
        **process_identity().to_dict(),
        "lease_expires_at": lease_expiry(),
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
