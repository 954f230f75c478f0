"""What the commands of settings share: columns, arguments, records and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import OutputColumn, emit_record, format_plain
from llmctl.core.settings import Setting
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
        "type": setting.kind,
        "is_set": setting.name in changed,
    }


def format_value(value: Any) -> str:
    """Return a value as the user would set it."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return format_plain(value)


def report_change(app: App, setting: Setting, text: str) -> None:
    """Report a setting that was changed."""
    app.note(text)
    if app.format.is_json:
        emit_record(app, setting_record(setting, stored_settings.list_changed(app.hub())), COLUMNS)
