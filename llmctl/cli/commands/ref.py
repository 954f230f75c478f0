"""``llmctl ref``: references from one record to another."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_made, listing, record
from llmctl.cli.values import pairs
from llmctl.core.errors import NotFoundError
from llmctl.store.records import record_links

_COLUMNS = [Column("direction"), Column("name"), Column("kind"), Column("id", "id")]

Record = Annotated[str, typer.Argument(metavar="RECORD", help="Id, name, or KIND:REF such as chat:fix-42.")]


@record
def set_(
    ctx: typer.Context,
    ref: Record,
    targets: Annotated[list[str], typer.Argument(metavar="NAME=RECORD...", help="What to call which record.")],
    any: Annotated[bool, typer.Option("--any", help="Also ids of records that are not in this hub.")] = False,
) -> None:
    """Let a record point to others.

    Every record can: chats, messages, requests, jobs, logs, metrics and all the rest. A name that is there already
    points to the new record from then on.

    Examples:
      llmctl ref set fix-42 build=4a15aa97
      llmctl ref set chat:fix-42 issue=e1f0 --any
    """
    app: App = ctx.obj
    database = app.hub("write")
    table, row = record_links.find(database, ref)
    changes = {}
    for name, target in pairs(targets, "NAME=RECORD").items():
        try:
            changes[name] = record_links.find(database, str(target))[1]["id"]
        except NotFoundError as error:
            if not any or error.reason == "ambiguous":
                raise
            changes[name] = str(target)
    found = record_links.change(database, table, row["id"], changes)
    _tell(app, table, row["id"], found)


@record
def unset(
    ctx: typer.Context,
    ref: Record,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="References to remove.")],
) -> None:
    """Remove references of a record.

    Examples:
      llmctl ref unset fix-42 build
    """
    app: App = ctx.obj
    database = app.hub("write")
    table, row = record_links.find(database, ref)
    known = [found["name"] for found in record_links.outgoing(database, table, row)]
    for name in names:
        if name not in known:
            raise NotFoundError(f'no reference "{name}"', hint=f"there are {', '.join(known) or 'none'}")
    found = record_links.change(database, table, row["id"], dict.fromkeys(names))
    _tell(app, table, row["id"], found)


@listing
def list_(ctx: typer.Context, ref: Record) -> None:
    """List what a record points to, and what points to it.

    Examples:
      llmctl ref list fix-42
    """
    app: App = ctx.obj
    database = app.hub()
    table, row = record_links.find(database, ref)
    rows = [*record_links.outgoing(database, table, row), *record_links.incoming(database, row["id"])]
    emit_list(app, rows, _COLUMNS)


def _tell(app: App, table: str, id: str, found: dict[str, str]) -> None:
    kind = record_links.KINDS[table]
    emit_made(
        app,
        {"id": id, "kind": kind, "references": found},
        f"{kind} {id[:8]} points to: {', '.join(found) or 'nothing'}",
    )
