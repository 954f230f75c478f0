"""What a user may set: names, types, built-in values. Four are columns of the seed's UserSettings, the rest ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmctl.core.errors import UsageError
from llmctl.core.registry import unknown

Kind = Literal["text", "boolean", "whole number", "number", "list"]

_YES = ("true", "yes", "on", "1")
_NO = ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``default`` None means that nothing is built in."""

    name: str
    kind: Kind
    default: Any
    help: str
    #: The only values there are (of a list: of its items).
    choices: tuple[str, ...] = ()
    least: float | None = None
    #: It is a column of ``user_settings``.
    is_column: bool = False


_ALL = (
    Setting("default_connection", "text", None, "connection that is used when none is named"),
    Setting("rollback", "boolean", False, "remove an answer that broke off, as --rollback does"),
    Setting("timeout", "number", None, "seconds for a whole turn, as --timeout", least=0.001),
    Setting("retries", "whole number", 2, "attempts after the first one that failed, as --retries", least=0),
    Setting("max_steps", "whole number", 20, "requests in one turn, as --max-steps", least=1),
    Setting("budget.day", "number", None, "US dollars that requests of one day (UTC) may cost together", least=0),
    Setting("budget.month", "number", None, "US dollars that requests of one month (UTC) may cost together", least=0),
    Setting(
        "audit.context",
        "list",
        ["script", "folder", "git", "host"],
        "what is noted of where a request was asked for; none for nothing",
        choices=("script", "folder", "git", "host"),
    ),
    Setting("stream.keep", "boolean", True, "keep what models stream, byte by byte, after the answer is finished"),
    Setting("pending.expiry", "number", 7, "days that a tool call waits for approval, then it is denied", least=0),
    Setting("permission.expiry", "number", 30, "days that always and never are remembered", least=0),
    Setting("theme", "text", "system", "colours of user interfaces", ("system", "light", "dark"), is_column=True),
    Setting("sidebar_open", "boolean", True, "whether user interfaces show their sidebar", is_column=True),
    Setting("last_page", "text", "", "where user interfaces were left", is_column=True),
    Setting("bootstrapped", "boolean", False, "whether llmctl init has been run", is_column=True),
)

SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _ALL}


def named(name: str) -> Setting:
    """Return the setting of that name (``-`` counts as ``_``); UsageError with near names for none."""
    found = SETTINGS.get(name.replace("-", "_"))
    if found is None:
        raise unknown("setting", name, SETTINGS)
    return found


def parse(setting: Setting, text: str) -> Any:
    """Return the value that a text means; UsageError where it is none of the setting's kind."""
    match setting.kind:
        case "boolean":
            value: Any = _boolean(setting, text)
        case "whole number" | "number":
            value = _number(setting, text)
        case "list":
            value = [] if text.strip() == "none" else [item.strip() for item in text.split(",") if item.strip()]
        case _:
            value = text
    for item in value if isinstance(value, list) else [value]:
        if setting.choices and item not in setting.choices:
            raise _refusal(setting, text, f"one of {', '.join(setting.choices)}")
    return value


def _boolean(setting: Setting, text: str) -> bool:
    if text.lower() in (*_YES, *_NO):
        return text.lower() in _YES
    raise _refusal(setting, text, "true or false")


def _number(setting: Setting, text: str) -> float | int:
    try:
        value = int(text) if setting.kind == "whole number" or text.isdecimal() else float(text)
    except ValueError:
        raise _refusal(setting, text, f"a {setting.kind}") from None
    if (
        value != value
        or value in (float("inf"), float("-inf"))
        or (setting.least is not None and value < setting.least)
    ):
        raise _refusal(setting, text, f"a {setting.kind} of {setting.least or 0:g} or more")
    return value


def _refusal(setting: Setting, text: str, wanted: str) -> UsageError:
    return UsageError(f'"{text}" is no value for "{setting.name}"', hint=f"it takes {wanted}")
