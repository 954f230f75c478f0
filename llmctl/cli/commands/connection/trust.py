"""``llmctl connection trust``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import connection_record
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import LlmctlError
from llmctl.core.stored_values import loads
from llmctl.store.database import Database
from llmctl.store.records import connections
from llmctl.store.records.types import ConnectionRow


@record_output
def trust(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="Connections: names, ids, or id prefixes.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Trust connections that came with an import or a hub of someone else.

    Shows where each sends your prompts and with which key. Until you trust it nothing is sent to it, its key is not
    read and its command is not run. Trust is kept outside the hub, for you alone, and ends when host or key change.
    What you add or edit yourself is trusted, and so is a provider's own host with its own variable.

    Examples:
      llmctl connection trust echo
    """
    from llmctl.cli.console.prompts import confirm
    from llmctl.cli.console.terminal import safe_line
    from llmctl.engine.connections import trust as connection_trust

    app: App = ctx.obj
    database = app.hub("write")
    for connection in [connections.get(database, ref) for ref in refs]:
        use = connection_trust.describe_use(connection, _base_url(app, database, connection))
        if not connection_trust.is_trusted(database, connection, app.env):
            confirm(app.console, safe_line(f'trust connection "{connection.name}": {use}'), yes=yes)
            connection_trust.add(database, connection, app.env)
        record = connection_record(app, connections.get_record(database, connection.id))
        emit_change(app.console, record, f'connection "{connection.name}" is trusted: {use}')


def _base_url(app: App, database: Database, connection: ConnectionRow) -> str:
    from llmctl.engine.connections import target

    try:
        return target.for_connection(database, connection.id, app.env).base_url
    except LlmctlError:  # no provider of that name, or a key that may not be sent there: to be seen all the same
        return str(loads(connection.data, {}).get("base_url") or connection.provider)
