"""What ``llmctl request`` shows of a request beside its row."""

from __future__ import annotations

from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_record
from llmctl.cli.looking import harmless
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.inspect import rebuild_request, reparse
from llmctl.formats import curl
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.store.records import requests, streams
from llmctl.store.serialize import Shape

#: What stands for a secret in the hub.
_STRUCK_OUT = "[redacted]"


def sections(database: Database, request: Row, *, http: bool, stream: bool, reparsed: bool) -> dict[str, Any]:
    """Return what was asked for of: HTTP attempts, the stream as it came, what today's parser reads in it."""
    found: dict[str, Any] = {}
    if http:
        found["network_calls"] = requests.network_calls(database, request["id"])
    if stream:
        found["stream"] = _stream(database, request)
    if reparsed:
        read = reparse.of_request(database, request)
        found["reparsed"] = reparse.as_json(read) if read else None
    return found


def write_sections(app: App, found: dict[str, Any]) -> None:
    """Write sections as text: records for attempts and what was read, the stream as it is."""
    for call in found.get("network_calls", ()):
        emit_record(app, call, _columns(call))
        app.io.write("\n")
    if found.get("stream"):
        app.io.write(harmless(app, found["stream"]["raw_output"] or ""))
    if found.get("reparsed"):
        emit_record(app, found["reparsed"], _columns(found["reparsed"]))
    missing = [name.replace("_", " ") for name, value in found.items() if not value]
    if missing:
        app.note(f"of this request there is no {', no '.join(missing)} in the hub")


def curl_command(app: App, database: Database, request: Row) -> str:
    """Return a request as a curl command; the key is a variable of the shell, never a value."""
    found = rebuild_request.rebuild(database, request)
    if found.url.startswith("echo:"):
        app.note("echo answers within llmctl: no server listens at this address")
    if found.differs:
        app.note("the body is not, byte for byte, what was sent: the parser, the messages or a secret in it changed")
    variables = {
        name: _variable(database, request, name) for name, value in found.headers.items() if _STRUCK_OUT in value
    }
    stream = bool(rebuild_request.parameters_of(request).get("stream"))
    body = found.body.decode("utf-8", "replace")
    return curl.command(found.method, found.url, found.headers, body, variables, stream=stream)


def _stream(database: Database, request: Row) -> dict[str, Any] | None:
    row = streams.of_request(database, request["id"])
    if row is None:
        return None
    raw, timeline = streams.received(database, row)
    text = raw.decode("utf-8", "replace")
    return Shape(database, "response_streams").record(row) | {"raw_output": text, "timeline": loads(_text(timeline))}


def _variable(database: Database, request: Row, header: str) -> str:
    """Return what a secret header holds, with the shell's variable for the secret."""
    if header.lower() not in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
        return "$" + header.upper().replace("-", "_")
    connection = refs.find(database, "model_connections", request["connection"] or "", kind="connection")
    kind, _, name = str(loads(connection["data"], {}).get("key") or "").partition(":") if connection else ("", "", "")
    own = rebuild_request.provider_of(request).key_env
    variable = name if kind == "env" else own[0] if own else "API_KEY"
    return f"Bearer ${variable}" if header.lower() == "authorization" else f"${variable}"


def _columns(row: Row) -> list[Column]:
    return [Column(name, "json" if isinstance(value, (dict, list)) else "text") for name, value in row.items()]


def _text(timeline: Any) -> str:
    return timeline if isinstance(timeline, str) else dumps(timeline)
