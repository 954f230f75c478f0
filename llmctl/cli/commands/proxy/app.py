"""``llmctl proxy app``: the programs that may use the proxy, and what they may cost."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import emit_change, emit_list
from llmctl.core.errors import UsageError
from llmctl.store.database import Delete
from llmctl.store.records import connections, proxied

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="App, as in the path /a/NAME or --app.")]
DayOption = Annotated[float | None, typer.Option(metavar="USD", help="The most that it may cost a day (UTC).")]
MonthOption = Annotated[float | None, typer.Option(metavar="USD", help="The most that it may cost a month (UTC).")]
ModelsOption = Annotated[
    str | None, typer.Option(metavar="GLOB,...", help="Models that it may use, such as claude-*-haiku-*.")
]
NoLogOption = Annotated[bool | None, typer.Option("--no-log/--log", help="Keep tokens and cost only, no text.")]
ConnectionOption = Annotated[
    str | None, typer.Option(metavar="REF", help="Connection that its requests go to, with that one's key.")
]
KeyOption = Annotated[bool, typer.Option("--key", help="Make a key for it; it is printed once.")]

_COLUMNS = (
    OutputColumn("name"),
    OutputColumn("connection"),
    OutputColumn("models"),
    OutputColumn("max_cost_day", "cost"),
    OutputColumn("max_cost_month", "cost"),
    OutputColumn("no_log", "bool"),
    OutputColumn("has_key", "bool"),
    OutputColumn("requests", "number"),
    OutputColumn("cost", "cost"),
)


@record_output
def add(
    ctx: typer.Context,
    name: NameArgument,
    max_cost_day: DayOption = None,
    max_cost_month: MonthOption = None,
    models: ModelsOption = None,
    no_log: NoLogOption = None,
    connection: ConnectionOption = None,
    key: KeyOption = False,
) -> None:
    """Add an app: a name for a program, with its limits.

    A program with a key of ours sends that in place of a provider's; a connection's key serves only such programs.

    Examples:
      llmctl proxy app add notebook --max-cost-day 2.50
      llmctl proxy app add bot --connection openai --key --models "gpt-4.1-*"
    """
    from llmctl.engine.proxy.apps import add_app

    app: App = ctx.obj
    columns = _read_columns(app, max_cost_day, max_cost_month, models, no_log, connection)
    row, made = add_app(app.hub("create"), name, columns, with_key=key)
    _emit(app, row.name, made, "added")


@record_output
def edit(
    ctx: typer.Context,
    name: NameArgument,
    max_cost_day: DayOption = None,
    max_cost_month: MonthOption = None,
    models: ModelsOption = None,
    no_log: NoLogOption = None,
    connection: ConnectionOption = None,
    key: KeyOption = False,
) -> None:
    """Change an app.

    A limit of 0 and an empty text take a limit back; --key replaces the old key.

    Examples:
      llmctl proxy app edit notebook --max-cost-day 5.50
    """
    from llmctl.engine.proxy.apps import edit_app

    app: App = ctx.obj
    columns = _read_columns(app, max_cost_day, max_cost_month, models, no_log, connection)
    if not columns and not key:
        raise UsageError("nothing to change", hint=f"for example: llmctl proxy app edit {name} --max-cost-day 5")
    row, made = edit_app(app.hub("write"), name, columns, with_key=key)
    _emit(app, row.name, made, "changed")


@list_output
def list_(ctx: typer.Context) -> None:
    """List apps with what they have cost.

    Examples:
      llmctl proxy app list
    """
    app: App = ctx.obj
    emit_list(app.console, proxied.summarize_apps(app.hub()), _COLUMNS)


def remove(ctx: typer.Context, name: NameArgument) -> None:
    """Remove an app; what it recorded is kept.

    Examples:
      llmctl proxy app remove notebook
    """
    app: App = ctx.obj
    database = app.hub("write")
    row = proxied.get_app(database, name)
    database.commit(Delete("proxy_apps", {"id": row.id}), durable=True)
    app.console.note(f'removed app "{row.name}"')


def _read_columns(
    app: App,
    day: float | None,
    month: float | None,
    models: str | None,
    no_log: bool | None,
    connection: str | None,
) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for column, value in (("max_cost_day", day), ("max_cost_month", month)):
        if value is not None and not 0 <= value < math.inf:
            raise UsageError(f'--{column.replace("_", "-")} must be 0 or more, got "{value:g}"')
        if value is not None:
            columns[column] = value or None
    if models is not None:
        columns["models"] = models or None
    if no_log is not None:
        columns["no_log"] = no_log
    if connection is not None:
        columns["connection"] = connections.get(app.hub("create"), connection).name if connection else None
    return columns


def _emit(app: App, name: str, key: str | None, what: str) -> None:
    (row,) = (row for row in proxied.summarize_apps(app.hub()) if row["name"] == name)
    record = {**row, **({"key": key} if key else {})}
    if key and app.console.quiet and not app.console.format.is_json:
        app.console.io.write(f"{key}\n")
        return
    note = f'{what} app "{name}"' + (f"; its key, which is not shown again: {key}" if key else "")
    emit_change(app.console, record, note)
