"""``llmctl ref set``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import argument_parsers
from llmctl.cli.app import App
from llmctl.cli.commands.ref.common import RecordArgument, emit_references
from llmctl.cli.console.output import record_output
from llmctl.core.errors import NotFoundError
from llmctl.store.database import Database
from llmctl.store.records import record_links


@record_output
def set_(
    ctx: typer.Context,
    ref: RecordArgument,
    targets: Annotated[list[str], typer.Argument(metavar="NAME=RECORD...", help="Names, and records to refer to.")],
    any: Annotated[bool, typer.Option("--any", help="Allow ids of records that are not in this hub.")] = False,
) -> None:
    """Add references from a record to others.

    Every record can have references: chats, messages, requests, jobs, logs, metrics and all others. A name that
    exists already is set to the new record.

    Examples:
      llmctl ref set fix-42 build=4a15aa97
      llmctl ref set chat:fix-42 issue=e1f0 --any
    """
    app: App = ctx.obj
    database = app.hub("write")
    table, row = record_links.get(database, ref)
    pairs = argument_parsers.parse_pairs(targets, "NAME=RECORD")
    changes = {name: _resolve_id(database, str(target), allow_unknown=any) for name, target in pairs.items()}
    emit_references(app, table, row["id"], record_links.update(database, table, row["id"], changes))


def _resolve_id(database: Database, target: str, *, allow_unknown: bool) -> str:
    try:
        return str(record_links.get(database, target)[1]["id"])
    except NotFoundError as error:
        if not allow_unknown or error.reason == "ambiguous":
            raise
        return target
