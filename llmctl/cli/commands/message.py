"""Commands on single messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, read_prompt, record_output
from llmctl.cli.console.output import emit_change, emit_list, emit_record
from llmctl.core.errors import UsageError
from llmctl.core.options import parse_pairs
from llmctl.core.values import Value
from llmctl.engine.inspect import transcript
from llmctl.engine.recovery import unlock_thread
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records import chats, messages, requests
from llmctl.store.records.types import ChatRow

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("in_chat", "id", header="chat"),
    OutputColumn("seq", "number", header="#"),
    OutputColumn("role"),
    OutputColumn("status", "status"),
    OutputColumn("created_at", "time", header="when"),
    OutputColumn("content"),
    OutputColumn("chat", is_default=False, header="chat name"),
    OutputColumn("chat_id", "id", is_default=False),
    OutputColumn("thread_id", "id", is_default=False),
    OutputColumn("type", is_default=False),
    OutputColumn("source_id", "id", is_default=False),
    OutputColumn("model_id", is_default=False),
    OutputColumn("provider", is_default=False),
    OutputColumn("input_tokens", "number", is_default=False),
    OutputColumn("output_tokens", "number", is_default=False),
    OutputColumn("thinking_tokens", "number", is_default=False),
    OutputColumn("thinking_text", is_default=False),
    OutputColumn("finish_reason", is_default=False),
    OutputColumn("error", is_default=False),
    OutputColumn("content_raw", "json", is_default=False),
    OutputColumn("metadata", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("job_id", "id", is_default=False),
    OutputColumn("origin", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]


@list_output
def list_(
    ctx: typer.Context,
    chat: common_options.ChatFilterOption = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List messages.

    Newest first, including intermediate steps and tool results.

    Examples:
      llmctl message list --chat last --jsonl
    """
    app: App = ctx.obj
    database = app.hub()
    thread = listing_args.get_thread(database, listing_args.get_chat(app, chat)) if chat is not None else None
    thread_id = thread.id if thread else None
    rows = messages.list_(database, thread_id, listing_args.parse_limit(limit))
    columns = listing_args.add_custom_columns(database, "messages", COLUMNS)
    extent = listing_args.extent(limit, "messages", lambda: messages.count(database, thread_id), chat)
    emit_list(app.console, transcript.with_partial_answers(database, rows), columns, extent)


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
    emit_record(app.console, document, [OutputColumn(name, _KINDS.get(name, "text")) for name in document])


_ROLES = ("system", "user", "assistant")


class MessageArgs(Value):
    """What to add: the columns that the flags set."""

    role: str
    content: str
    model: str | None
    references: dict[str, str]


@record_output
def add(
    ctx: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT...]", help="Text; - is stdin.")] = None,
    chat: Annotated[str, typer.Option(metavar="REF", help="Chat to add it to.")] = "last",
    role: Annotated[str, typer.Option(metavar="ROLE", help="system, user or assistant.")] = "user",
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="ID", help="Model that wrote it, with --role assistant.")
    ] = None,
    reference: common_options.ReferenceOption = None,
) -> None:
    """Add a message to a conversation without calling a model.

    Fails while a turn is running in the chat (exit 9). After a user message, llmctl chat -c requests an answer.

    Examples:
      llmctl message add --chat fix-42 --role assistant "It was the cache."
      git log -1 | llmctl message add --chat fix-42
    """
    app: App = ctx.obj
    args = _parse_args(app, text or (), role, model, reference or ())
    database = app.hub("write")
    row = _append(database, listing_args.get_chat(app, chat), args)
    emit_change(app.console, row, f"added message {row['id'][:8]}")


def _parse_args(app: App, words: Sequence[str], role: str, model: str | None, references: Sequence[str]) -> MessageArgs:
    listing_args.require_choice(role, _ROLES, "role")
    if model is not None and role != "assistant":
        raise UsageError("--model requires --role assistant")
    content = read_prompt(words, io=app.console.io, env=app.env, note=app.console.note)
    if content is None:
        raise UsageError("the message is empty", hint="pass its text as an argument, or pipe it in")
    pairs = parse_pairs(references, "--reference")
    return MessageArgs(role, content, model, {key: str(value) for key, value in pairs.items()})


def _append(database: Database, chat: ChatRow, args: MessageArgs) -> Row:
    """Append the message to the chat's thread, if no turn is running in it; return its record."""
    with database.transaction(durable=True):
        thread = chats.find_thread(database, chat.id)
        if thread is not None:
            unlock_thread(database, thread.id)
        columns = {"role": args.role, "content": args.content, "model_id": args.model}
        message_id = messages.append(database, chat, thread, columns, args.references)
    return messages.get_record(database, message_id)
