"""``llmctl chats rename``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.chats import emit_chat
from llmctl.cli.console.console import record_output
from llmctl.store.records import chats


@record_output
def rename(
    ctx: typer.Context,
    ref: common_options.ChatArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> None:
    """Rename a conversation.

    Examples:
      llmctl chats rename last fix-42
    """
    app: App = ctx.obj
    database = app.hub("write")
    chat = listing_args.get_chat(app, ref)
    chats.update(database, chat, {"name": name})
    emit_chat(app, database, chat.id, f'renamed chat {chat.id[:8]} to "{{name}}"')
