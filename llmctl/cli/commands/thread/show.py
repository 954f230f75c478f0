"""``llmctl thread show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.shared.messages import write_messages
from llmctl.cli.commands.thread.common import ThreadArgument
from llmctl.cli.console.output import OutputColumn, emit_record, record_output
from llmctl.engine.inspect import transcript
from llmctl.store.records import snapshots, threads


@record_output
def show(ctx: typer.Context, ref: ThreadArgument) -> None:
    """Show every message of a thread, in order.

    --json prints the thread with its messages and the snapshots saved of it.

    Examples:
      llmctl thread show 5ec751b5
    """
    app: App = ctx.obj
    database = app.hub()
    thread = threads.get_record(database, ref)
    messages = transcript.conversation(database, thread["id"], steps=True)
    if app.format.is_json or app.format.columns:
        document = thread | {"messages": messages, "snapshots": snapshots.list_for_thread(database, thread["id"])}
        emit_record(app, document, [OutputColumn(name, "json") for name in document])
    else:
        write_messages(app, messages, raw=True)
