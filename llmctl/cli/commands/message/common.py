"""What the commands of messages share: columns."""

from __future__ import annotations

from llmctl.cli.console.output import OutputColumn

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("in_chat", "id", header="chat"),
    OutputColumn("seq", "number", header="#"),
    OutputColumn("role"),
    OutputColumn("status", "status"),
    OutputColumn("created_at", "time", header="when"),
    OutputColumn("content"),
    OutputColumn("chat", is_default=False, header="chat name"),
    OutputColumn("chat_id", "id", is_default=False),
    OutputColumn("thread_id", "id", is_default=False),
    OutputColumn("type", is_default=False),
    OutputColumn("source_id", "id", is_default=False),
    OutputColumn("model_id", is_default=False),
    OutputColumn("provider", is_default=False),
    OutputColumn("input_tokens", "number", is_default=False),
    OutputColumn("output_tokens", "number", is_default=False),
    OutputColumn("thinking_tokens", "number", is_default=False),
    OutputColumn("thinking_text", is_default=False),
    OutputColumn("finish_reason", is_default=False),
    OutputColumn("error", is_default=False),
    OutputColumn("content_raw", "json", is_default=False),
    OutputColumn("metadata", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("job_id", "id", is_default=False),
    OutputColumn("origin", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]
