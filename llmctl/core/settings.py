"""User settings: names, types and defaults. Four are columns of the seed's UserSettings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmctl.core.errors import UsageError
from llmctl.core.registry import unknown_name_error

Kind = Literal["text", "boolean", "whole number", "number", "list"]

_YES = ("true", "yes", "on", "1")
_NO = ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. A ``default`` of None means that there is no default."""

    name: str
    kind: Kind
    default: Any
    help: str
    #: The only valid values (of a list: of its items).
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    #: Whether it is a column of ``user_settings``.
    is_column: bool = False


_ALL = (
    Setting("default_connection", "text", None, "connection to use if none is given"),
    Setting("rollback", "boolean", False, "discard an interrupted answer (--rollback)"),
    Setting("timeout", "number", None, "seconds for a whole turn (--timeout)", minimum=0.001),
    Setting("retries", "whole number", 2, "retries after a failed attempt (--retries)", minimum=0),
    Setting("max_steps", "whole number", 20, "requests in one turn (--max-steps)", minimum=1),
    Setting("budget.day", "number", None, "maximum cost of all requests of a day (UTC), in US dollars", minimum=0),
    Setting("budget.month", "number", None, "maximum cost of all requests of a month (UTC), in US dollars", minimum=0),
    Setting(
        "audit.context",
        "list",
        ["script", "folder", "git", "host"],
        "what to record of where a request came from; none for nothing",
        choices=("script", "folder", "git", "host"),
    ),
    Setting("stream.keep", "boolean", True, "keep the raw bytes of finished streams"),
    Setting("pending.expiry", "number", 7, "days until a tool call that waits for approval is denied", minimum=0),
    Setting("permission.expiry", "number", 30, "days until always and never decisions expire", minimum=0),
    Setting("theme", "text", "system", "colours of user interfaces", ("system", "light", "dark"), is_column=True),
    Setting("sidebar_open", "boolean", True, "whether user interfaces show the sidebar", is_column=True),
    Setting("last_page", "text", "", "last page shown in a user interface", is_column=True),
    Setting("bootstrapped", "boolean", False, "whether llmctl init was run", is_column=True),
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
    match setting.kind:
        case "boolean":
            value: Any = _parse_boolean(setting, text)
        case "whole number" | "number":
            value = _parse_number(setting, text)
        case "list":
            value = [] if text.strip() == "none" else [item.strip() for item in text.split(",") if item.strip()]
        case _:
            value = text
    for item in value if isinstance(value, list) else [value]:
        if setting.choices and item not in setting.choices:
            raise _value_error(setting, text, f"one of {', '.join(setting.choices)}")
    return value


def _parse_boolean(setting: Setting, text: str) -> bool:
    if text.lower() in (*_YES, *_NO):
        return text.lower() in _YES
    raise _value_error(setting, text, "true or false")


def _parse_number(setting: Setting, text: str) -> float | int:
    try:
        value = int(text) if setting.kind == "whole number" or text.isdecimal() else float(text)
    except ValueError:
        raise _value_error(setting, text, f"a {setting.kind}") from None
    if (
        value != value
        or value in (float("inf"), float("-inf"))
        or (setting.minimum is not None and value < setting.minimum)
    ):
        raise _value_error(setting, text, f"a {setting.kind} of {setting.minimum or 0:g} or more")
    return value


def _value_error(setting: Setting, text: str, wanted: str) -> UsageError:
    return UsageError(f'{setting.name} must be {wanted}, got "{text}"')


_OFF = ("", "0", "false", "no", "off")


def is_switch_on(env: Mapping[str, str], name: str) -> bool:
    """Return whether an environment variable is set to anything but ``0 false no off`` or the empty string."""
    return env.get(name, "").lower() not in _OFF
