"""``llmctl request show``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.request.common import COLUMNS, RequestArgument
from llmctl.cli.console.output import OutputColumn, emit_record, record_output
from llmctl.cli.listing_args import sanitize
from llmctl.core.stored_json import dumps, loads
from llmctl.store.database import Database, Row
from llmctl.store.records import requests
from llmctl.store.records.types import RequestRow
from llmctl.store.serialize import Serializer


@record_output
def show(
    ctx: typer.Context,
    ref: RequestArgument,
    http: Annotated[bool, typer.Option("--http", help="Show the HTTP attempts, without secrets.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Show the response as it was received.")] = False,
    reparse: Annotated[bool, typer.Option("--reparse", help="Parse the response again and show the result.")] = False,
) -> None:
    """Show a request, its HTTP attempts and its stream.

    --reparse also tells whether the result differs from what the hub has.

    Examples:
      llmctl request show 3f2a9c1e --http
      llmctl request show 3f2a9c1e --stream > answer.sse
      llmctl request show 3f2a9c1e --reparse --json
    """
    app: App = ctx.obj
    database = app.hub()
    row = requests.get(database, ref)
    sections = _load_sections(database, row, http=http, stream=stream, reparsed=reparse)
    if sections and not app.format.is_json and not app.format.columns:
        _write_sections(app, sections)
        return
    document = requests.get_record(database, row.id) | sections
    kinds = {column.name: column.kind for column in COLUMNS} | dict.fromkeys(sections, "json")
    emit_record(app, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])


def _load_sections(
    database: Database, request: RequestRow, *, http: bool, stream: bool, reparsed: bool
) -> dict[str, Any]:
    """Return the sections that the flags select; one that the hub does not have is None."""
    sections: dict[str, Any] = {}
    if http:
        sections["network_calls"] = requests.list_attempts(database, request.id)
    if stream:
        sections["stream"] = _stream_record(database, request)
    if reparsed:
        from llmctl.engine.inspect import transcript

        answer = transcript.reparse(database, request)
        sections["reparsed"] = transcript.reparsed_record(answer) if answer else None
    return sections


def _stream_record(database: Database, request: RequestRow) -> dict[str, Any] | None:
    row = requests.find_request_stream(database, request.id)
    if row is None:
        return None
    raw, timeline = requests.read_stream(database, row)
    stored = timeline if isinstance(timeline, str) else dumps(timeline)
    received = {"raw_output": raw.decode("utf-8", "replace"), "timeline": loads(stored)}
    return Serializer(database, "response_streams").to_record(row) | received


def _write_sections(app: App, sections: Mapping[str, Any]) -> None:
    """Write sections as text: attempts and the parsed answer as records, the stream as it is."""
    for call in sections.get("network_calls", ()):
        emit_record(app, call, _columns(call))
        app.io.write("\n")
    if sections.get("stream"):
        app.io.write(sanitize(app, sections["stream"]["raw_output"] or ""))
    if sections.get("reparsed"):
        emit_record(app, sections["reparsed"], _columns(sections["reparsed"]))
    missing = [name.replace("_", " ") for name, value in sections.items() if not value]
    if missing:
        app.note(f"this request has no stored {' and no '.join(missing)}")


def _columns(row: Row) -> list[OutputColumn]:
    return [OutputColumn(name, "json" if isinstance(value, (dict, list)) else "text") for name, value in row.items()]
