"""Commands on references between records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import Extent, emit_change, emit_list
from llmctl.core.errors import NotFoundError
from llmctl.core.options import parse_pairs
from llmctl.store.records import record_links

RecordArgument = Annotated[str, typer.Argument(metavar="RECORD", help="Id, name, or KIND:REF such as chat:fix-42.")]


def emit_references(app: App, table: str, record_id: str, references: Mapping[str, str]) -> None:
    """Report the references that a record has now."""
    kind = record_links.KINDS[table]
    document = {"id": record_id, "kind": kind, "references": references}
    emit_change(app.console, document, f"references of {kind} {record_id[:8]}: {', '.join(references) or 'none'}")


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
    pairs = parse_pairs(targets, "NAME=RECORD")
    changes = record_links.resolve_targets(database, pairs, allow_unknown=any)
    emit_references(app, table, row["id"], record_links.update(database, table, row["id"], changes))


@record_output
def unset(
    ctx: typer.Context,
    ref: RecordArgument,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="References to remove.")],
) -> None:
    """Remove references from a record.

    Examples:
      llmctl ref unset fix-42 build
    """
    app: App = ctx.obj
    database = app.hub("write")
    table, row = record_links.get(database, ref)
    known = [reference["name"] for reference in record_links.list_outgoing(database, table, row)]
    for name in names:
        if name not in known:
            raise NotFoundError(f'no reference "{name}"', hint=f"this record has: {', '.join(known) or 'none'}")
    emit_references(app, table, row["id"], record_links.update(database, table, row["id"], dict.fromkeys(names)))


_COLUMNS = [OutputColumn("direction"), OutputColumn("name"), OutputColumn("kind"), OutputColumn("id", "id")]


@list_output
def list_(ctx: typer.Context, ref: RecordArgument) -> None:
    """List references from and to a record.

    Examples:
      llmctl ref list fix-42
    """
    app: App = ctx.obj
    database = app.hub()
    table, row = record_links.get(database, ref)
    rows = [*record_links.list_outgoing(database, table, row), *record_links.list_incoming(database, row["id"])]
    emit_list(app.console, rows, _COLUMNS, Extent("no references"))
