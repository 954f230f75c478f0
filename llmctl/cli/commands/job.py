"""Commands on jobs: run a program and record it; list, follow, wait for, cancel and retry jobs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from itertools import chain
from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.background import stdin_fd
from llmctl.cli.console.columns import ColumnKind, OutputColumn
from llmctl.cli.console.console import answer_output, list_output, record_output
from llmctl.cli.console.output import Extent, describe_empty, emit_list, emit_record
from llmctl.cli.console.terminal import safe_text
from llmctl.core import clock
from llmctl.core.errors import ConfigError, LlmctlError, LockedError, NotFoundError, StorageError, UsageError
from llmctl.core.humanize import format_duration, pluralize
from llmctl.core.options import TurnOptions, check_seconds
from llmctl.core.stored_values import loads
from llmctl.engine import recovery
from llmctl.engine.jobs import command as jobs_command
from llmctl.engine.jobs import lease
from llmctl.engine.jobs.command import CommandJob, OutputCallbacks, SkippedJob
from llmctl.engine.recovery import recover_job
from llmctl.store.database import Database, Row
from llmctl.store.records import jobs, map_items
from llmctl.store.records.types import JobRow

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("name"),
    OutputColumn("type"),
    OutputColumn("status", "status"),
    OutputColumn("started_at", "time", header="started"),
    OutputColumn("finished_at", "time", header="finished"),
    OutputColumn("error"),
    OutputColumn("exit_code", "number", is_default=False),
    OutputColumn("attempts", "number", is_default=False),
    OutputColumn("payload", "json", is_default=False),
    OutputColumn("result", "json", is_default=False),
    OutputColumn("text_log_id", "id", is_default=False),
    OutputColumn("parent_id", "id", is_default=False),
    OutputColumn("host", is_default=False),
    OutputColumn("pid", is_default=False),
    OutputColumn("boot_id", is_default=False),
    OutputColumn("process_started_at", is_default=False),
    OutputColumn("lease_expires_at", "time", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

JobArgument = Annotated[str, typer.Argument(metavar="REF", help="Job: id, id prefix, or last.")]


def run_in_foreground(app: App, job: CommandJob) -> int:
    """Run a command as a job and return its exit code; 0 where it is skipped."""
    database = app.hub("create")
    job_id = jobs_command.create_job(database, job)
    if isinstance(job_id, SkippedJob):
        app.console.note(f"skipped: {job_id.reason}")
        return 0
    return jobs_command.run_job(database, job_id, job, app.env, output_callbacks(app), stdin_fd(app))


def output_callbacks(app: App) -> OutputCallbacks:
    """Return what passes a command's output on to our own streams."""

    def write_stdout(data: bytes) -> None:
        app.console.io.write_bytes(data)
        app.console.io.flush()

    return OutputCallbacks(write_stdout, app.console.io.write_stderr_bytes)


