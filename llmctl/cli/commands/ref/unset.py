"""``llmctl ref unset``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.ref.common import RecordArgument, emit_references
from llmctl.cli.console.output import record_output
from llmctl.core.errors import NotFoundError
from llmctl.store.records import record_links


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
