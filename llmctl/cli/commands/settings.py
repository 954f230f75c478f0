"""``llmctl settings``: what you chose, and what is built in."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_record, listing, plain, record
from llmctl.core import settings as known
from llmctl.core.settings import SETTINGS, Setting
from llmctl.store.records import settings as kept

_COLUMNS = [
    Column("name"),
    Column("value", "json"),
    Column("default", "json"),
    Column("help"),
    Column("type", shown=False),
    Column("is_set", "bool", shown=False),
]

Name = Annotated[str, typer.Argument(metavar="NAME", help="Setting; llmctl settings list shows them.")]


@listing
def list_(ctx: typer.Context) -> None:
    """List settings with their values.

    A flag and the environment go before a setting, a setting before what is built in.

    Examples:
      llmctl settings list
    """
    app: App = ctx.obj
    chosen = kept.chosen(app.hub())
    rows = [_row(setting, chosen) for setting in SETTINGS.values()]
    emit_list(app, rows if app.format.is_json else map(_shown, rows), _COLUMNS)


@record
def get(ctx: typer.Context, name: Name) -> None:
    """Print the value of a setting.

    Examples:
      llmctl settings get retries
    """
    app: App = ctx.obj
    setting = known.named(name)
    row = _row(setting, kept.chosen(app.hub()))
    if app.format.is_json or app.format.columns:
        emit_record(app, row, _COLUMNS)
    else:
        app.io.write(f"{_text(row['value'])}\n")


@record
def set_(
    ctx: typer.Context,
    name: Name,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value; a list with commas between.")],
) -> None:
    """Change a setting.

    Examples:
      llmctl settings set timeout 120
      llmctl settings set default_connection ollama
    """
    app: App = ctx.obj
    setting = known.named(name)
    new = known.parse(setting, value)
    database = app.hub("write")
    if setting.name == "default_connection":
        from llmctl.store.records import connections

        new = connections.get(database, value)["name"]
    kept.write(database, setting.name, new)
    _report(app, setting, f'"{setting.name}" is {_text(new) or "empty"} now')


@record
def unset(ctx: typer.Context, name: Name) -> None:
    """Give a setting its built-in value again.

    Examples:
      llmctl settings unset timeout
    """
    app: App = ctx.obj
    setting = known.named(name)
    kept.write(app.hub("write"), setting.name, None)
    _report(app, setting, f'"{setting.name}" is {_text(setting.default) or "empty"} again')


def _report(app: App, setting: Setting, text: str) -> None:
    app.note(text)
    if app.format.is_json:
        emit_record(app, _row(setting, kept.chosen(app.hub())), _COLUMNS)


def _row(setting: Setting, chosen: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": chosen.get(setting.name, setting.default),
        "default": setting.default,
        "help": setting.help,
        "type": setting.kind,
        "is_set": setting.name in chosen,
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"value": _text(row["value"]), "default": _text(row["default"])}


def _text(value: Any) -> str:
    """Return a value as it would be set."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return plain(value)