def run(
    ctx: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", help="Command to run.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the job. [the program's name]")] = None,
    once_per: Annotated[
        str | None,
        typer.Option(metavar="PERIOD", help="Skip if it succeeded in this hour, day, week, month or year."),
    ] = None,
    skip_if_running: Annotated[
        bool, typer.Option("--skip-if-running", help="Skip if a job of that name is running.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Time limit.")] = None,
    shell: Annotated[bool, typer.Option("--shell", help="COMMAND is a line for /bin/sh.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; print the job id.")] = False,
    claimed: Annotated[str | None, typer.Option("--as", hidden=True)] = None,
) -> None:
    """Run a command as a job, with its log and exit code kept in the hub.

    Its output goes to stdout and stderr as usual, and into the job's log. Exits with its exit code; a skipped run is 0
    with the reason on stderr, one stopped by --timeout 6. Signals are forwarded to the command. The type of a job says
    how llmctl runs it: it is always "command" here; --name tells jobs apart.

    Examples:
      llmctl job run --name backup --once-per day --skip-if-running -- rsync -a src/ dst/
      llmctl job run --shell --timeout 60 -- 'make test | tail -n 20'
    """
    from llmctl.cli.background import parse_command, start_job

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
    from llmctl.engine.jobs.command import claim_job, run_job

    database = app.hub("write")
    job = claim_job(database, job_id)
    return run_job(database, job_id, job, app.env, output_callbacks(app), stdin_fd(app))


_COLUMNS_BY_NAME = [
    OutputColumn("name"),
    OutputColumn("last_status", "status"),
    OutputColumn("last_at", "time", header="last run"),
    OutputColumn("last_success_at", "time", header="last success"),
    OutputColumn("runs", "number"),
    OutputColumn("failed", "number"),
    OutputColumn("last_exit_code", "number", is_default=False),
    OutputColumn("last_error"),
]


@list_output
def list_(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="pending, running, completed, failed or cancelled.")
    ] = None,
    type: Annotated[str | None, typer.Option(metavar="TYPE", help="Only jobs of this type, such as turn.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this name.")] = None,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="One row per name: last run, last success, failures.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="On a terminal: list turns of chats, too.")] = False,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List jobs, newest first.

    Every turn of a chat is a job, too: a table on a terminal leaves them out, unless --all or --type turn.

    Examples:
      llmctl job list --status running
      llmctl job list --by-name
    """
    app: App = ctx.obj
    database = app.hub()
    if by_name:
        named = jobs.summarize_by_name(database, name)
        emit_list(app.console, named, _COLUMNS_BY_NAME, Extent(describe_empty("jobs", name)))
        return
    without = "turn" if app.console.shows_table and not everything and type is None else None
    wanted = jobs.JobFilter(listing_args.require_choice(status, jobs.STATUSES, "status"), type, name, without)
    extent = listing_args.extent(limit, "jobs", lambda: jobs.count(database, wanted), status, type, name)
    columns = listing_args.add_custom_columns(database, "jobs", COLUMNS)
    emit_list(app.console, jobs.list_(database, wanted, extent.limit), columns, extent)
    if without and (turns := jobs.count(database, wanted.replace(type=without, without=None))):
        app.console.note(f"{pluralize(turns, 'turn')} of chats left out; --all lists them")


@record_output
def show(
    ctx: typer.Context,
    ref: JobArgument,
    items: Annotated[bool, typer.Option("--items", help="List the rows of a map, failed ones first.")] = False,
) -> None:
    """Show a job.

    "alive" is true if its process still runs; "holds" names the threads it has locked.

    Examples:
      llmctl job show 4a15aa97
      llmctl job show 4a15aa97 --items
    """
    app: App = ctx.obj
    database = app.hub()
    job = jobs.get(database, listing_args.resolve_last(app, "job", ref))
    if items:
        emit_list(app.console, _list_items(database, job), _ITEM_COLUMNS)
        return
    document = jobs.get_record(database, job.id) | {"alive": lease.is_job_alive(job)}
    if app.console.shows_table and not app.console.format.columns:
        emit_record(app.console, *_describe_job(job, document))
        return
    kinds = {column.name: column.kind for column in COLUMNS} | {"holds": "json", "alive": "bool"}
    emit_record(app.console, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])


_ITEM_COLUMNS = [
    OutputColumn("position", "number"),
    OutputColumn("id"),
    OutputColumn("status", "status"),
    OutputColumn("error"),
    OutputColumn("output"),
    OutputColumn("cost", "cost"),
    OutputColumn("attempts", "number"),
    OutputColumn("request_id", "id"),
    OutputColumn("input", "json", is_default=False),
]


def _list_items(database: Database, job: JobRow) -> Iterator[Row]:
    """Yield the rows of a map: failed ones first, then in the order of the input."""
    if job.type != map_items.TYPE:
        raise UsageError(f"job {job.id[:8]} has no rows: it is no map", hint="list maps: llmctl job list --type map")
    failed = map_items.list_results(database, job.id, status="failed")
    rest = (row for row in map_items.list_results(database, job.id) if row["status"] != "failed")
    for row in chain(failed, rest):
        answer = row["content"] if row["output"] is None else row["output"]
        yield {**row, "id": row["custom_id"], "output": answer, "input": loads(row["input"])}


def delete(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="Maps to delete.")],
    with_usage: Annotated[bool, typer.Option("--with-usage", help="Also delete their usage and cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete maps with their rows and every copy of the text.

    Usage and cost are kept, unless --with-usage. The text of other jobs belongs to their chats.

    Examples:
      llmctl job delete 4a15aa97 --yes
    """
    from llmctl.cli.console.prompts import confirm
    from llmctl.store.maintenance import delete as store_delete

    app: App = ctx.obj
    database = app.hub("write")
    selected = [jobs.get(database, ref) for ref in refs]
    for job in selected:
        if job.type != map_items.TYPE:
            raise UsageError(f"job {job.id[:8]} is no map", hint="delete its chat: llmctl chats delete")
        if lease.is_alive(job):
            raise LockedError(f"job {job.id[:8]} is running", hint=f"llmctl job cancel {job.id[:8]}")
    names = ", ".join(f'"{job.name}"' for job in selected)
    usage = " and their usage" if with_usage else ""
    confirm(app.console, f"delete maps {names}, their rows and every copy of the text{usage}", yes=yes)
    for job in selected:
        store_delete.delete_map(database, job.id, with_usage=with_usage)
        app.console.note(f"deleted map {job.id[:8]}")
    store_delete.purge_deleted_text(database)


