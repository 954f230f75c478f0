"""``llmctl thread``: what stands behind chats."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_record, listing, record
from llmctl.engine.inspect import transcript
from llmctl.store.records import snapshots, thread_list

_COLUMNS = [
    Column("id", "id"),
    Column("chat_id", "id"),
    Column("chat"),
    Column("message_count", "number", header="messages"),
    Column("locking_job_id", "id", header="locked by"),
    Column("created_at", "time"),
    Column("last_seq", "number", shown=False),
    Column("lock_status", "status", shown=False),
    Column("parent_id", "id", shown=False),
    Column("parent_seq", "number", shown=False),
    Column("references", "json", shown=False),
    Column("updated_at", "time", shown=False),
]

Ref = Annotated[str, typer.Argument(metavar="REF", help="Thread: id, or its beginning.")]


@listing
def list_(
    ctx: typer.Context,
    locked: Annotated[bool, typer.Option("--locked", help="Only those that a job holds.")] = False,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """List threads.

    Examples:
      llmctl thread list --locked
    """
    app: App = ctx.obj
    emit_list(app, thread_list.listed(app.hub(), looking.limit(limit), locked=locked), _COLUMNS)


@record
def show(ctx: typer.Context, ref: Ref) -> None:
    """Show everything in a thread, in order.

    --json gives the thread with its messages and the snapshots that were kept of it.

    Examples:
      llmctl thread show 5ec751b5
    """
    from llmctl.cli import showing

    app: App = ctx.obj
    database = app.hub()
    thread = thread_list.get(database, ref)
    found = transcript.conversation(database, thread["id"], steps=True)
    if app.format.is_json or app.format.columns:
        document = thread | {"messages": found, "snapshots": snapshots.of_thread(database, thread["id"])}
        emit_record(app, document, [Column(name, "json") for name in document])
    else:
        showing.show_messages(app, found, raw=True)


def unlock(
    ctx: typer.Context,
    ref: Ref,
    force: common_options.Force = False,
) -> None:
    """Free a thread that a dead process holds.

    What the process left unfinished is put in order first. A live process keeps it (exit 9), unless --force.

    Examples:
      llmctl thread unlock 5ec751b5
    """
    from llmctl.engine.jobs import unlock as jobs_unlock

    app: App = ctx.obj
    database = app.hub("write")
    thread = thread_list.get(database, ref)
    freed = jobs_unlock.free(database, thread["id"], force=force)
    app.note(f"the thread {thread['id'][:8]} {looking.FREED[freed]}")
