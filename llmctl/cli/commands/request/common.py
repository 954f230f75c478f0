"""What the commands of requests share: columns and arguments."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.console.output import OutputColumn

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("chat_id", "id", header="chat"),
    OutputColumn("provider"),
    OutputColumn("model"),
    OutputColumn("status", "status"),
    OutputColumn("input_tokens", "number", header="in"),
    OutputColumn("output_tokens", "number", header="out"),
    OutputColumn("cost", "cost"),
    OutputColumn("duration", "duration"),
    OutputColumn("created_at", "time", header="when"),
    OutputColumn("chat", is_default=False, header="chat name"),
    OutputColumn("connection", is_default=False),
    OutputColumn("agent", is_default=False),
    OutputColumn("agent_version", is_default=False),
    OutputColumn("response_model", is_default=False),
    OutputColumn("status_code", "number", is_default=False),
    OutputColumn("time_to_first_token", "duration", is_default=False),
    OutputColumn("cached_tokens", "number", is_default=False),
    OutputColumn("cache_write_tokens", "number", is_default=False),
    OutputColumn("thinking_tokens", "number", is_default=False),
    OutputColumn("finish_reason", is_default=False),
    OutputColumn("error_code", is_default=False),
    OutputColumn("error_reason", is_default=False),
    OutputColumn("error", is_default=False),
    OutputColumn("attempts", "number", is_default=False),
    OutputColumn("correction_rounds", "number", is_default=False),
    OutputColumn("step", "number", is_default=False),
    OutputColumn("type", is_default=False),
    OutputColumn("tag", is_default=False),
    OutputColumn("script", is_default=False),
    OutputColumn("folder", is_default=False),
    OutputColumn("git_commit", is_default=False),
    OutputColumn("host", is_default=False),
    OutputColumn("response_id", is_default=False),
    OutputColumn("price_id", "id", is_default=False),
    OutputColumn("parameters", "json", is_default=False),
    OutputColumn("thread_id", "id", is_default=False),
    OutputColumn("message_id", "id", is_default=False),
    OutputColumn("job_id", "id", is_default=False),
    OutputColumn("session_id", "id", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("origin", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

RequestArgument = Annotated[str, typer.Argument(metavar="ID", help="Request: id, or id prefix.")]
