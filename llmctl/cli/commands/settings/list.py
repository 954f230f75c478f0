"""``llmctl settings list``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.settings.common import COLUMNS, format_value, setting_record
from llmctl.cli.console.output import emit_list, list_output
from llmctl.core.settings import SETTINGS
from llmctl.store.records import settings as stored_settings


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
    if not app.format.is_json:
        rows = [row | {name: format_value(row[name]) for name in ("value", "default")} for row in rows]
    emit_list(app, rows, COLUMNS)
