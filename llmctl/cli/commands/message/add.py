"""``llmctl message add``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from llmctl.cli import argument_parsers, common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.output import emit_change, record_output
from llmctl.cli.stdin import read_prompt
from llmctl.core.errors import UsageError
from llmctl.engine.recovery import unlock_thread
from llmctl.store.database import Database, Row
from llmctl.store.records import messages, threads
from llmctl.store.records.types import ChatRow

_ROLES = ("system", "user", "assistant")


class MessageArgs(NamedTuple):
    """What to add: the columns that the flags set."""

    role: str
    content: str
    model: str | None
    references: dict[str, str]


@record_output
def add(
    ctx: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT...]", help="Its text; - is stdin.")] = None,
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
    row = _append(database, listing_args.get_chat(database, chat), args)
    emit_change(app, row, f"added message {row['id'][:8]}")


def _parse_args(app: App, words: Sequence[str], role: str, model: str | None, references: Sequence[str]) -> MessageArgs:
    listing_args.require_choice(role, _ROLES, "role")
    if model is not None and role != "assistant":
        raise UsageError("--model requires --role assistant")
    content = read_prompt(words, io=app.io, env=app.env, note=app.note)
    if content is None:
        raise UsageError("the message is empty", hint="pass its text as an argument, or pipe it in")
    pairs = argument_parsers.parse_pairs(references, "--reference")
    return MessageArgs(role, content, model, {key: str(value) for key, value in pairs.items()})


def _append(database: Database, chat: ChatRow, args: MessageArgs) -> Row:
    """Append the message to the chat's thread, if no turn is running in it; return its record."""
    with database.transaction(durable=True):
        thread = threads.find_for_chat(database, chat.id)
        if thread is not None:
            unlock_thread(database, thread.id)
        columns = {"role": args.role, "content": args.content, "model_id": args.model}
        message_id = messages.append(database, chat, thread, columns, args.references)
    return messages.get_record(database, message_id)
