"""``llmctl db backup``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.db import emit_result
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.progress import Progress
from llmctl.core.humanize import format_size
from llmctl.store.maintenance import backup as maintenance_backup


@answer_output
def backup(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write the copy.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Copy the hub to another file, even while it is in use.

    The copy is complete and checked, or not written at all. It is one file that only you can read.

    Examples:
      llmctl db backup ~/hub-$(date +%F).db
    """
    app: App = ctx.obj
    with Progress(app.console, "copying") as progress:
        size = maintenance_backup.back_up(app.hub(), file, force=force, progress=progress)
    emit_result(app, {"path": file, "bytes": size}, file, f'copied the hub to "{file}", {format_size(size)}')
