"""Commands on settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn, format_plain
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import emit_list, emit_record
from llmctl.core.options import SETTINGS, Setting, get_setting, parse
from llmctl.store.records import settings as stored_settings

COLUMNS = [
    OutputColumn("name"),
    OutputColumn("value", "json"),
    OutputColumn("default", "json"),
    OutputColumn("help"),
    OutputColumn("type", is_default=False),
    OutputColumn("is_set", "bool", is_default=False),
]

SettingArgument = Annotated[str, typer.Argument(metavar="NAME", help="Setting; see llmctl settings list.")]


def setting_record(setting: Setting, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting as commands print it; ``changed`` has the values that were set."""
    return {
        "name": setting.name,
        "value": changed.get(setting.name, setting.default),
        "default": setting.default,
        "help": setting.help,
        "type": setting.type,
        "is_set": setting.name in changed,
    }


def format_value(value: Any) -> str:
    """Return a value as the user would set it."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return format_plain(value)


def report_change(app: App, setting: Setting, text: str) -> None:
    """Report a setting that was changed."""
    app.console.note(text)
    if app.console.format.is_json:
        emit_record(app.console, setting_record(setting, stored_settings.list_changed(app.hub())), COLUMNS)


@list_output
def list_(ctx: typer.Context) -> None:
    """List settings and their values.

    A flag overrides an environment variable, which overrides a setting, which overrides the default.

    Examples:
      llmctl settings list
    """
    app: App = ctx.obj
    changed = stored_settings.list_changed(app.hub())
    rows = [setting_record(setting, changed) for setting in SETTINGS.values()]
    if not app.console.format.is_json:
        rows = [row | {name: format_value(row[name]) for name in ("value", "default")} for row in rows]
    emit_list(app.console, rows, COLUMNS)


@record_output
def get(ctx: typer.Context, name: SettingArgument) -> None:
    """Print the value of a setting.

    Examples:
      llmctl settings get retries
    """
    app: App = ctx.obj
    row = setting_record(get_setting(name), stored_settings.list_changed(app.hub()))
    if app.console.format.is_json or app.console.format.columns:
        emit_record(app.console, row, COLUMNS)
    else:
        app.console.io.write(f"{format_value(row['value'])}\n")


@record_output
def set_(
    ctx: typer.Context,
    name: SettingArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="New value; lists are comma-separated.")],
) -> None:
    """Change a setting.

    Examples:
      llmctl settings set timeout 120
      llmctl settings set default_connection ollama
    """
    app: App = ctx.obj
    setting = get_setting(name)
    new_value = parse(setting, value)
    database = app.hub("write")
    if setting.name == "default_connection":
        from llmctl.store.records import connections

        new_value = connections.get(database, value).name
    stored_settings.update(database, setting.name, new_value)
    report_change(app, setting, f'set "{setting.name}" to {format_value(new_value) or "empty"}')


@record_output
def unset(ctx: typer.Context, name: SettingArgument) -> None:
    """Reset a setting to its default.

    Examples:
      llmctl settings unset timeout
    """
    app: App = ctx.obj
    setting = get_setting(name)
    stored_settings.update(app.hub("write"), setting.name, None)
    report_change(app, setting, f'reset "{setting.name}" to {format_value(setting.default) or "empty"}')
