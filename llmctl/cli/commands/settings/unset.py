"""``llmctl settings unset``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.settings.common import SettingArgument, format_value, report_change
from llmctl.cli.console.output import record_output
from llmctl.core.settings import get_setting
from llmctl.store.records import settings as stored_settings


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
