"""``llmctl agent session show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.agent.session.common import COLUMNS, SessionArgument
from llmctl.cli.console.output import emit_record, record_output
from llmctl.store.records import agents


@record_output
def show(ctx: typer.Context, session: SessionArgument) -> None:
    """Show a session.

    Examples:
      llmctl agent session show 3f2a9c1e
    """
    app: App = ctx.obj
    database = app.hub()
    emit_record(app, agents.get_session_record(database, agents.get_session(database, session).id), COLUMNS)
