"""``llmctl request``: the ledger, row by row."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, answer, emit_list, emit_record, listing, record
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.store.records import requests as records_requests
from llmctl.store.serialize import Shape

_COLUMNS = [
    Column("id", "id"),
    Column("chat_id", "id", header="chat"),
    Column("provider"),
    Column("model"),
    Column("status", "status"),
    Column("input_tokens", "number", header="in"),
    Column("output_tokens", "number", header="out"),
    Column("cost", "cost"),
    Column("duration", "duration"),
    Column("created_at", "time", header="when"),
    Column("chat", shown=False, header="chat name"),
    Column("connection", shown=False),
    Column("agent", shown=False),
    Column("agent_version", shown=False),
    Column("response_model", shown=False),
    Column("status_code", "number", shown=False),
    Column("time_to_first_token", "duration", shown=False),
    Column("cached_tokens", "number", shown=False),
    Column("cache_write_tokens", "number", shown=False),
    Column("thinking_tokens", "number", shown=False),
    Column("finish_reason", shown=False),
    Column("error_code", shown=False),
    Column("error_reason", shown=False),
    Column("error", shown=False),
    Column("attempts", "number", shown=False),
    Column("correction_rounds", "number", shown=False),
    Column("step", "number", shown=False),
    Column("type", shown=False),
    Column("tag", shown=False),
    Column("script", shown=False),
    Column("folder", shown=False),
    Column("git_commit", shown=False),
    Column("host", shown=False),
    Column("response_id", shown=False),
    Column("price_id", "id", shown=False),
    Column("parameters", "json", shown=False),
    Column("thread_id", "id", shown=False),
    Column("message_id", "id", shown=False),
    Column("job_id", "id", shown=False),
    Column("session_id", "id", shown=False),
    Column("references", "json", shown=False),
    Column("origin", shown=False),
    Column("updated_at", "time", shown=False),
]

Ref = Annotated[str, typer.Argument(metavar="ID", help="Request: id, or its beginning.")]


@listing
def list_(
    ctx: typer.Context,
    chat: common_options.OfChat = None,
    status: Annotated[
        str | None, typer.Option(metavar="S", help="pending, completed, failed, incomplete or interrupted.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Short for --status failed.")] = False,
    model: common_options.OfModel = None,
    provider: Annotated[str | None, typer.Option(metavar="P", help="To this provider.")] = None,
    since: common_options.Since = None,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """List requests, the newest first.

    Examples:
      llmctl request list --failed --since 1d
      llmctl request list --chat last --json
    """
    app: App = ctx.obj
    if failed and status not in (None, "failed"):
        raise UsageError(f'"--failed" and "--status {status}" exclude each other')
    database = app.hub()
    wanted = records_requests.Filter(
        chat_id=looking.chat_id(database, chat),
        status="failed" if failed else looking.one_of(status, records_requests.STATUSES, "status"),
        model=model,
        provider=provider,
        since=looking.moment(since),
    )
    rows = records_requests.listed(database, wanted, looking.limit(limit))
    emit_list(app, rows, looking.with_fields(database, "requests", _COLUMNS))


@record
def show(
    ctx: typer.Context,
    ref: Ref,
    http: Annotated[bool, typer.Option("--http", help="The HTTP attempts, without secrets.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="What came, as it came.")] = False,
    reparse: Annotated[bool, typer.Option("--reparse", help="What today's parser reads in it.")] = False,
) -> None:
    """Show a request, its HTTP attempts and what was streamed.

    --reparse also tells whether the hub says otherwise than today's parser.

    Examples:
      llmctl request show 3f2a9c1e --http
      llmctl request show 3f2a9c1e --stream > answer.sse
      llmctl request show 3f2a9c1e --reparse --json
    """
    from llmctl.cli import requests

    app: App = ctx.obj
    database = app.hub()
    row = records_requests.get(database, ref)
    found = requests.sections(database, row, http=http, stream=stream, reparsed=reparse)
    if found and not app.format.is_json and not app.format.columns:
        requests.write_sections(app, found)
        return
    document = Shape(database, "requests").record(row) | found
    kinds = {column.name: column.kind for column in _COLUMNS} | dict.fromkeys(found, "json")
    emit_record(app, document, [Column(name, kinds.get(name, "text")) for name in document])


def curl(ctx: typer.Context, ref: Ref) -> None:
    """Print a request as a curl command, without its key.

    The body is put together from the messages in the hub; stderr tells if it is not what was sent. The key is the
    shell's variable, such as $OPENAI_API_KEY.

    Examples:
      llmctl request curl 3f2a9c1e | sh
    """
    from llmctl.cli import requests

    app: App = ctx.obj
    database = app.hub()
    app.io.write(requests.curl_command(app, database, records_requests.get(database, ref)))


@answer
def replay(
    ctx: typer.Context,
    ref: Ref,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="REF", help="Another connection, alias or model.")
    ] = None,
) -> None:
    """Send a request again.

    The answer is printed and the ledger has a new row that refers to the old one; the chat stays as it is.

    Examples:
      llmctl request replay 3f2a9c1e
      llmctl request replay 3f2a9c1e -m sonnet --json
    """
    from llmctl.cli.turn.flags import defaults
    from llmctl.cli.turn.printer import Printer
    from llmctl.engine.inspect.replay import Replay

    app: App = ctx.obj
    app.asking = defaults()
    database = app.hub("write")
    printer = Printer(app)
    row = records_requests.get(database, ref)
    again = Replay(database, row, app.origin(), app.surroundings(), model=model, on_idle=printer.flush)
    try:
        for event in again.events():
            printer.show(event)
    except LlmctlError as error:
        printer.fail(again.outcome, error)
        raise
    printer.finish(again.outcome)
    printer.usage(again.outcome)
