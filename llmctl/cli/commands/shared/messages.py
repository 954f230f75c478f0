"""Print the messages of a conversation as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.terminal import supports_color, terminal_width
from llmctl.cli.listing_args import colorize_stdout, sanitize
from llmctl.core import stored_values
from llmctl.core.exported_conversation import ExportedMessage
from llmctl.formats import text
from llmctl.formats.conversations import content_text
from llmctl.store.database import Row
from llmctl.store.records import settings

PlainOption = Annotated[bool, typer.Option("--plain", help="Print answers as they came, not as Markdown.")]


def write_messages(
    app: App, messages: Sequence[Row], *, raw: bool = False, results: bool = False, plain: bool = False
) -> None:
    """Write messages as text; with ``raw`` their rows, one after the other. A terminal gets answers as Markdown."""
    safe = sanitize(app.console, messages)
    if raw:
        pieces: Iterable[str] = map(_format_row, safe)
    else:
        heading = partial(colorize_stdout, app.console, color="bold")
        content = _choose_content(app, plain=plain)
        pieces = text.render_conversation(
            map(ExportedMessage.from_record, safe), heading, results=results, content=content
        )
    for piece in pieces:
        app.console.io.write(piece)


def _choose_content(app: App, *, plain: bool) -> Callable[[ExportedMessage], str]:
    """Return what turns a message into text: answers are rendered on a terminal with colors."""
    io = app.console.io
    if plain or not supports_color(app.env, io.stdout_tty) or settings.get(app.hub(), "plain"):
        return content_text
    from llmctl.cli.console.markdown import render_markdown

    width = terminal_width(app.env, io.stdout)

    def render(message: ExportedMessage) -> str:
        if message.role != "assistant" or not message.content:
            return content_text(message)
        return render_markdown(message.content, width).removesuffix("\n")

    return render


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
