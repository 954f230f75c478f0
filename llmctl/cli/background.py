"""Start a command, often this one, as a background job: ``--detach`` of ``job run``, ``chat`` and the like."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from llmctl.cli.app import App
from llmctl.core.errors import UsageError
from llmctl.core.options import check_seconds
from llmctl.core.registry import unknown_name_error
from llmctl.engine.jobs import command as jobs_command
from llmctl.engine.jobs.command import CommandJob, SkippedJob
from llmctl.engine.jobs.lease import JOB_VARIABLE
from llmctl.engine.runtime import SCRIPT_VARIABLE

#: How this program is started again, whatever it was called.
SELF_COMMAND = (sys.executable, "-P", "-m", "llmctl")


def parse_command(
    app: App,
    words: Sequence[str],
    name: str | None,
    *,
    shell: bool = False,
    timeout: float | None = None,
    once_per: str | None = None,
    skip_if_running: bool = False,
) -> CommandJob:
    """Return the job of a command; with ``shell`` its words are one line for /bin/sh."""
    if once_per is not None and once_per not in jobs_command.PERIODS:
        raise unknown_name_error("period", once_per, jobs_command.PERIODS)
    timeout = check_seconds(timeout, "--timeout")
    if not words:
        raise UsageError("no command to run", hint="llmctl job run -- make test")
    command = ("/bin/sh", "-c", " ".join(words)) if shell else tuple(words)
    program = words[0].split()[0] if shell and words[0].split() else words[0]
    job_name = name or jobs_command.replace_undecodable_bytes(os.path.basename(program) or program)
    parent_id = app.env.get(JOB_VARIABLE)
    return CommandJob(command, job_name, _working_folder(), timeout, once_per, skip_if_running, parent_id)


def start_job(app: App, job: CommandJob) -> None:
    """Start a job in a process of its own and print the job's id."""
    database = app.hub("create")
    if database.path == ":memory:":
        raise UsageError("--detach requires a hub in a file")
    job_id = jobs_command.detach_job(database, SELF_COMMAND, job, _job_env(app, job), stdin_fd(app))
    if isinstance(job_id, SkippedJob):
        app.console.note(f"skipped: {job_id.reason}")
        return
    app.console.note(f"started job {job_id[:8]}; to follow it: llmctl job log {job_id[:8]} --follow")
    app.console.io.write(f"{job_id}\n")


def start_this_command(app: App, name: str) -> None:
    """Run this command line, without ``--detach``, as a background job."""
    words = list(app.arguments)
    end = words.index("--") if "--" in words else len(words)
    arguments = [*(word for word in words[:end] if word != "--detach"), *words[end:]]
    start_job(app, parse_command(app, [*SELF_COMMAND, *arguments], name))


def stdin_fd(app: App) -> int | None:
    """Return our stdin for a command to read, unless it is a terminal: that one stays with its shell."""
    return None if app.console.io.stdin_tty or app.console.io.stdin_fd is None else app.console.io.stdin_fd


def _job_env(app: App, job: CommandJob) -> Mapping[str, str]:
    """Return the environment of a job; it names the script that started this process."""
    script = app.caller_info().script if job.command[: len(SELF_COMMAND)] == SELF_COMMAND else None
    return {**app.env, SCRIPT_VARIABLE: script} if script else app.env


def _working_folder() -> str | None:
    """Return the working folder; None if it was removed, which the command finds out for itself."""
    with suppress(FileNotFoundError):
        return os.getcwd()
    return None
