"""``llmctl db restore``."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.db import emit_result
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import ConfigError, StorageError, UsageError
from llmctl.store import opening
from llmctl.store.maintenance import backup


@answer_output
def restore(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A copy made by llmctl db backup.")],
    force: Annotated[bool, typer.Option("--force", help="Restore even while a turn is running.")] = False,
) -> None:
    """Restore the hub from a backup.

    The old hub is kept next to it. Other processes can keep reading in the meantime.

    Examples:
      llmctl db restore ~/hub-2026-01-02.db
    """
    app: App = ctx.obj
    app.close()
    path = app.hub_path
    if path == opening.MEMORY:
        raise UsageError("cannot restore an in-memory hub", hint="name a file with --db")
    if not force:
        _require_idle(path)
    with Progress(app.console, "copying") as progress:
        old = backup.restore(path, file, progress=progress)
    app.console.note(f'the old hub is kept in "{old}"' if old else f'there was no hub at "{path}"')
    emit_result(app, {"path": path, "kept": old}, path, f'restored "{path}" from "{file}"')


def _require_idle(path: str) -> None:
    """Raise if a turn is running on the hub; none runs on one that is missing or broken."""
    from llmctl.engine.maintenance.init import require_idle

    try:
        with closing(opening.open_hub(path)) as database:
            require_idle(database, "restore the hub")
    except (ConfigError, StorageError):
        return
