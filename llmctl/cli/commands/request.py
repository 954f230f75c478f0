"""Commands on requests: the ledger of what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import answer_output, list_output, record_output
from llmctl.cli.console.output import emit_list, emit_record
from llmctl.cli.listing_args import sanitize
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import redact_text
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.inspect import replay as engine_replay
from llmctl.formats import curl as curl_format
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records import connections, requests
from llmctl.store.records.types import RequestRow

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
    OutputColumn("project", is_default=False),
    OutputColumn("app", is_default=False),
    OutputColumn("client", is_default=False),
    OutputColumn("billing", is_default=False),
    OutputColumn("list_cost", "cost", is_default=False),
    OutputColumn("git_commit", is_default=False),
    OutputColumn("host", is_default=False),
    OutputColumn("response_id", is_default=False),
    OutputColumn("price_id", "id", is_default=False),
    OutputColumn("cached_from", "id", is_default=False),
    OutputColumn("saved_cost", "cost", is_default=False),
    OutputColumn("processing", is_default=False),
    OutputColumn("parameters", "json", is_default=False),
    OutputColumn("thread_id", "id", is_default=False),
    OutputColumn("message_id", "id", is_default=False),
    OutputColumn("job_id", "id", is_default=False),
    OutputColumn("session_id", "id", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("origin", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

RequestArgument = Annotated[str, typer.Argument(metavar="ID", help="Request: id, id prefix, or last.")]


@list_output
def list_(
    ctx: typer.Context,
    chat: common_options.ChatFilterOption = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="pending, completed, failed, incomplete or interrupted.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Short for --status failed.")] = False,
    model: common_options.ModelFilterOption = None,
    provider: Annotated[str | None, typer.Option(metavar="PROVIDER", help="Only requests to this provider.")] = None,
    since: common_options.SinceOption = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List requests, newest first.

    Examples:
      llmctl request list --failed --since 1d
      llmctl request list --chat last --json
    """
    app: App = ctx.obj
    if failed and status not in (None, "failed"):
        raise UsageError(f"--failed and --status {status} cannot be combined")
    database = app.hub()
    wanted = requests.RequestFilter(
        chat_id=listing_args.find_chat_id(app, chat),
        status="failed" if failed else listing_args.require_choice(status, requests.STATUSES, "status"),
        model=model,
        provider=provider,
        since=listing_args.parse_time(since),
    )
    given = wanted.to_dict().values()
    extent = listing_args.extent(limit, "requests", lambda: requests.count(database, wanted), *given)
    columns = listing_args.add_custom_columns(database, "requests", COLUMNS)
    emit_list(app.console, requests.list_(database, wanted, extent.limit), columns, extent)


#: Sections as notes name them.
_LABELS = {"network_calls": "HTTP attempts", "stream": "stream", "reparsed": "stream to parse"}


@record_output
def show(
    ctx: typer.Context,
    ref: RequestArgument,
    http: Annotated[bool, typer.Option("--http", help="Show the HTTP attempts, without secrets.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Show the response as it was received.")] = False,
    reparse: Annotated[bool, typer.Option("--reparse", help="Parse the response again and show the result.")] = False,
) -> None:
    """Show a request, its HTTP attempts and its stream.

    --reparse also reports whether the result differs from what the hub has.

    Examples:
      llmctl request show 3f2a9c1e --http
      llmctl request show 3f2a9c1e --stream > answer.sse
      llmctl request show 3f2a9c1e --reparse --json
    """
    app: App = ctx.obj
    database = app.hub()
    row = requests.get(database, listing_args.resolve_last(app, "request", ref))
    sections = _load_sections(database, row, http=http, stream=stream, reparsed=reparse)
    if sections and not app.console.format.is_json and not app.console.format.columns:
        _write_sections(app, sections)
        return
    document = requests.get_record(database, row.id) | sections
    kinds = {column.name: column.kind for column in COLUMNS} | dict.fromkeys(sections, "json")
    emit_record(app.console, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])


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
    # A stored answer that was used again stands in the stream of its own request.
    row = requests.find_request_stream(database, request.cached_from or request.id)
    if row is None:
        return None
    raw, timeline = requests.read_stream(database, row)
    stored = timeline if isinstance(timeline, str) else dumps(timeline)
    received = {"raw_output": raw.decode("utf-8", "replace"), "timeline": loads(stored)}
    return Serializer(database, "response_streams").to_record(row) | received


