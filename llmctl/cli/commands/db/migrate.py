"""``llmctl db migrate``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import StorageError, UsageError
from llmctl.store import opening
from llmctl.store.database import Database
from llmctl.store.maintenance import backup, compaction
from llmctl.store.schema import migrations
from llmctl.store.schema.migrations import Migration
from llmctl.store.stats import labels

_COLUMNS = [
    OutputColumn("version", "number"),
    OutputColumn("name"),
    OutputColumn("kind"),
    OutputColumn("checksum", is_default=False),
]


@list_output
def migrate(
    ctx: typer.Context,
    plan: Annotated[bool, typer.Option("--plan", help="Only show the pending migrations.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only try them on a copy of the hub.")] = False,
) -> None:
    """Upgrade the hub to the current schema.

    The hub is first copied to a file next to it. Migrations that only add tables and columns are applied automatically
    by the first write; those that rewrite tables wait for this command. It also counts the history by
    tool, script and folder, for `stats --group-by`, and compresses what earlier versions stored.

    Examples:
      llmctl db migrate --plan
      llmctl db migrate
    """
    app: App = ctx.obj
    app.close()
    if plan and verify:
        raise UsageError("--plan and --verify cannot be combined")
    applied = _list_pending(app) if plan else _verify(app) if verify else _migrate(app)
    rows = [
        {
            "version": migration.version,
            "name": migration.name,
            "kind": "rewrite" if migration.rewrites else "additive",
            "checksum": migration.checksum,
        }
        for migration in applied
    ]
    emit_list(app.console, rows, _COLUMNS)


def _list_pending(app: App) -> Sequence[Migration]:
    pending = migrations.list_pending(app.hub())
    _note_result(app, pending, "pending")
    return pending


def _verify(app: App) -> Sequence[Migration]:
    """Migrate a copy and check it; the hub itself is only read."""
    from llmctl.engine.maintenance import doctor

    database = app.hub()
    _require_unchanged(database)
    trial = backup.copy_for_trial(database, app.hub_path)
    try:
        with closing(opening.open_hub(trial, "write", upgrade=False)) as copy:
            result = migrations.upgrade(copy, back_up=False)
            for finding in doctor.check_integrity(copy):
                if finding.problem and finding.name in ("integrity", "references", "schema"):
                    raise StorageError(f"the upgraded copy is damaged: {finding.problem}", reason="unsound")
    finally:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(trial + suffix)
    _note_result(app, result.migrations, "applied to a copy, which is sound")
    return result.migrations


def _migrate(app: App) -> Sequence[Migration]:
    with closing(opening.open_hub(app.hub_path, "write", upgrade=False)) as database:
        _require_unchanged(database)
        app.identify_hub(database)
        with Progress(app.console, "copying the hub") as progress:
            result = migrations.upgrade(database, progress=progress)
        with Progress(app.console, "counting by tool, script and folder") as progress:
            labels.fill_labels(database, progress)
        with Progress(app.console, "compressing") as progress:
            compaction.compact_rows(database, progress)
    if result.backup:
        app.console.note(f'the hub before the upgrade is kept in "{result.backup}"')
    _note_result(app, result.migrations, "applied")
    return result.migrations


def _require_unchanged(database: Database) -> None:
    """Raise StorageError if a migration that was applied has changed since."""
    changed = migrations.changed_migrations(database)
    if changed:
        raise StorageError(
            f"migrations changed since they were applied: {', '.join(changed)}",
            hint="reinstall llmctl: its schema files were modified",
            reason="tampered",
        )


def _note_result(app: App, applied: Sequence[Migration], what: str) -> None:
    number = len(applied)
    app.console.note(f"{number} migration{'' if number == 1 else 's'} {what}" if number else "the hub is up to date")