#: What people want to know of a job, in order; lease and process are in ``--json``.
_CARD = (
    *(OutputColumn(name) for name in ("id", "name", "type")),
    *(OutputColumn("status", "status"), OutputColumn("error"), OutputColumn("exit code", "number")),
    *(OutputColumn(name) for name in ("command", "folder", "chat")),
    *(OutputColumn(name, "time") for name in ("created", "started", "finished")),
    *(OutputColumn("duration", "duration"), OutputColumn("attempts", "number"), OutputColumn("log")),
)


def _describe_job(job: JobRow, document: Row) -> tuple[Row, list[OutputColumn]]:
    """Return a job as people read it, and the columns that have something to say."""
    payload, is_over = document["payload"] or {}, job.status not in ("pending", "running")
    command = payload.get("command")
    row: Row = {
        "id": job.id,
        "name": job.name,
        "type": job.type,
        "status": job.status if is_over or document["alive"] else f"{job.status}, but its process is dead",
        "error": job.error,
        "exit code": job.exit_code,
        "command": shlex.join(command) if isinstance(command, list) else command,
        "folder": payload.get("folder"),
        "chat": payload.get("chat_id"),
        "created": None if job.started_at else job.created_at,
        "started": job.started_at,
        "finished": job.finished_at,
        "duration": _duration_ms(job),
        "attempts": job.attempts if (job.attempts or 0) > 1 else None,
        "log": f"llmctl job log {job.id[:8]}" if job.text_log_id else None,
    }
    return row, [column for column in _CARD if row[column.name] is not None]


def _duration_ms(job: JobRow) -> float | None:
    if not (job.started_at and job.finished_at):
        return None
    return 1000 * (clock.parse(job.finished_at) - clock.parse(job.started_at)).total_seconds()


_POLL_INTERVAL_S = 0.2


def log(
    ctx: typer.Context,
    ref: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the job ends.")] = False,
) -> None:
    """Print the log of a job.

    Examples:
      llmctl job log 4a15aa97 --follow
    """
    app: App = ctx.obj
    database = app.hub()
    job_id = jobs.get(database, listing_args.resolve_last(app, "job", ref)).id
    printed: dict[str, int] = {}
    while True:
        job = jobs.get(database, job_id)
        is_over = not lease.is_alive(job)
        if job.text_log_id is None and (is_over or not follow):
            reason = f"it {job.status} with: {job.error}" if job.error else None
            raise NotFoundError(f"job {job_id[:8]} has no log", hint=reason)
        if job.text_log_id is not None:
            _write_new(app, database, job.text_log_id, printed)
        if is_over or not follow:
            return
        time.sleep(_POLL_INTERVAL_S)


def _write_new(app: App, database: Database, log_id: str, printed: dict[str, int]) -> None:
    """Write what was added since the last call; ``printed`` counts the characters of each piece written so far."""
    pieces: list[Row] = jobs.list_log_pieces(
        database, log_id, after=max(0, len(printed) - 1)
    )  # the last may have grown
    for piece in pieces:
        text = piece["text"][printed.get(piece["id"], 0) :]
        printed[piece["id"]] = len(piece["text"])
        app.console.io.write(safe_text(text) if app.console.io.stdout_tty else text)
    app.console.io.flush()


@record_output
def wait(
    ctx: typer.Context,
    ref: JobArgument,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Time limit (exit 8).")] = None,
) -> None:
    """Wait for a job to end and exit with its exit code.

    Examples:
      llmctl job wait "$(llmctl job run --detach -- make)"
      llmctl job wait 4a15aa97 --timeout 60
    """
    app: App = ctx.obj
    timeout = check_seconds(timeout, "--timeout") if timeout else timeout
    database = app.hub("write")
    job = jobs_command.wait_for_job(
        database, jobs.get(database, listing_args.resolve_last(app, "job", ref)).id, recover_job, timeout_s=timeout
    )
    document = jobs.get_record(database, job.id)
    if app.console.shows_table and not app.console.format.columns:
        app.console.note(f"job {job.id[:8]} ({job.name}) {_describe_end(job)}")
    else:
        kinds: dict[str, ColumnKind] = {"holds": "json"}
        emit_record(app.console, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])
    raise typer.Exit(_exit_code(job))


