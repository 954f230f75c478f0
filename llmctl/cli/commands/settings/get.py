"""``llmctl settings get``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.settings.common import COLUMNS, SettingArgument, format_value, setting_record
from llmctl.cli.console.output import emit_record, record_output
from llmctl.core.settings import get_setting
from llmctl.store.records import settings as stored_settings


@record_output
def get(ctx: typer.Context, name: SettingArgument) -> None:
    """Print the value of a setting.

    Examples:
      llmctl settings get retries
    """
    app: App = ctx.obj
    row = setting_record(get_setting(name), stored_settings.list_changed(app.hub()))
    if app.format.is_json or app.format.columns:
        emit_record(app, row, COLUMNS)
    else:
        app.io.write(f"{format_value(row['value'])}\n")
