"""``llmctl chats edit``."""

from __future__ import annotations

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.chats import chat_columns, emit_chat
from llmctl.cli.console.console import record_output
from llmctl.core.errors import UsageError
from llmctl.engine import recovery
from llmctl.store.records import chats


@record_output
def edit(
    ctx: typer.Context,
    flags: common_options.ChatFlags,
    ref: common_options.ChatArgument,
    name: common_options.ChatNameOption = None,
    description: common_options.DescriptionOption = None,
    system: common_options.SystemOption = None,
) -> None:
    """Edit a conversation: name, model, options, description, metadata.

    A new system prompt is a new message of the thread; the last one is sent. The value null removes an option or
    metadata key (-o temperature=null, --metadata ticket:=null).

    Examples:
      llmctl chats edit fix-42 -m gpt-5 -o temperature=0
      llmctl chats edit last --name monads --metadata topic=haskell
    """
    app: App = ctx.obj
    database = app.hub("write")
    chat = listing_args.get_chat(app, ref)
    changes = chat_columns(app, database, flags, chat, name=name, description=description)
    if not changes and system is None:
        raise UsageError("nothing to change", hint="see: llmctl chats edit --help")
    with database.transaction(durable=True):
        thread = chats.find_thread(database, chat.id)
        if system is not None and thread is not None:  # the prompt is a message: no turn may be running
            recovery.unlock_thread(database, thread.id)
        chats.update(database, chat, changes, system=system)
    emit_chat(app, database, chat.id, 'updated chat "{name}"')
