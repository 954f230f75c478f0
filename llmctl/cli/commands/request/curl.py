"""``llmctl request curl``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.request.common import RequestArgument
from llmctl.core.stored_json import loads
from llmctl.engine.inspect import rebuild_request
from llmctl.formats import curl as curl_format
from llmctl.store.database import Database
from llmctl.store.records import connections, requests
from llmctl.store.records.types import RequestRow

#: What stands for a secret in the hub.
_REDACTED = "[redacted]"


def curl(ctx: typer.Context, ref: RequestArgument) -> None:
    """Print a request as a curl command, without the API key.

    The body is rebuilt from the messages in the hub; a note on stderr tells if it differs from what was sent. The key
    is a shell variable, such as $OPENAI_API_KEY.

    Examples:
      llmctl request curl 3f2a9c1e | sh
    """
    app: App = ctx.obj
    database = app.hub()
    request = requests.get(database, ref)
    rebuilt = rebuild_request.rebuild_request(database, request)
    if rebuilt.url.startswith("echo:"):
        app.note("echo answers inside llmctl: no server listens at this URL")
    if rebuilt.differs:
        app.note("the body differs from what was sent: the parser, the messages or a secret in it have changed")
    variables = {
        name: _shell_variable(database, request, name) for name, value in rebuilt.headers.items() if _REDACTED in value
    }
    stream = bool(rebuild_request.stored_parameters(request).get("stream"))
    body = rebuilt.body.decode("utf-8", "replace")
    app.io.write(
        curl_format.format_command(rebuilt.method, rebuilt.url, rebuilt.headers, body, variables, stream=stream)
    )


def _shell_variable(database: Database, request: RequestRow, header: str) -> str:
    """Return the value of a secret header, with a shell variable for the secret."""
    if header.lower() not in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
        return "$" + header.upper().replace("-", "_")
    connection = connections.find(database, request.connection or "")
    kind, _, name = str(loads(connection.data, {}).get("key") or "").partition(":") if connection else ("", "", "")
    provider_variables = rebuild_request.provider_for(request).key_env
    variable = name if kind == "env" else provider_variables[0] if provider_variables else "API_KEY"
    return f"Bearer ${variable}" if header.lower() == "authorization" else f"${variable}"
