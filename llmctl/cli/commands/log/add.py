"""``llmctl log add``."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from typing import Annotated

import typer

from llmctl.cli import argument_parsers, common_options
from llmctl.cli.app import App
from llmctl.cli.console.output import emit_change, emit_record, record_output
from llmctl.core.errors import UsageError
from llmctl.store.records import text_logs

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

    Standard input is stored as it arrives, and llmctl log tail -f shows it meanwhile. The log's id is printed first.

    Examples:
      make 2>&1 | llmctl log add --reference ticket=42
      llmctl log add --to 4a15aa97 "deployed"
    """
    app: App = ctx.obj
    references = {
        key: str(value) for key, value in argument_parsers.parse_pairs(reference or (), "--reference").items()
    }
    if to is not None and references:
        raise UsageError("--to and --reference cannot be combined", hint="use: llmctl ref set")
    database = app.hub("create" if to is None else "write")
    log_id = text_logs.get(database, to)["id"] if to is not None else text_logs.add(database, "", references)
    if not app.format.is_json:
        emit_change(app, {"id": log_id}, f"writing log {log_id[:8]}")
        app.io.flush()
    for piece in [" ".join(text) + "\n"] if text and text != ["-"] else _read_pieces(app):
        text_logs.append(database, log_id, piece)
    if app.format.is_json:
        emit_record(app, text_logs.get_record(database, log_id))


def _read_pieces(app: App) -> Iterator[str]:
    """Yield the text of stdin as it arrives. Invalid UTF-8 and NUL become U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := _read_bytes(app):
        if text := decoder.decode(data).replace("\0", "\ufffd"):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest


def _read_bytes(app: App) -> bytes:
    if app.io.stdin_fd is not None:
        return os.read(app.io.stdin_fd, _MAX_PIECE_BYTES)
    data: bytes = app.io.stdin.buffer.read(_MAX_PIECE_BYTES)
    return data
