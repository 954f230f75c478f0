"""Run a job in the foreground: ``job run`` and ``job retry``."""

from __future__ import annotations

from llmctl.cli.app import App
from llmctl.cli.background import stdin_fd
from llmctl.engine.jobs import command as jobs_command
from llmctl.engine.jobs.command import CommandJob, OutputCallbacks, SkippedJob


def run_in_foreground(app: App, job: CommandJob) -> int:
    """Run a command as a job and return its exit code; 0 where it is skipped."""
    database = app.hub("create")
    job_id = jobs_command.create_job(database, job)
    if isinstance(job_id, SkippedJob):
        app.note(f"skipped: {job_id.reason}")
        return 0
    return jobs_command.run_job(database, job_id, job, app.env, output_callbacks(app), stdin_fd(app))


def output_callbacks(app: App) -> OutputCallbacks:
    """Return what passes a command's output on to our own streams."""

    def write_stdout(data: bytes) -> None:
        app.io.write_bytes(data)
        app.io.flush()

    return OutputCallbacks(write_stdout, app.io.write_stderr_bytes)
