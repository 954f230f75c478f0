"""``llmctl log``: texts that jobs, tools and people wrote down."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_made, emit_record, listing, record
from llmctl.cli.values import pairs
from llmctl.core.errors import UsageError
from llmctl.store.records import text_logs

_COLUMNS = [
    Column("id", "id"),
    Column("characters", "number"),
    Column("pieces", "number", shown=False),
    Column("updated_at", "time", header="when"),
    Column("beginning"),
    Column("job_id", "id", shown=False),
    Column("invocation_id", "id", shown=False),
    Column("references", "json", shown=False),
    Column("created_at", "time", shown=False),
]

Ref = Annotated[str, typer.Argument(metavar="REF", help="Log: id, or its beginning.")]


@record
def add(
    ctx: typer.Context,
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT...]", help="A line; else standard input.")] = None,
    to: Annotated[str | None, typer.Option(metavar="REF", help="Continue this log.")] = None,
    reference: common_options.Reference = None,
) -> None:
    """Write a log, or go on with one.

    Standard input is kept as it comes: what was read is safe, and llmctl log tail -f shows it meanwhile. The log's id
    is printed at once.

    Examples:
      make 2>&1 | llmctl log add --reference ticket=42
      llmctl log add --to 4a15aa97 "deployed"
    """
    from llmctl.cli import textlogs as streams

    app: App = ctx.obj
    references = {key: str(value) for key, value in pairs(reference or (), "--reference").items()}
    if to is not None and references:
        raise UsageError('"--to" and "--reference" exclude each other', hint="use: llmctl ref set")
    database = app.hub("create" if to is None else "write")
    log_id = text_logs.get(database, to)["id"] if to is not None else text_logs.add(database, "", references)
    if not app.format.is_json:
        emit_made(app, {"id": log_id}, f"writing the log {log_id[:8]}")
        app.io.flush()
    for piece in [" ".join(text) + "\n"] if text and text != ["-"] else streams.pieces(app):
        text_logs.append(database, log_id, piece)
    if app.format.is_json:
        emit_record(app, text_logs.record(database, log_id))


@listing
def list_(ctx: typer.Context, limit: common_options.Limit = looking.FIRST_PAGE) -> None:
    """List logs, the newest first.

    Examples:
      llmctl log list --limit 5
    """
    app: App = ctx.obj
    emit_list(app, text_logs.listed(app.hub(), looking.limit(limit)), _COLUMNS)


@record
def show(ctx: typer.Context, ref: Ref) -> None:
    """Print a log.

    Examples:
      llmctl log show 4a15aa97
      llmctl log show 4a15aa97 --json
    """
    from llmctl.cli import textlogs as streams

    app: App = ctx.obj
    database = app.hub()
    log_id = text_logs.get(database, ref)["id"]
    pieces = (piece["text"] for piece in text_logs.pieces(database, log_id))
    if app.format.is_json or app.format.columns:
        document = text_logs.record(database, log_id) | {"text": "".join(pieces)}
        emit_record(app, document, [*_COLUMNS[:-1], Column("created_at", "time"), Column("text")])
        return
    for piece in pieces:
        streams.write(app, piece)


def tail(
    ctx: typer.Context,
    ref: Ref,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", help="So many lines.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
) -> None:
    """Print the end of a log.

    Examples:
      llmctl log tail 4a15aa97 -n 3
      llmctl log tail 4a15aa97 -f
    """
    from llmctl.cli import textlogs as streams

    app: App = ctx.obj
    if lines < 0:
        raise UsageError(f'"--lines {lines}" is less than 0')
    database = app.hub()
    streams.follow(app, database, text_logs.get(database, ref)["id"], lines, grow=follow)
