"""``llmctl connection trust``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import connection_record
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.cli.console.prompts import confirm
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.stored_values import loads
from llmctl.store.database import Database
from llmctl.store.records import connections
from llmctl.store.records.types import ConnectionRow


@record_output
def trust(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None, typer.Argument(metavar="REF...", help="Connections: names, ids, or id prefixes.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Trust all connections of the hub, and its permissions for tools.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Trust connections that came with an import or a hub of someone else.

    Shows where each sends your prompts and with which key. Until you trust it nothing is sent to it, its key is not
    read and its command is not run. Trust is kept outside the hub, for you alone, and ends when host or key change.
    What you add or edit yourself is trusted, and so is a provider's own host with its own variable. --all is for a hub
    of yours that comes from another machine: in a hub of someone else tools ask, whatever is stored in it.

    Examples:
      llmctl connection trust echo
    """
    from llmctl.engine.connections import trust as connection_trust

    app: App = ctx.obj
    if all_ == bool(refs):
        raise UsageError("pass connections, or --all", hint="list connections: llmctl connection list")
    database = app.hub("write")
    found = [connections.get(database, ref) for ref in refs or ()] or connections.list_remote(database)
    for connection in found:
        _trust_connection(app, database, connection, yes=yes)
    if all_ and not connection_trust.is_own_hub(database, app.env):
        confirm(app.console, "trust this hub, with its permissions for tools", yes=yes)
        connection_trust.trust_hub(database, app.env)
        app.console.note("this hub is trusted: its permissions of tools count")


def _trust_connection(app: App, database: Database, connection: ConnectionRow, *, yes: bool) -> None:
    """Show what a connection does, ask, and record that it is trusted."""
    from llmctl.cli.console.terminal import safe_line
    from llmctl.engine.connections import trust as connection_trust

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
