"""``llmctl job``: look after tracked work."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, answer, emit_list, emit_record, listing, record
from llmctl.cli.turn.flags import asking
from llmctl.store.records import job_log

_COLUMNS = [
    Column("id", "id"),
    Column("name"),
    Column("type"),
    Column("status", "status"),
    Column("started_at", "time", header="started"),
    Column("finished_at", "time", header="finished"),
    Column("error"),
    Column("exit_code", "number", shown=False),
    Column("attempts", "number", shown=False),
    Column("payload", "json", shown=False),
    Column("result", "json", shown=False),
    Column("text_log_id", "id", shown=False),
    Column("parent_id", "id", shown=False),
    Column("host", shown=False),
    Column("pid", shown=False),
    Column("boot_id", shown=False),
    Column("process_started_at", shown=False),
    Column("lease_expires_at", "time", shown=False),
    Column("references", "json", shown=False),
    Column("created_at", "time", shown=False),
    Column("updated_at", "time", shown=False),
]

_NAMES = [
    Column("name"),
    Column("last_status", "status"),
    Column("last_at", "time", header="last run"),
    Column("last_success_at", "time", header="last success"),
    Column("runs", "number"),
    Column("failed", "number"),
    Column("last_exit_code", "number", shown=False),
    Column("last_error"),
]

Ref = Annotated[str, typer.Argument(metavar="REF", help="Job: id, or its beginning.")]


@listing
def list_(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option(metavar="S", help="pending, running, completed, failed or cancelled.")
    ] = None,
    type: Annotated[str | None, typer.Option(metavar="T", help="Of this type, such as turn.")] = None,
    name: Annotated[str | None, typer.Option(metavar="N", help="Of this name.")] = None,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="How the commands of each name fared: last run, last success, failures.")
    ] = False,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """List jobs, the newest first.

    Examples:
      llmctl job list --status running
      llmctl job list --by-name
    """
    app: App = ctx.obj
    database = app.hub()
    if by_name:
        from llmctl.store.records import jobs

        emit_list(app, jobs.by_name(database, name), _NAMES)
        return
    rows = job_log.listed(
        database, looking.one_of(status, job_log.STATUSES, "status"), type, name, looking.limit(limit)
    )
    emit_list(app, rows, looking.with_fields(database, "jobs", _COLUMNS))


@record
def show(ctx: typer.Context, ref: Ref) -> None:
    """Show a job.

    "alive" tells whether its process still runs; "holds" names the threads it has locked.

    Examples:
      llmctl job show 4a15aa97
    """
    from llmctl.engine.jobs import command as jobs_command

    app: App = ctx.obj
    database = app.hub()
    row = job_log.get(database, ref)
    document = job_log.record(database, row) | {"alive": jobs_command.is_alive(row)}
    kinds = {column.name: column.kind for column in _COLUMNS} | {"holds": "json", "alive": "bool"}
    emit_record(app, document, [Column(name, kinds.get(name, "text")) for name in document])


def log(
    ctx: typer.Context,
    ref: Ref,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print the log of a job.

    Examples:
      llmctl job log 4a15aa97 --follow
    """
    from llmctl.cli import following

    app: App = ctx.obj
    following.write_log(app, app.hub(), job_log.get(app.hub(), ref)["id"], follow=follow)


def run(
    ctx: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", help="What to run.")] = None,
    name: Annotated[str | None, typer.Option(metavar="N", help="What it is called; else the program's name.")] = None,
    once_per: Annotated[
        str | None, typer.Option(metavar="PERIOD", help="Not again in an hour, day, week, month, year it went well in.")
    ] = None,
    skip_if_running: Annotated[
        bool, typer.Option("--skip-if-running", help="Not while one of that name runs.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Stop it after so many seconds.")] = None,
    shell: Annotated[bool, typer.Option("--shell", help="COMMAND is a line for /bin/sh.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it to a process of its own; print the id.")] = False,
    claimed: Annotated[str | None, typer.Option("--as", hidden=True)] = None,
) -> None:
    """Run a command as a job: with a log, an exit code and a place in the hub.

    Its output goes where it would have gone, and into the job's log. Its exit status is ours; a skipped run is 0
    with the reason on stderr, one stopped by --timeout 6. A signal to us goes on to it.

    Examples:
      llmctl job run --name backup --once-per day --skip-if-running -- rsync -a src/ dst/
      llmctl job run --shell --timeout 60 -- 'make test | tail -n 20'
    """
    from llmctl.cli import working

    app: App = ctx.obj
    if claimed is not None:
        raise typer.Exit(working.run_claimed(app, claimed))
    work = working.work_of(
        app, command or (), name, shell=shell, timeout=timeout, once_per=once_per, skip_if_running=skip_if_running
    )
    if detach:
        working.detach(app, work)
    else:
        raise typer.Exit(working.run(app, work))


@record
def wait(
    ctx: typer.Context,
    ref: Ref,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Wait no longer; then exit code 8.")] = None,
) -> None:
    """Wait for a job to end, and leave with its exit code.

    Examples:
      llmctl job wait "$(llmctl job run --detach -- make)"
      llmctl job wait 4a15aa97 --timeout 60
    """
    from llmctl.cli import working

    app: App = ctx.obj
    job = working.waited(app, ref, timeout)
    document = job_log.record(app.hub(), job)
    emit_record(app, document, [Column(name, "json" if name == "holds" else "text") for name in document])
    raise typer.Exit(working.exit_code(job))


def cancel(ctx: typer.Context, ref: Ref) -> None:
    """End a job: what runs is asked to end, and what it did so far is kept.

    Examples:
      llmctl job cancel 4a15aa97
    """
    from llmctl.engine.jobs import control

    app: App = ctx.obj
    database = app.hub("write")
    job = job_log.get(database, ref)
    how = control.cancel(database, job)
    words = {"cancelled": "was cancelled before it began", "ended": "has ended", "recovered": "was dead already"}
    app.note(f"the job {job['id'][:8]} {words[how]}")


@answer
@asking
def retry(ctx: typer.Context, ref: Ref) -> None:
    """Run a command that ended once more, or go on with the chat of a turn that broke off.

    A command gets a job of its own, whose parent is the one that is tried again.

    Examples:
      llmctl job retry 4a15aa97
    """
    from llmctl.cli import working

    app: App = ctx.obj
    raise typer.Exit(working.retry(app, job_log.get(app.hub("write"), ref)))


@listing
def recover(ctx: typer.Context) -> None:
    """Finish the turns of processes that died.

    Their messages keep what came, their threads are free again. Jobs that still run are left alone.

    Examples:
      llmctl job recover
    """
    from llmctl.engine.jobs import recovery

    app: App = ctx.obj
    database = app.hub("write")
    found = recovery.recover_all(database)
    app.note(f"recovered {len(found)} job{'' if len(found) == 1 else 's'}")
    emit_list(app, [job_log.record(database, job_log.get(database, job["id"])) for job in found], _COLUMNS)
