"""``llmctl chats fork``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.store.database import Serializer
from llmctl.store.records import chat_summaries, messages


@record_output
def fork(
    ctx: typer.Context,
    ref: common_options.ChatArgument,
    at: Annotated[str | None, typer.Option(metavar="SEQ|MESSAGE", help="Last message to copy.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the new chat.")] = None,
) -> None:
    """Copy a conversation up to a message, to continue it differently.

    The cost of the copied messages is not counted again. SEQ is the number that llmctl chats show REF --raw prints.

    Examples:
      llmctl chats fork fix-42 --at 4 --name fix-42-b
      llmctl chats fork last && llmctl chat -c "another way, please"
    """
    from llmctl.engine.chats.fork import fork_chat

    app: App = ctx.obj
    database = app.hub("write")
    chat = listing_args.get_chat(app, ref)
    thread_id = listing_args.get_thread(database, chat).id if at is not None else ""
    seq = messages.get_at(database, thread_id, at).seq if at is not None else None
    copy = fork_chat(database, chat, upto_seq=seq, name=name, caller=app.caller_info())
    old_name, new_name = listing_args.display_name(chat), listing_args.display_name(copy)
    text = f'forked "{old_name}"; continue with: llmctl chat --chat {new_name}'
    emit_change(app.console, Serializer(database, "chats").to_record(chat_summaries.get(database, copy.id)), text)
