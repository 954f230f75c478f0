"""``llmctl message show``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.message.common import COLUMNS
from llmctl.cli.console.output import OutputColumn, emit_record, record_output
from llmctl.engine.inspect import transcript
from llmctl.store.records import messages, requests
from llmctl.store.serialize import Serializer

_KINDS = {column.name: column.kind for column in COLUMNS} | {
    "tool_calls": "json",
    "attachments": "json",
    "requests": "json",
    "stream": "json",
}


@record_output
def show(
    ctx: typer.Context, ref: Annotated[str, typer.Argument(metavar="ID", help="Message: id, or id prefix.")]
) -> None:
    """Show a message.

    With its parts, its tool calls and attachments, its requests and its stream.

    Examples:
      llmctl message show 77b0aa12 --json
    """
    app: App = ctx.obj
    database = app.hub()
    row = next(transcript.with_partial_answers(database, [messages.get_record(database, ref)]))
    stream = requests.find_message_stream(database, row["id"])
    document = row | {
        "requests": requests.list_for_message(database, row["id"]),
        "stream": Serializer(database, "response_streams").to_record(stream) if stream else None,
    }
    emit_record(app, document, [OutputColumn(name, _KINDS.get(name, "text")) for name in document])
