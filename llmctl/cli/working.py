"""``llmctl job run`` and its kin, as a command line asks for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from llmctl.cli.app import App
from llmctl.cli.turn.caller_info import SCRIPT_VARIABLE
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.registry import unknown
from llmctl.engine.jobs import command as jobs_command
from llmctl.engine.jobs import control
from llmctl.engine.jobs.command import Ears, Skipped, Work
from llmctl.engine.jobs.lease import JOB_VARIABLE
from llmctl.engine.tools import approvals
from llmctl.store.database import Row
from llmctl.store.records import job_log

#: How this program is started again, whatever it was called.
SELF = (sys.executable, "-P", "-m", "llmctl")


def run(app: App, work: Work) -> int:
    """Run a command as a job in the foreground; return its exit status, 0 where it is not to be run now."""
    database = app.hub("create")
    begun = jobs_command.begin(database, work)
    if isinstance(begun, Skipped):
        app.note(f"skipped: {begun.reason}")
        return 0
    return jobs_command.perform(database, begun, work, app.env, _ears(app), _stdin(app))


def run_claimed(app: App, job_id: str) -> int:
    """Run a job that another process began and left to this one."""
    database = app.hub("write")
    work = jobs_command.claim(database, job_id)
    return jobs_command.perform(database, job_id, work, app.env, _ears(app), _stdin(app))


def work_of(
    app: App,
    words: Sequence[str],
    name: str | None,
    *,
    shell: bool = False,
    timeout: float | None = None,
    once_per: str | None = None,
    skip_if_running: bool = False,
) -> Work:
    """Return the command that these words are; with ``shell`` they are one line for /bin/sh."""
    if once_per is not None and once_per not in jobs_command.PERIODS:
        raise unknown("period", once_per, jobs_command.PERIODS)
    if timeout is not None and not timeout > 0:
        raise UsageError(f'"--timeout {timeout:g}" is no number of seconds above 0')
    if not words:
        raise UsageError("no command to run", hint="llmctl job run -- COMMAND ARG…")
    command = ("/bin/sh", "-c", " ".join(words)) if shell else tuple(words)
    first = words[0].split()[0] if shell and words[0].split() else words[0]
    own, parent = name or jobs_command.legible_text(os.path.basename(first) or first), app.env.get(JOB_VARIABLE)
    return Work(command, own, _folder(), timeout, once_per, skip_if_running, parent)


def detach(app: App, work: Work) -> None:
    """Leave a command to a process of its own and print the job's id."""
    database = app.hub("create")
    if database.path == ":memory:":
        raise UsageError("--detach needs a hub in a file")
    job_id = control.detach(database, SELF, work, _env(app, work), _stdin(app))
    if isinstance(job_id, Skipped):
        app.note(f"skipped: {job_id.reason}")
        return
    app.note(f"job {job_id[:8]} is on its way; see: llmctl job log {job_id[:8]} --follow")
    app.io.write(f"{job_id}\n")


def _env(app: App, work: Work) -> Mapping[str, str]:
    """Return the environment of a job; one that is llmctl itself asks for the script that asked this process."""
    script = app.origin().script if work.command[: len(SELF)] == SELF else None
    return {**app.env, SCRIPT_VARIABLE: script} if script else app.env


def detach_self(app: App, name: str) -> None:
    """Do what this command line says, less ``--detach``, in a job of its own."""
    flags, dashes, words_after = _parted(app.arguments, "--")
    words = [*(word for word in flags if word != "--detach"), *dashes, *words_after]
    detach(app, work_of(app, [*SELF, *words], name))


def waited(app: App, ref: str, timeout: float | None) -> Row:
    """Return the row of a job once it ended. Raises PendingError where that takes longer."""
    database = app.hub("write")
    return control.wait(database, job_log.get(database, ref)["id"], timeout)


def exit_code(job: Row) -> int:
    """Return what to leave with for a job that ended: its own exit code, or one that is not 0 where it has none."""
    if job["exit_code"] is not None:
        return int(job["exit_code"])
    return 0 if job["status"] == "completed" else LlmctlError.exit_code


def retry(app: App, job: Row) -> int:
    """Run a command that ended once more; go on with the chat of a turn."""
    if job["status"] in ("pending", "running"):
        raise UsageError(f"the job {job['id'][:8]} has not ended", hint=f"llmctl job cancel {job['id'][:8]}")
    record = job_log.record(app.hub(), job)
    if job["type"] == "command":
        old = jobs_command.of_row(job)
        again = Work(old.command, old.name, old.folder, old.timeout_s, parent_id=job["id"], attempt=old.attempt + 1)
        return run(app, again)
    chat_id = record["payload"].get("chat_id")
    if job["type"] != "turn" or not chat_id:
        raise UsageError(f'a job of type "{job["type"]}" cannot be tried again')
    app.converse(chat=approvals.root(app.hub(), chat_id))
    return 0


def _ears(app: App) -> Ears:
    def shown(data: bytes) -> None:
        app.io.write_bytes(data)
        app.io.flush()

    return Ears(shown, app.io.say_bytes)


def _stdin(app: App) -> int | None:
    """Return our stdin for a command to read, unless it is a terminal: that one stays with its shell."""
    return None if app.io.stdin_tty or app.io.stdin_fd is None else app.io.stdin_fd


def _folder() -> str | None:
    """Return the working folder; None where it was removed: the command finds out for itself."""
    with suppress(FileNotFoundError):
        return os.getcwd()
    return None


def _parted(words: Sequence[str], mark: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Part words at the first that is the mark, as ``str.partition`` does."""
    at = list(words).index(mark) if mark in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]
