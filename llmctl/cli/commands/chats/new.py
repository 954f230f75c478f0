"""``llmctl chats new``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.commands.chats import chat_columns, emit_chat
from llmctl.cli.console.console import record_output
from llmctl.store.records import chats


@record_output
def new(
    ctx: typer.Context,
    flags: common_options.ChatFlags,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the chat.")] = None,
    description: common_options.DescriptionOption = None,
    system: common_options.SystemOption = None,
) -> None:
    """Create a conversation without calling a model.

    Examples:
      llmctl chats new fix-42 -m echo --system "You are terse." -T time:auto
    """
    app: App = ctx.obj
    database = app.hub("create")
    chat_id = chats.add(database, chat_columns(app, database, flags, name=name, description=description), system=system)
    emit_chat(app, database, chat_id, 'created chat "{name}"')
