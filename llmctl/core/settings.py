"""User settings: names, types and defaults. Four are columns of the seed's UserSettings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmctl.core.options import Kind, Option, options_for, parse_text
from llmctl.core.registry import unknown_name_error

#: Words for the kinds of settings, as ``settings list`` prints them.
_TYPES = {"switch": "boolean", "integer": "whole number", "number": "number", "list": "list", "text": "text"}


class Setting(NamedTuple):
    """One setting."""

    option: Option
    #: Whether it is a column of ``user_settings``.
    is_column: bool = False

    @property
    def name(self) -> str:
        return self.option.name

    @property
    def type(self) -> str:
        return _TYPES[self.option.kind]

    @property
    def default(self) -> Any:
        """Its built-in value; None if there is none."""
        default = self.option.unset
        return list(default) if isinstance(default, tuple) else default

    @property
    def help(self) -> str:
        if not self.option.flags:
            return self.option.help
        text = self.option.help.rstrip(".")
        return f"{text[:1].lower()}{text[1:]} ({self.option.flags[0]})"


def _setting(name: str, help: str, kind: Kind = "text", *, is_column: bool = False, **more: Any) -> Setting:
    return Setting(Option(name, kind, help, **more), is_column)


_AUDIT_WORDS = ("script", "folder", "git", "host")
_ALL = (
    _setting("default_connection", "connection to use if none is given"),
    *map(Setting, options_for("setting")),
    _setting("budget.day", "maximum cost of all requests of a day (UTC), in US dollars", "number", minimum=0),
    _setting("budget.month", "maximum cost of all requests of a month (UTC), in US dollars", "number", minimum=0),
    _setting(
        "audit.context",
        "what to record of where a request came from; none for nothing",
        "list",
        default=_AUDIT_WORDS,
        choices=_AUDIT_WORDS,
    ),
    _setting("stream.keep", "keep the raw bytes of finished streams", "switch", default=True),
    _setting(
        "pending.expiry", "days until a tool call that waits for approval is denied", "number", default=7, minimum=0
    ),
    _setting("permission.expiry", "days until always and never decisions expire", "number", default=30, minimum=0),
    _setting(
        "theme", "colours of user interfaces", default="system", choices=("system", "light", "dark"), is_column=True
    ),
    _setting("sidebar_open", "whether user interfaces show the sidebar", "switch", default=True, is_column=True),
    _setting("last_page", "last page shown in a user interface", default="", allows_empty=True, is_column=True),
    _setting("bootstrapped", "whether llmctl init was run", "switch", is_column=True),
)

SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _ALL}


def get_setting(name: str) -> Setting:
    """Return the setting of that name (``-`` counts as ``_``); raise UsageError with similar names if there is none."""
    found = SETTINGS.get(name.replace("-", "_"))
    if found is None:
        raise unknown_name_error("setting", name, SETTINGS)
    return found


def parse(setting: Setting, text: str) -> Any:
    """Return the value of a text; raise UsageError if it does not fit the setting."""
    value = parse_text(setting.option, text, setting.name)
    return list(value) if isinstance(value, tuple) else value
