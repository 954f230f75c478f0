"""Commands on the threads behind chats."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.shared.messages import write_messages
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import emit_list, emit_record
from llmctl.engine.inspect import transcript
from llmctl.engine.recovery import unlock_thread
from llmctl.store.records import chats

ThreadArgument = Annotated[str, typer.Argument(metavar="REF", help="Thread: id, or id prefix.")]

_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("chat_id", "id"),
    OutputColumn("chat"),
    OutputColumn("message_count", "number", header="messages"),
    OutputColumn("locking_job_id", "id", header="locked by"),
    OutputColumn("created_at", "time"),
    OutputColumn("last_seq", "number", is_default=False),
    OutputColumn("lock_status", "status", is_default=False),
    OutputColumn("parent_id", "id", is_default=False),
    OutputColumn("parent_seq", "number", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]


@list_output
def list_(
    ctx: typer.Context,
    locked: Annotated[bool, typer.Option("--locked", help="Only threads that a job holds.")] = False,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List threads.

    Examples:
      llmctl thread list --locked
    """
    app: App = ctx.obj
    database = app.hub()
    extent = listing_args.extent(limit, "threads", lambda: chats.count_threads(database, locked=locked), locked)
    emit_list(app.console, chats.list_threads(database, extent.limit, locked=locked), _COLUMNS, extent)


@record_output
def show(ctx: typer.Context, ref: ThreadArgument) -> None:
    """Show every message of a thread, in order.

    --json prints the thread with its messages and the snapshots saved of it.

    Examples:
      llmctl thread show 5ec751b5
    """
    app: App = ctx.obj
    database = app.hub()
    thread = chats.get_thread_record(database, ref)
    messages = transcript.conversation(database, thread["id"], steps=True)
    if app.console.format.is_json or app.console.format.columns:
        document = thread | {"messages": messages, "snapshots": chats.list_snapshots(database, thread["id"])}
        emit_record(app.console, document, [OutputColumn(name, "json") for name in document])
    else:
        write_messages(app, messages, raw=True)


def unlock(
    ctx: typer.Context,
    ref: ThreadArgument,
    force: common_options.ForceOption = False,
) -> None:
    """Unlock a thread held by a dead process.

    The turn that the process left unfinished is finished first. A live process keeps the thread (exit 9), unless
    --force.

    Examples:
      llmctl thread unlock 5ec751b5
    """
    app: App = ctx.obj
    database = app.hub("write")
    thread = chats.get_thread_record(database, ref)
    result = unlock_thread(database, thread["id"], force=force)
    app.console.note(f"thread {thread['id'][:8]} {listing_args.UNLOCK_RESULTS[result]}")
