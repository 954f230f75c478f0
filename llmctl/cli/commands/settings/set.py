"""``llmctl settings set``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.settings.common import SettingArgument, format_value, report_change
from llmctl.cli.console.output import record_output
from llmctl.core.settings import get_setting, parse
from llmctl.store.records import settings as stored_settings


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
