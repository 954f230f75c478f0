"""``llmctl db status``."""

from __future__ import annotations

from typing import Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_record
from llmctl.store.maintenance import integrity


@record_output
def status(ctx: typer.Context) -> None:
    """Show the hub's size, version and counts.

    Examples:
      llmctl db status --json
    """
    app: App = ctx.obj
    document = integrity.hub_status(app.hub())
    kinds: Any = {name: "number" for name, value in document.items() if isinstance(value, int)}
    kinds |= {"tables": "json", "fields": "json"}
    emit_record(app.console, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])
