"""Upgrading a hub on request: the plan, a trial on a copy, the thing itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import StorageError
from llmctl.engine.maintenance import health
from llmctl.store import opening
from llmctl.store.database import Database
from llmctl.store.maintenance import backup
from llmctl.store.schema import migrations
from llmctl.store.schema.migrations import Step

Row = dict[str, Any]


def plan(app: App) -> list[Row]:
    """Return the steps that are to be done."""
    steps = migrations.pending(app.hub())
    _tell(app, "to be done", steps)
    return _rows(steps)


def verify(app: App) -> list[Row]:
    """Do the steps on a copy and look at what came of it; the hub itself is only read."""
    database = app.hub()
    _refuse_tampered(database)
    trial = backup.copy_of(database, app.hub_path)
    try:
        with closing(opening.open_hub(trial, "write", upgrade=False)) as copy:
            done = migrations.upgrade(copy, back_up=False)
            for finding in health.check(copy):
                if finding.problem and finding.name in ("integrity", "references", "schema"):
                    raise StorageError(f"the upgraded copy is not sound: {finding.problem}", reason="unsound")
    finally:
        for end in ("", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(trial + end)
    _tell(app, "done on a copy, which is sound", done.steps)
    return _rows(done.steps)


def run(app: App) -> list[Row]:
    """Do the steps."""
    with closing(opening.open_hub(app.hub_path, "write", upgrade=False)) as database:
        _refuse_tampered(database)
        with Progress(app, "copying the hub") as progress:
            done = migrations.upgrade(database, progress=progress)
    if done.backup:
        app.note(f'the hub as it was is kept in "{done.backup}"')
    _tell(app, "done", done.steps)
    return _rows(done.steps)


def _refuse_tampered(database: Database) -> None:
    changed = migrations.tampered(database)
    if changed:
        raise StorageError(
            f"changed since it was applied: {', '.join(changed)}",
            hint="reinstall llmctl: its schema files are not the released ones",
            reason="tampered",
        )


def _tell(app: App, how: str, steps: Iterable[Step]) -> None:
    number = len(list(steps))
    app.note(f"{number} migration{'' if number == 1 else 's'} {how}" if number else "the hub is up to date")


def _rows(steps: Iterable[Step]) -> list[Row]:
    return [
        {
            "version": step.version,
            "name": step.name,
            "kind": "rewrite" if step.rewrites else "additive",
            "checksum": step.checksum,
        }
        for step in steps
    ]
