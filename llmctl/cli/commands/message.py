"""``llmctl message``: single entries of threads."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_made, emit_record, listing, record
from llmctl.engine.inspect import transcript
from llmctl.store.records import messages, requests, streams
from llmctl.store.serialize import Shape

_COLUMNS = [
    Column("id", "id"),
    Column("in_chat", "id", header="chat"),
    Column("seq", "number", header="#"),
    Column("role"),
    Column("status", "status"),
    Column("created_at", "time", header="when"),
    Column("content"),
    Column("chat", shown=False, header="chat name"),
    Column("chat_id", "id", shown=False),
    Column("thread_id", "id", shown=False),
    Column("type", shown=False),
    Column("source_id", "id", shown=False),
    Column("model_id", shown=False),
    Column("provider", shown=False),
    Column("input_tokens", "number", shown=False),
    Column("output_tokens", "number", shown=False),
    Column("thinking_tokens", "number", shown=False),
    Column("thinking_text", shown=False),
    Column("finish_reason", shown=False),
    Column("error", shown=False),
    Column("content_raw", "json", shown=False),
    Column("metadata", "json", shown=False),
    Column("references", "json", shown=False),
    Column("job_id", "id", shown=False),
    Column("origin", shown=False),
    Column("updated_at", "time", shown=False),
]


@listing
def list_(
    ctx: typer.Context,
    chat: common_options.OfChat = None,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """List messages.

    The newest come first; steps in between and tool results are among them.

    Examples:
      llmctl message list --chat last --jsonl
    """
    app: App = ctx.obj
    database = app.hub()
    thread_id = looking.thread_of(database, looking.chat(database, chat))["id"] if chat is not None else None
    rows = messages.listed(database, thread_id, looking.limit(limit))
    emit_list(app, transcript.so_far(database, rows), looking.with_fields(database, "messages", _COLUMNS))


@record
def show(
    ctx: typer.Context, ref: Annotated[str, typer.Argument(metavar="ID", help="Message: id, or its beginning.")]
) -> None:
    """Show a message.

    With its parts, its tool calls and files, the requests it took and the stream it came in.

    Examples:
      llmctl message show 77b0aa12 --json
    """
    app: App = ctx.obj
    database = app.hub()
    row = next(transcript.so_far(database, [messages.one(database, ref)]))
    stream = streams.of_message(database, row["id"])
    document = row | {
        "requests": requests.of_message(database, row["id"]),
        "stream": Shape(database, "response_streams").record(stream) if stream else None,
    }
    emit_record(app, document, [Column(name, _KINDS.get(name, "text")) for name in document])


@record
def add(
    ctx: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT...]", help="What it says; - is stdin.")] = None,
    chat: Annotated[str, typer.Option(metavar="REF", help="To this chat.")] = "last",
    role: Annotated[str, typer.Option(metavar="ROLE", help="Said by: system, user or assistant.")] = "user",
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="ID", help="Of an answer: by which model.")
    ] = None,
    reference: common_options.Reference = None,
) -> None:
    """Add a message to a conversation without asking a model.

    Nothing can be added to a chat that a turn runs in (exit 9). After a user message, llmctl chat -c asks for an
    answer.

    Examples:
      llmctl message add --chat fix-42 --role assistant "It was the cache."
      git log -1 | llmctl message add --chat fix-42
    """
    from llmctl.cli import adding

    app: App = ctx.obj
    wish = adding.Wish(chat, looking.one_of(role, adding.ROLES, "role") or "", model, reference or ())
    row = adding.message(app, text or (), wish)
    emit_made(app, row, f"added the message {row['id'][:8]}")


_KINDS = {column.name: column.kind for column in _COLUMNS} | {
    "tool_calls": "json",
    "attachments": "json",
    "requests": "json",
    "stream": "json",
}
