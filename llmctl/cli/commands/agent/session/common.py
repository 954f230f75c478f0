"""What the commands of sessions share."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.console.output import OutputColumn

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("agent_class", header="agent"),
    OutputColumn("name", header="chat"),
    OutputColumn("turns", "number"),
    OutputColumn("last_turn_at", "time", header="last turn"),
    OutputColumn("metadata", "json"),
    OutputColumn("chat_id", "id", is_default=False),
    OutputColumn("agent_id", "id", is_default=False),
    OutputColumn("agent", is_default=False),
    OutputColumn("definition", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

SessionArgument = Annotated[str, typer.Argument(metavar="SESSION", help="Session: id, id prefix, or its chat.")]
