"""What the commands of models share: columns, arguments, and a hub that may be missing."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import OutputColumn
from llmctl.store.database import Database

COLUMNS = [
    OutputColumn("id"),
    OutputColumn("provider"),
    OutputColumn("type"),
    OutputColumn("context_tokens", "number", header="context"),
    OutputColumn("input_per_million", "number", header="$ in / M"),
    OutputColumn("output_per_million", "number", header="$ out / M"),
    OutputColumn("max_output_tokens", "number", header="output"),
    OutputColumn("capabilities", "json"),
    *(
        OutputColumn(f"{name}_per_million", "number", is_default=False)
        for name in ("cached", "cache_write", "thinking")
    ),
    OutputColumn("name", is_default=False),
    OutputColumn("released", is_default=False),
    OutputColumn("deprecated", "bool", is_default=False),
    OutputColumn("names", "json", is_default=False),
]

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="PROVIDER:MODEL, a connection, an alias or the id of a model.")
]


def open_hub_if_exists(app: App) -> Database | None:
    """Return the hub for reading, or None: what comes with llmctl can be read without one."""
    return app.hub() if app.hub_path == ":memory:" or os.path.exists(app.hub_path) else None
