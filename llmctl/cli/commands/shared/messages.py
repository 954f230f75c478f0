"""Print the messages of a conversation as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.listing_args import colorize_stdout, sanitize
from llmctl.core import stored_json
from llmctl.formats import text
from llmctl.store.database import Row


def write_messages(app: App, messages: Sequence[Row], *, raw: bool = False, results: bool = False) -> None:
    """Write messages as text; with ``raw`` their rows, one after the other."""
    safe = sanitize(app, messages)
    if raw:
        pieces = _format_rows(safe)
    else:
        pieces = text.render_conversation(safe, lambda line: colorize_stdout(app, line, "bold"), results=results)
    for piece in pieces:
        app.io.write(piece)


def _format_rows(messages: Sequence[Row]) -> Iterator[str]:
    """Yield each message: its number, role, type, status and id, then its parts as JSON or else its text."""
    for row in messages:
        words: list[Any] = [f"#{row['seq']}", row["role"], row["type"], row["status"], row["id"]]
        words += [row["model_id"], row["finish_reason"], row["error"]]
        parts = row["content_raw"]
        content = stored_json.dumps(parts) if parts is not None else row["content"] or ""
        calls = [f"call {stored_json.dumps(call)}\n" for call in row["tool_calls"]]
        files = [f"file {stored_json.dumps(file)}\n" for file in row["attachments"]]
        yield " ".join(str(word) for word in words if word) + f"\n{content}\n" + "".join([*calls, *files])
