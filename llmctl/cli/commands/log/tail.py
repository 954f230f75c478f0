"""``llmctl log tail``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.log.common import LogArgument, write_log_text
from llmctl.core.errors import UsageError
from llmctl.store.records import text_logs

_POLL_INTERVAL_S = 0.2


def tail(
    ctx: typer.Context,
    ref: LogArgument,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", help="Number of lines.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing as the log grows.")] = False,
) -> None:
    """Print the end of a log.

    Examples:
      llmctl log tail 4a15aa97 -n 3
      llmctl log tail 4a15aa97 -f
    """
    app: App = ctx.obj
    if lines < 0:
        raise UsageError(f'--lines must be 0 or more, got "{lines}"')
    database = app.hub()
    log_id = text_logs.get(database, ref)["id"]
    text, position, length = text_logs.tail(database, log_id, lines)
    write_log_text(app, text)
    while follow:
        app.io.flush()
        time.sleep(_POLL_INTERVAL_S)
        for piece in text_logs.list_pieces(database, log_id, after=position - 1):
            # The piece that was the last one may have grown.
            write_log_text(app, piece["text"][length if piece["position"] == position else 0 :])
            position, length = piece["position"], len(piece["text"])
