"""``llmctl job run``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App


def run(
    ctx: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", help="Command to run.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the job. [the program's name]")] = None,
    once_per: Annotated[
        str | None,
        typer.Option(metavar="PERIOD", help="Skip if it succeeded in this hour, day, week, month or year."),
    ] = None,
    skip_if_running: Annotated[
        bool, typer.Option("--skip-if-running", help="Skip while a job of that name is running.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Time limit.")] = None,
    shell: Annotated[bool, typer.Option("--shell", help="COMMAND is a line for /bin/sh.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; print the job id.")] = False,
    claimed: Annotated[str | None, typer.Option("--as", hidden=True)] = None,
) -> None:
    """Run a command as a job, with its log and exit code kept in the hub.

    Its output goes to stdout and stderr as usual, and into the job's log. Exits with its exit code; a skipped run is 0
    with the reason on stderr, one stopped by --timeout 6. Signals are passed on to the command.

    Examples:
      llmctl job run --name backup --once-per day --skip-if-running -- rsync -a src/ dst/
      llmctl job run --shell --timeout 60 -- 'make test | tail -n 20'
    """
    from llmctl.cli.background import parse_command, start_job
    from llmctl.cli.commands.job.foreground import run_in_foreground

    app: App = ctx.obj
    if claimed is not None:
        raise typer.Exit(_run_claimed(app, claimed))
    job = parse_command(
        app, command or (), name, shell=shell, timeout=timeout, once_per=once_per, skip_if_running=skip_if_running
    )
    if detach:
        start_job(app, job)
    else:
        raise typer.Exit(run_in_foreground(app, job))


def _run_claimed(app: App, job_id: str) -> int:
    """Run a job that another process created and left to this one."""
    from llmctl.cli.background import stdin_fd
    from llmctl.cli.commands.job.foreground import output_callbacks
    from llmctl.engine.jobs.command import claim_job, run_job

    database = app.hub("write")
    job = claim_job(database, job_id)
    return run_job(database, job_id, job, app.env, output_callbacks(app), stdin_fd(app))
