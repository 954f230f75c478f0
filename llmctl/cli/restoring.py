"""Putting a copy in the hub's place."""

from __future__ import annotations

from contextlib import closing

from llmctl.cli.app import App
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import ConfigError, StorageError, UsageError
from llmctl.engine.maintenance.init import refuse_live
from llmctl.store import opening
from llmctl.store.maintenance import backup


def restore(app: App, file: str, *, force: bool) -> str | None:
    """Restore the hub from a file; return where the old one is kept, if there was one."""
    app.close()
    path = app.hub_path
    if path == opening.MEMORY:
        raise UsageError("a hub in memory cannot be restored", hint="name a file with --db")
    if not force:
        _refuse_live(path)
    with Progress(app, "copying") as progress:
        return backup.restore(path, file, progress=progress)


def _refuse_live(path: str) -> None:
    """Raise while a turn runs on the hub. One that is not there, or broken, runs none."""
    try:
        with closing(opening.open_hub(path)) as database:
            refuse_live(database, "restore the hub")
    except (ConfigError, StorageError):
        return
