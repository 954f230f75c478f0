"""What the commands of jobs share: columns and arguments."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.console.output import OutputColumn

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("name"),
    OutputColumn("type"),
    OutputColumn("status", "status"),
    OutputColumn("started_at", "time", header="started"),
    OutputColumn("finished_at", "time", header="finished"),
    OutputColumn("error"),
    OutputColumn("exit_code", "number", is_default=False),
    OutputColumn("attempts", "number", is_default=False),
    OutputColumn("payload", "json", is_default=False),
    OutputColumn("result", "json", is_default=False),
    OutputColumn("text_log_id", "id", is_default=False),
    OutputColumn("parent_id", "id", is_default=False),
    OutputColumn("host", is_default=False),
    OutputColumn("pid", is_default=False),
    OutputColumn("boot_id", is_default=False),
    OutputColumn("process_started_at", is_default=False),
    OutputColumn("lease_expires_at", "time", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

JobArgument = Annotated[str, typer.Argument(metavar="REF", help="Job: id, or id prefix.")]