def _describe_end(job: JobRow) -> str:
    """Return such as ``failed after 3.2 s: exit code 2``."""
    took = f" after {format_duration(ms)}" if (ms := _duration_ms(job)) is not None else ""
    why = job.error or (f"exit code {job.exit_code}" if job.exit_code else None)
    return f"{job.status}{took}{f': {why}' if why else ''}"


def _exit_code(job: JobRow) -> int:
    """Return the exit code of a job that ended, or 1 for one that failed without any."""
    if job.exit_code is not None:
        return int(job.exit_code)
    return 0 if job.status == "completed" else LlmctlError.exit_code


_RESULTS = {"cancelled": "was cancelled before it started", "ended": "has ended", "recovered": "was already dead"}


def cancel(ctx: typer.Context, ref: JobArgument) -> None:
    """Cancel a job; what it has done so far is kept.

    Terminates its process, and kills it if it does not exit.

    Examples:
      llmctl job cancel 4a15aa97
    """
    app: App = ctx.obj
    database = app.hub("write")
    job = jobs.get(database, listing_args.resolve_last(app, "job", ref))
    result = jobs_command.cancel_job(database, job, recover_job)
    app.console.note(f"job {job.id[:8]} {_RESULTS[result]}")


@answer_output
def retry(ctx: typer.Context, flags: TurnOptions, ref: JobArgument) -> None:
    """Run a finished command again, or continue the chat of an interrupted turn.

    A command gets a new job, whose parent is the old one.

    Examples:
      llmctl job retry 4a15aa97
    """
    app: App = ctx.obj
    database = app.hub("write")
    job = jobs.get(database, listing_args.resolve_last(app, "job", ref))
    if job.status in ("pending", "running"):
        raise UsageError(f"job {job.id[:8]} has not ended", hint=f"llmctl job cancel {job.id[:8]}")
    if job.type == "command":
        raise typer.Exit(_run_again(app, job))
    _continue_chat(app, job, flags)


def _run_again(app: App, job: JobRow) -> int:
    from llmctl.engine.jobs.command import CommandJob, job_from_row

    old = job_from_row(job)
    _require_own(app, job, old)
    return run_in_foreground(
        app,
        CommandJob(old.command, old.name, old.folder, old.timeout_s, parent_id=job.id, attempt=old.attempt + 1),
    )


def _require_own(app: App, job: JobRow, old: CommandJob) -> None:
    """Return if this user ran the command; a command of someone else runs only after a yes on a terminal."""
    from llmctl.engine.connections import trust
    from llmctl.engine.jobs.command import is_foreign

    if trust.is_own_hub(app.hub(), app.env) and not is_foreign(job):
        return
    text, confirm = shlex.join(old.command), app.runtime_env().confirm
    if confirm is not None and confirm(f"Job {job.id[:8]} came from elsewhere and would run: {text} Run it?"):
        return
    raise ConfigError(
        f"job {job.id[:8]} came from elsewhere: its command is not run again",
        hint=f"if it is right: llmctl job run --name {shlex.quote(old.name)} -- {text}",
        reason="untrusted",
    )


def _continue_chat(app: App, job: JobRow, flags: TurnOptions) -> None:
    from llmctl.cli.turn.chat import ChatCommand
    from llmctl.cli.turn.input import ChatArgs
    from llmctl.engine.tools import approvals

    database = app.hub()
    chat_id = loads(job.payload, {}).get("chat_id")
    if job.type != "turn" or not chat_id:
        raise UsageError(f'cannot retry a job of type "{job.type}"')
    ChatCommand(app, ChatArgs(chat=approvals.root_chat_of_chat(database, chat_id), finish=True), flags).run()


@list_output
def recover(ctx: typer.Context) -> None:
    """Recover the jobs of processes that died, and what was left unfinished without a job.

    Their messages keep what was received, their threads are unlocked. Jobs that are still running are left alone.

    Examples:
      llmctl job recover
    """
    app: App = ctx.obj
    database = app.hub("write")
    done = recovery.recover_dead_jobs(database)
    app.console.note(f"recovered {pluralize(len(done.jobs), 'job')}")
    if done.abandoned:
        app.console.note(f"finished {pluralize(done.abandoned, 'row')} that no job worked on")
    emit_list(app.console, [jobs.get_record(database, job.id) for job in done.jobs], COLUMNS)
    if done.failed:
        id, error = next(iter(done.failed.items()))
        more = f" and {len(done.failed) - 1} more" if len(done.failed) > 1 else ""
        raise StorageError(f"cannot recover job {id[:8]}{more}: {error.message}", hint=error.hint, reason=error.reason)
