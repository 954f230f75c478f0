"""``llmctl request replay``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.request.common import RequestArgument
from llmctl.cli.console.output import answer_output
from llmctl.core.errors import LlmctlError
from llmctl.store.records import requests


@answer_output
def replay(
    ctx: typer.Context,
    ref: RequestArgument,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="REF", help="Another connection, alias or model.")
    ] = None,
) -> None:
    """Send a request again.

    The answer is printed, and a new request is stored that refers to the old one; the chat stays as it is.

    Examples:
      llmctl request replay 3f2a9c1e
      llmctl request replay 3f2a9c1e -m sonnet --json
    """
    from llmctl.cli.turn.flags import default_turn_flags
    from llmctl.cli.turn.printer import TurnPrinter
    from llmctl.engine.inspect.replay import Replay

    app: App = ctx.obj
    app.turn_flags = default_turn_flags()
    database = app.hub("write")
    printer = TurnPrinter(app)
    request = requests.get(database, ref)
    run = Replay(database, request, app.caller_info(), app.runtime_env(), model=model, on_commit=printer.flush)
    try:
        for event in run.events():
            printer.show(event)
    except LlmctlError as error:
        printer.fail(run.result, error)
        raise
    printer.finish(run.result)
    printer.print_usage(run.result)
