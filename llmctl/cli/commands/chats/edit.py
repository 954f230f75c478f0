"""``llmctl chats edit``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.chats import chat_columns, emit_chat
from llmctl.cli.console.console import record_output
from llmctl.core.errors import UsageError
from llmctl.engine import recovery
from llmctl.store.records import agents, chats


@record_output
def edit(
    ctx: typer.Context,
    flags: common_options.ChatFlags,
    ref: common_options.ChatArgument,
    name: common_options.ChatNameOption = None,
    description: common_options.DescriptionOption = None,
    system: common_options.SystemOption = None,
    agent: Annotated[
        str | None, typer.Option(metavar="REF", help="Continue it with this agent, instead of a model.")
    ] = None,
) -> None:
    """Edit a conversation: its name, model or agent, options, tools, metadata.

    A new system prompt is a new message of the thread; the last one is sent. The value null takes away an option, a
    metadata key, the thinking effort or a tool (-o temperature=null, --metadata ticket:=null, --thinking null,
    -T time:null); --no-persist replaces what it was, and none takes it away.

    Examples:
      llmctl chats edit fix-42 -m gpt-5 -o temperature=0
      llmctl chats edit fix-42 --thinking low -T time:auto --no-persist streams
      llmctl chats edit last --name monads --metadata topic=haskell
    """
    app: App = ctx.obj
    database = app.hub("write")
    chat = listing_args.get_chat(app, ref)
    if agent and (flags.model or flags.connection):
        raise UsageError(f"--agent and {'--model' if flags.model else '--connection'} cannot be combined")
    agent_row = agents.get(database, agent) if agent else None
    changes = chat_columns(app, database, flags, chat, name=name, description=description, agent=agent_row)
    if not changes and system is None:
        raise UsageError("nothing to change", hint="see: llmctl chats edit --help")
    with database.transaction(durable=True):
        thread = chats.find_thread(database, chat.id)
        if system is not None and thread is not None:  # the prompt is a message: no turn may be running
            recovery.unlock_thread(database, thread.id)
        chats.update(database, chat, changes, system=system)
        if agent_row is not None:
            agents.assign_session(database, chats.get(database, chat.id), agent_row)
    emit_chat(app, database, chat.id, 'updated chat "{name}"')
