"""``llmctl db prune``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.cli.console.progress import Progress
from llmctl.cli.console.prompts import confirm
from llmctl.core import time_ranges
from llmctl.core.errors import LockedError
from llmctl.core.humanize import format_size
from llmctl.core.registry import unknown_name_error
from llmctl.store.database import Database, empty_wal
from llmctl.store.maintenance import compaction, integrity
from llmctl.store.maintenance import prune as maintenance_prune
from llmctl.store.maintenance.prune import PruneCount

_COLUMNS = [OutputColumn("kind"), OutputColumn("rows", "number"), OutputColumn("bytes", "number")]
#: Whole conversations are a kind, too, but not among the defaults.
_CHATS = "chats"
_KINDS = (*maintenance_prune.KINDS, _CHATS)


@list_output
def prune(
    ctx: typer.Context,
    older_than: Annotated[str, typer.Option(metavar="TIME", help="Age or date: 90d, 4w, 2026-01-01.")],
    kind: Annotated[
        str,
        typer.Option(metavar="KINDS", help="Any of streams, http, logs, renders, metrics, attachments, jobs, chats."),
    ] = "streams,http",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Also shrink the file.")] = False,
) -> None:
    """Remove old text from the hub; usage numbers are kept.

    streams: responses byte by byte (messages keep their text). http: bodies and headers of attempts. logs, renders,
    metrics, jobs: those rows. attachments: files that no message uses any more. chats: whole conversations without a
    message since then, as llmctl chats delete does.

    Examples:
      llmctl db prune --older-than 90d --dry-run
      llmctl db prune --older-than 1w --kind streams,http,logs --yes --vacuum
    """
    app: App = ctx.obj
    kinds = _parse_kinds(kind)
    before = time_ranges.parse_time(older_than, words=False)
    database = app.hub("read" if dry_run else "write")
    counts = [_count(database, name, before) for name in kinds]
    if not dry_run and any(count.rows for count in counts):
        confirm(app.console, _question(counts, before), yes=yes)
        _prune(app, database, counts, before, vacuum=vacuum)
    _note_result(app, counts, dry_run=dry_run, vacuum=vacuum)
    emit_list(app.console, [count.to_dict() for count in counts], _COLUMNS)


def _parse_kinds(text: str) -> list[str]:
    kinds = list(dict.fromkeys(kind.strip() for kind in text.split(",") if kind.strip()))
    for kind in kinds:
        if kind not in _KINDS:
            raise unknown_name_error("kind", kind, _KINDS)
    return kinds


def _count(database: Database, kind: str, before: str) -> PruneCount:
    if kind != _CHATS:
        return maintenance_prune.count_old(database, kind, before)
    return PruneCount(kind, len(maintenance_prune.list_old_chats(database, before)), 0)


def _prune(app: App, database: Database, counts: Sequence[PruneCount], before: str, *, vacuum: bool) -> None:
    with Progress(app.console, "pruning") as progress:
        for count in counts:
            _prune_kind(database, count, before, progress)
        compaction.compact_rows(database, lambda done, total: progress.update(f"compressing {done * 100 // total} %"))
        empty_wal(database.connection)
        if not vacuum:
            return
        progress.update("rewriting the file")
        try:
            integrity.vacuum(database)
        except LockedError as error:
            app.console.note(error.message)


def _prune_kind(database: Database, count: PruneCount, before: str, progress: Progress) -> None:
    if count.kind == _CHATS:
        from llmctl.engine.maintenance.delete import delete_chats

        delete_chats(database, maintenance_prune.list_old_chats(database, before), progress=progress.update)
        return
    done = 0
    for rows in maintenance_prune.prune_kind(database, count.kind, before):
        done += rows
        progress.update(f"{count.kind} {done} of {count.rows}")


def _question(counts: Sequence[PruneCount], before: str) -> str:
    parts = [f"{c.rows} {c.kind}" + (f" ({format_size(c.bytes)})" if c.bytes else "") for c in counts if c.rows]
    return f"delete {', '.join(parts)} from before {before[:10]}"


def _note_result(app: App, counts: Sequence[PruneCount], *, dry_run: bool, vacuum: bool) -> None:
    freed = sum(count.bytes for count in counts)
    if not any(count.rows for count in counts):
        app.console.note("nothing is that old")
    elif dry_run:
        app.console.note(f"would remove {format_size(freed)} of text")
    else:
        app.console.note(
            f"removed {format_size(freed)} of text" + ("" if vacuum else "; to shrink the file: llmctl db vacuum")
        )
