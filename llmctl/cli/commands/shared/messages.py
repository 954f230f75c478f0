"""Print the messages of a conversation as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from llmctl.cli.app import App
from llmctl.cli.listing_args import colorize_stdout, sanitize
from llmctl.core import stored_values
from llmctl.core.exported_conversation import ExportedMessage
from llmctl.formats import text
from llmctl.store.database import Row


def write_messages(app: App, messages: Sequence[Row], *, raw: bool = False, results: bool = False) -> None:
    """Write messages as text; with ``raw`` their rows, one after the other."""
    safe = sanitize(app.console, messages)
    if raw:
        pieces: Iterable[str] = map(_format_row, safe)
    else:
        heading = partial(colorize_stdout, app.console, color="bold")
        pieces = text.render_conversation(map(ExportedMessage.from_record, safe), heading, results=results)
    for piece in pieces:
        app.console.io.write(piece)


def _format_row(row: Row) -> str:
    """Return a message: its number, role, type, status and id, then its parts as JSON or else its text."""
    message = ExportedMessage.from_record(row)
    words = [f"#{message.seq}", message.role, message.type, message.status, message.id]
    words += [message.model_id, message.finish_reason, message.error]
    parts = message.content_raw
    content = stored_values.dumps(parts) if parts is not None else message.content or ""
    calls = [f"call {stored_values.dumps(call)}\n" for call in row["tool_calls"]]
    files = [f"file {stored_values.dumps(file)}\n" for file in row["attachments"]]
    return " ".join(filter(None, words)) + f"\n{content}\n" + "".join([*calls, *files])
