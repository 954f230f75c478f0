"""``llmctl agent session delete``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent.session.common import SessionArgument
from llmctl.cli.commands.shared.delete_chats import delete_chats
from llmctl.store.records import agents


def delete(
    ctx: typer.Context,
    session: SessionArgument,
    with_usage: Annotated[bool, typer.Option("--with-usage", help="Delete its usage and cost, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a session, its chat and every copy of the text.

    Examples:
      llmctl agent session delete 3f2a9c1e --yes
    """
    app: App = ctx.obj
    chat_id = agents.get_session(app.hub("write"), session).chat_id
    delete_chats(app, [chat_id], with_usage=with_usage, yes=yes)