def _write_sections(app: App, sections: Mapping[str, Any]) -> None:
    """Write sections as text: attempts and the parsed answer as records, the stream as it is."""
    for call in sections.get("network_calls", ()):
        emit_record(app.console, call, _columns(call))
        app.console.io.write("\n")
    if sections.get("stream"):
        app.console.io.write(sanitize(app.console, sections["stream"]["raw_output"] or ""))
    if sections.get("reparsed"):
        emit_record(app.console, sections["reparsed"], _columns(sections["reparsed"]))
    missing = [_LABELS[name] for name, value in sections.items() if not value]
    if missing:
        app.console.note(f"not stored for this request: {', '.join(missing)}")


def _columns(row: Row) -> list[OutputColumn]:
    return [OutputColumn(name, "json" if isinstance(value, (dict, list)) else "text") for name, value in row.items()]


#: What stands for a secret in the hub.
_REDACTED = "[redacted]"


def curl(ctx: typer.Context, ref: RequestArgument) -> None:
    """Print a request as a curl command, without the API key.

    The body is rebuilt from the messages in the hub; a note on stderr warns if it differs from what was sent. The key
    is a shell variable, such as $OPENAI_API_KEY.

    Examples:
      llmctl request curl 3f2a9c1e | sh
    """
    app: App = ctx.obj
    database = app.hub()
    request = requests.get(database, listing_args.resolve_last(app, "request", ref))
    rebuilt = engine_replay.rebuild_request(database, request)
    if rebuilt.url.startswith("echo:"):
        app.console.note("echo answers inside llmctl: no server listens at this URL")
    if rebuilt.differs:
        app.console.note("the body differs from what was sent: the parser, the messages or a secret in it have changed")
    variables = {
        name: _shell_variable(database, request, name) for name, value in rebuilt.headers.items() if _REDACTED in value
    }
    stream = bool(engine_replay.stored_parameters(request).get("stream"))
    # A prompt may hold a key: what is shown of it is masked, as in the audit.
    body = redact_text(rebuilt.body.decode("utf-8", "replace"), _stored_secrets(app, database, request))
    app.console.io.write(
        curl_format.format_command(rebuilt.method, rebuilt.url, rebuilt.headers, body, variables, stream=stream)
    )


def _stored_secrets(app: App, database: Database, request: RequestRow) -> list[str]:
    """Return the secrets of the request's connection that can be read without running a command."""
    from llmctl.engine.connections import keys

    connection = connections.find(database, request.connection or "")
    data = loads(connection.data, {}) if connection else {}
    found = []
    for reference in (data.get("key"), *(data.get("headers") or {}).values()):
        if isinstance(reference, str) and reference.startswith(("env:", "file:")):
            with suppress(LlmctlError):
                found.append(keys.resolve(reference, env=app.env, home=app.home).value)
    return found


def _shell_variable(database: Database, request: RequestRow, header: str) -> str:
    """Return the value of a secret header, with a shell variable for the secret."""
    if header.lower() not in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
        return "$" + header.upper().replace("-", "_")
    connection = connections.find(database, request.connection or "")
    kind, _, name = str(loads(connection.data, {}).get("key") or "").partition(":") if connection else ("", "", "")
    provider_variables = engine_replay.provider_for(request).key_env
    is_variable = kind == "env" and name.isascii() and name.isidentifier()
    variable = name if is_variable else provider_variables[0] if provider_variables else "API_KEY"
    return f"Bearer ${variable}" if header.lower() == "authorization" else f"${variable}"


@answer_output
def replay(
    ctx: typer.Context,
    ref: RequestArgument,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="REF", help="Another connection, alias or model.")
    ] = None,
) -> None:
    """Send a request again.

    The answer is printed, and a new request is stored that refers to the old one; the chat stays as it is.

    Examples:
      llmctl request replay 3f2a9c1e
      llmctl request replay 3f2a9c1e -m sonnet --json
    """
    from llmctl.cli.turn.printer import TurnPrinter
    from llmctl.engine.inspect.replay import Replay

    app: App = ctx.obj
    database = app.hub("write")
    printer = TurnPrinter(app.console, TurnOptions())
    request = requests.get(database, listing_args.resolve_last(app, "request", ref))
    run = Replay(database, request, app.caller_info(), app.runtime_env(), model=model, on_commit=printer.flush)
    try:
        for event in run.events():
            printer.show(event)
        printer.finish(run.result)
    except LlmctlError as error:
        printer.fail(run.result, error)
        raise
    finally:
        printer.close()
    printer.print_usage(run.result)
