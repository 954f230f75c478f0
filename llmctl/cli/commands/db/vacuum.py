"""``llmctl db vacuum``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.db import emit_result
from llmctl.cli.console.console import answer_output
from llmctl.core.humanize import format_size
from llmctl.store.maintenance import integrity


@answer_output
def vacuum(ctx: typer.Context) -> None:
    """Return unused space to the file system.

    Rewrites the file, rebuilds the search index and empties the write-ahead log. Needs as much free space as the file
    takes.

    Examples:
      llmctl db vacuum
    """
    app: App = ctx.obj
    sizes = integrity.vacuum(app.hub("write"))
    text = f"{format_size(sizes.before)} before, {format_size(sizes.after)} after"
    emit_result(app, {"bytes_before": sizes.before, "bytes_after": sizes.after}, None, text)
