"""Who holds a job: a process, so marked that a reused pid, a reboot or another machine is not taken for it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.stored_json import loads

#: Seconds that a holder on another machine is trusted without a sign of life.
LEASE_S = 60.0
#: Seconds between signs of life.
BEAT_S = 20.0


#: Variable by which a command knows its job; what llmctl does in it becomes the job's child.
JOB_VARIABLE = "LLMCTL_JOB"


class Holder(NamedTuple):
    """Identity of a process, as columns of ``jobs``."""

    host: str
    pid: int
    boot_id: str | None
    process_started_at: str | None


def current() -> Holder:
    """Return the identity of this process."""
    pid = os.getpid()
    return Holder(_host(), pid, _read("/proc/sys/kernel/random/boot_id"), start_time(pid))


def lease(now: float | None = None) -> str:
    """Return the stored time at which a lease taken now ends."""
    return clock.at((time.time() if now is None else now) + LEASE_S)


def is_alive(job: Mapping[str, Any]) -> bool:
    """Say whether the holder of a running job (a row of ``jobs``) still lives.

    On this machine by its process; of another machine only the lease can tell.
    """
    if job["status"] != "running" or job["pid"] is None:
        return False
    if job["host"] != _host():
        return bool(job["lease_expires_at"]) and str(job["lease_expires_at"]) > clock.now()
    if job["boot_id"] != _read("/proc/sys/kernel/random/boot_id"):
        return False
    return _runs(job["pid"]) and start_time(job["pid"]) == job["process_started_at"]


def command_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``pid`` and ``process_started_at`` of the command that a running job runs, or nothing."""
    if job["type"] != "command" or job["status"] != "running":
        return {}
    found = loads(job["result"], {})
    return found if isinstance(found, dict) and "pid" in found else {}


def command_is_alive(job: Mapping[str, Any]) -> bool:
    """Say whether the command of a job lives, though the llmctl that watched over it may be gone."""
    command = command_of(job)
    return bool(command) and is_alive({**job, **command})


def _host() -> str:
    """Return the machine's name, with the process namespace: containers share a name space of pids or do not."""
    try:
        return f"{os.uname().nodename}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return os.uname().nodename


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _state(pid) != "Z"


def _state(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[0] if fields else None


def start_time(pid: int) -> str | None:
    """Return the process's start in clock ticks since boot (field 22 of proc(5) stat), where there is /proc."""
    fields = _stat(pid)
    return fields[19] if fields else None


def _stat(pid: int) -> list[str] | None:
    text = _read(f"/proc/{pid}/stat")
    # The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    return text.rpartition(")")[2].split() if text else None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None
