"""``llmctl schema show``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.schema.common import load_catalogue, load_statements
from llmctl.cli.console.output import answer_output, emit_json
from llmctl.core.registry import unknown_name_error
from llmctl.store.emit import sql
from llmctl.store.schema.introspect import Table


@answer_output
def show(
    ctx: typer.Context,
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="A table or view. [all]")] = None,
) -> None:
    """Print the tables and columns of the hub.

    As SQL, with the hub's own table names; without a hub, those of a new one.

    Examples:
      llmctl schema show chats
      llmctl schema show --json
    """
    app: App = ctx.obj
    statements, names = load_statements(app)
    name = names.get(table, table).lower() if table else None
    shown = tuple(s for s in statements if name is None or name in (s.table.lower(), s.name.lower()))
    if table and not shown:
        raise unknown_name_error("table", table, {s.name for s in statements if s.kind in ("table", "view")})
    if app.format.is_json:
        tables = load_catalogue(app)[0].tables
        emit_json(app, [_table_object(one) for one in tables if name in (None, one.name.lower())])
    else:
        app.io.write(sql.statements(shown))


def _table_object(table: Table) -> dict[str, Any]:
    """Return a table as a JSON object."""
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "nullable": column.nullable,
            "default": column.default,
            "values": list(column.values) or None,
            "comment": column.comment or None,
        }
        for column in table.columns
    ]
    indexes = [{"name": i.name, "columns": list(i.columns), "unique": i.unique} for i in table.indexes]
    keys = [
        {"columns": list(k.columns), "table": k.table, "references": list(k.references), "on_delete": k.on_delete}
        for k in table.foreign_keys
    ]
    return {
        "name": table.name,
        "comment": table.comment or None,
        "columns": columns,
        "primary_key": list(table.key),
        "indexes": indexes,
        "foreign_keys": keys,
    }
