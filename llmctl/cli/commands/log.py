"""Commands on text logs."""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import emit_change, emit_list, emit_record
from llmctl.cli.console.terminal import safe_text
from llmctl.core.errors import UsageError
from llmctl.core.options import parse_pairs
from llmctl.store.records import text_logs

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("characters", "number"),
    OutputColumn("pieces", "number", is_default=False),
    OutputColumn("updated_at", "time", header="when"),
    OutputColumn("beginning"),
    OutputColumn("job_id", "id", is_default=False),
    OutputColumn("invocation_id", "id", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
]

LogArgument = Annotated[str, typer.Argument(metavar="REF", help="Log: id, or id prefix.")]


def write_log_text(app: App, text: str) -> None:
    """Write a piece of a log to stdout."""
    app.console.io.write(safe_text(text) if app.console.io.stdout_tty else text)


_MAX_PIECE_BYTES = 1 << 16


@record_output
def add(
    ctx: typer.Context,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT...]", help="A line; standard input if not given.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="REF", help="Append to this log.")] = None,
    reference: common_options.ReferenceOption = None,
) -> None:
    """Write a new log, or append to one.

    Standard input is stored as it arrives, and llmctl log tail -f follows it. The log's id is printed first.

    Examples:
      make 2>&1 | llmctl log add --reference ticket=42
      llmctl log add --to 4a15aa97 "deployed"
    """
    app: App = ctx.obj
    references = {key: str(value) for key, value in parse_pairs(reference or (), "--reference").items()}
    if to is not None and references:
        raise UsageError("--to and --reference cannot be combined", hint="use: llmctl ref set")
    database = app.hub("create" if to is None else "write")
    log_id = text_logs.get(database, to)["id"] if to is not None else text_logs.add(database, "", references)
    if not app.console.format.is_json:
        emit_change(app.console, {"id": log_id}, f"writing log {log_id[:8]}")
        app.console.io.flush()
    for piece in [" ".join(text) + "\n"] if text and text != ["-"] else _read_pieces(app):
        text_logs.append(database, log_id, piece)
    if app.console.format.is_json:
        emit_record(app.console, text_logs.get_record(database, log_id))


def _read_pieces(app: App) -> Iterator[str]:
    """Yield the text of stdin as it arrives. Invalid UTF-8 and NUL become U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := _read_bytes(app):
        if text := decoder.decode(data).replace("\0", "\ufffd"):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest


def _read_bytes(app: App) -> bytes:
    if app.console.io.stdin_fd is not None:
        return os.read(app.console.io.stdin_fd, _MAX_PIECE_BYTES)
    data: bytes = app.console.io.stdin.buffer.read(_MAX_PIECE_BYTES)
    return data


@list_output
def list_(ctx: typer.Context, limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT) -> None:
    """List logs, newest first.

    Examples:
      llmctl log list --limit 5
    """
    app: App = ctx.obj
    database = app.hub()
    extent = listing_args.extent(limit, "logs", lambda: text_logs.count(database))
    emit_list(app.console, text_logs.list_(database, extent.limit), COLUMNS, extent)


@record_output
def show(ctx: typer.Context, ref: LogArgument) -> None:
    """Print a log.

    Examples:
      llmctl log show 4a15aa97
      llmctl log show 4a15aa97 --json
    """
    app: App = ctx.obj
    database = app.hub()
    log_id = text_logs.get(database, ref)["id"]
    pieces = (piece["text"] for piece in text_logs.list_pieces(database, log_id))
    if app.console.format.is_json or app.console.format.columns:
        document = text_logs.get_record(database, log_id) | {"text": "".join(pieces)}
        emit_record(app.console, document, [*COLUMNS[:-1], OutputColumn("created_at", "time"), OutputColumn("text")])
        return
    for piece in pieces:
        write_log_text(app, piece)


_POLL_INTERVAL_S = 0.2


def tail(
    ctx: typer.Context,
    ref: LogArgument,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", help="Number of lines.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing as the log grows.")] = False,
) -> None:
    """Print the end of a log.

    Examples:
      llmctl log tail 4a15aa97 -n 3
      llmctl log tail 4a15aa97 -f
    """
    app: App = ctx.obj
    if lines < 0:
        raise UsageError(f'--lines must be 0 or more, got "{lines}"')
    database = app.hub()
    log_id = text_logs.get(database, ref)["id"]
    text, position, length = text_logs.tail(database, log_id, lines)
    write_log_text(app, text)
    while follow:
        app.console.io.flush()
        time.sleep(_POLL_INTERVAL_S)
        for piece in text_logs.list_pieces(database, log_id, after=position - 1):
            # The piece that was the last one may have grown.
            write_log_text(app, piece["text"][length if piece["position"] == position else 0 :])
            position, length = piece["position"], len(piece["text"])
