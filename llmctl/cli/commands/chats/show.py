"""``llmctl chats show``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.shared.messages import PlainOption, write_messages
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.cli.listing_args import colorize_stdout, sanitize
from llmctl.engine.inspect.transcript import conversation
from llmctl.store.database import Row, Serializer
from llmctl.store.records import chat_summaries, chats
from llmctl.store.records.types import ChatRow
from llmctl.store.stats import query


@record_output
def show(
    ctx: typer.Context,
    ref: common_options.ChatArgument,
    raw: Annotated[bool, typer.Option("--raw", help="Print the whole thread as it is stored.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Include intermediate steps.")] = False,
    plain: PlainOption = False,
) -> None:
    """Show a conversation.

    An answer that is still being written is shown as received so far. --json prints the chat with its messages,
    their tool calls and attachments, and its statistics.

    Examples:
      llmctl chats show last
      llmctl chats show fix-42 --json --all
    """
    app: App = ctx.obj
    database = app.hub()
    chat = listing_args.get_chat(app, ref)
    summary = chat_summaries.get(database, chat.id)
    thread = chats.find_thread(database, chat.id)
    messages = conversation(database, thread.id, steps=everything or raw) if thread else []
    if app.console.format.is_json or app.console.format.columns:
        record = Serializer(database, "chats").to_record(summary)
        document = record | {"messages": messages, "stats": query.chat_stats(database, chat.id)}
        emit_record(app.console, document, [OutputColumn(name, "json") for name in document])
        return
    if app.console.io.stdout_tty and not raw:
        app.console.io.write(colorize_stdout(app.console, sanitize(app.console, _head(chat, summary)), "bold") + "\n\n")
    write_messages(app, messages, raw=raw, results=not everything, plain=plain)


def _head(chat: ChatRow, summary: Row) -> str:
    source = summary["agent"] or summary["connection"]
    words = [summary["title"], chat.id[:8], source, chat.model, chat.description, summary["state"]]
    return "  ".join(word for word in words if word)
