"""``llmctl job``: look after tracked work."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import flags, looking
from llmctl.cli.app import App
from llmctl.cli.output import Column, emit_list, emit_record, listing, record
from llmctl.store import joblog

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

Ref = Annotated[str, typer.Argument(metavar="REF", help="Job: id, or its beginning.")]


@listing
def list_(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option(metavar="S", help="pending, running, completed, failed or cancelled.")
    ] = None,
    type: Annotated[str | None, typer.Option(metavar="T", help="Of this type, such as turn.")] = None,
    limit: flags.Limit = looking.FIRST_PAGE,
) -> None:
    """List jobs, the newest first.

    Examples:
      llmctl job list --status running
    """
    app: App = ctx.obj
    database = app.hub()
    rows = joblog.listed(database, looking.one_of(status, joblog.STATUSES, "status"), type, looking.limit(limit))
    emit_list(app, rows, looking.with_fields(database, "jobs", _COLUMNS))


@record
def show(ctx: typer.Context, ref: Ref) -> None:
    """Show a job.

    "alive" tells whether its process still runs; "holds" names the threads it has locked.

    Examples:
      llmctl job show 4a15aa97
    """
    from llmctl.engine import holder

    app: App = ctx.obj
    database = app.hub()
    row = joblog.get(database, ref)
    document = joblog.record(database, row) | {"alive": holder.is_alive(row)}
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
    following.write_log(app, app.hub(), joblog.get(app.hub(), ref)["id"], follow=follow)


@listing
def recover(ctx: typer.Context) -> None:
    """Finish the turns of processes that died.

    Their messages keep what came, their threads are free again. Jobs that still run are left alone.

    Examples:
      llmctl job recover
    """
    from llmctl.engine import recovery

    app: App = ctx.obj
    database = app.hub("write")
    found = recovery.recover_all(database)
    app.note(f"recovered {len(found)} job{'' if len(found) == 1 else 's'}")
    emit_list(app, [joblog.record(database, joblog.get(database, job["id"])) for job in found], _COLUMNS)
