"""``llmctl db vacuum``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.db import emit_result
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.progress import Progress
from llmctl.core.humanize import format_size
from llmctl.store.maintenance import compaction, integrity


@answer_output
def vacuum(ctx: typer.Context) -> None:
    """Return unused space to the file system.

    Compresses what earlier versions stored, rewrites the file, rebuilds the search index and empties the write-ahead
    log. Needs as much free space as the file
    takes.

    Examples:
      llmctl db vacuum
    """
    app: App = ctx.obj
    database = app.hub("write")
    before = integrity.hub_size_bytes(database.path)
    with Progress(app.console, "compressing") as progress:
        compaction.compact_rows(database, progress)
    after = integrity.vacuum(database).after
    text = f"{format_size(before)} before, {format_size(after)} after"
    emit_result(app, {"bytes_before": before, "bytes_after": after}, None, text)
