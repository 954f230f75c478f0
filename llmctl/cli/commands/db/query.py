"""``llmctl db query``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from llmctl.cli import listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn, Row
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import Extent, emit_list
from llmctl.core.errors import UsageError
from llmctl.core.options import parse_pairs
from llmctl.store import readonly_sql

#: Rows that a terminal shows without --limit; a pipe gets all.
_TERMINAL_LIMIT = 1000


@list_output
def query(
    ctx: typer.Context,
    sql: Annotated[str, typer.Argument(metavar="SQL|-", help="One SELECT; - reads it from standard input.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="K=V", help="Value of :K; K:=JSON for a number.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Maximum number of rows; 0 for all.")] = None,
) -> None:
    """Run read-only SQL.

    Use the documented views, whose columns are stable: see llmctl help sql. A terminal shows the first 1000 rows, a
    pipe gets all.

    Examples:
      llmctl db query "SELECT model, count(*) AS n FROM v_requests GROUP BY model"
      llmctl db query "SELECT * FROM v_messages WHERE chat = :chat" -p chat=fix-42 --json
    """
    app: App = ctx.obj
    result = readonly_sql.run_query(app.hub(), _read_sql(app, sql), parse_pairs(param or (), "--param"))
    maximum = _max_rows(app, limit)
    rows = result.rows if maximum is None else _truncate(app, result.rows, maximum)
    emit_list(app.console, rows, [OutputColumn(name) for name in result.columns], Extent("no rows"))


def _read_sql(app: App, sql: str) -> str:
    if sql == "-":
        from llmctl.cli.console.console import read_text

        sql = read_text(app.console.io, app.console.note)
    if not sql.strip():
        raise UsageError("the SQL is empty", hint="see: llmctl help sql")
    return sql


def _max_rows(app: App, limit: int | None) -> int | None:
    if limit is None:
        return _TERMINAL_LIMIT if app.console.io.stdout_tty else None
    return listing_args.parse_limit(limit)


def _truncate(app: App, rows: Iterable[Row], maximum: int) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number == maximum:
            app.console.note(f"only the first {maximum} rows; --limit 0 shows all")
            return
        yield row
