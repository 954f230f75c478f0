"""What the commands of tools share: columns, arguments, and reading JSON arguments."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.core.errors import UsageError
from llmctl.core.options import parse_json
from llmctl.core.text_files import read_text_file
from llmctl.store.database import Row
from llmctl.store.records import tools

COLUMNS = [
    OutputColumn("id", "id", is_default=False),
    OutputColumn("name"),
    OutputColumn("type"),
    OutputColumn("description"),
    OutputColumn("schema", "json", is_default=False),
    OutputColumn("data", "json", is_default=False),
    OutputColumn("rules", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("trusted", "bool", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]


def tool_record(app: App, row: Row) -> dict[str, Any]:
    """Return a tool as commands print it: with whether this user trusts it."""
    from llmctl.engine.connections import trust

    database = app.hub()
    return {**row, "trusted": trust.is_tool_trusted(database, tools.to_tool(tools.get(database, row["id"])), app.env)}


ToolArgument = Annotated[str, typer.Argument(metavar="REF", help="Tool: name, id, or id prefix.")]


def read_json(text: str, flag: str) -> Any:
    """Return the value of JSON, ``@FILE`` or a file's name."""
    if not text.lstrip().startswith(("{", "[", '"')):
        text = read_text_file(text.removeprefix("@"))
    return parse_json(text, flag)


def read_json_object(text: str | None, flag: str) -> dict[str, Any] | None:
    """Return an object given as JSON, ``@FILE`` or a file's name; None for None."""
    if text is None:
        return None
    value = read_json(text, flag)
    if not isinstance(value, dict):
        raise UsageError(f"{flag} must be a JSON object")
    return value
