"""What the flags that ``chat``, ``run`` and ``agent run`` share mean to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.turn.schema_arg import schema_of
from llmctl.cli.values import pairs
from llmctl.core.custom_values import column_value
from llmctl.core.errors import UsageError
from llmctl.engine.billing.limits import Caps, Purse, caps
from llmctl.engine.turn.options import Keep, Manner

_EFFORTS = ("none", "low", "medium", "high")
#: More seconds than anybody waits, and fewer than the system's clocks overflow at.
_LONGEST_S = 1e9
_KINDS = ("tool-calls", "requests", "network", "streams")


def manner(app: App, settings: Mapping[str, Any]) -> Manner:
    """Return how the model is called: the flags, then the hub's settings, then what is built in."""
    flags = app.asking
    defaults = Manner()
    return Manner(
        options=pairs(flags["option"], "-o", typed=True),
        thinking=thinking_of(flags["thinking"]),
        shows_thinking=flags["show_thinking"],
        schema=schema_of(flags["schema"]),
        fix=_fix(flags),
        stream=not flags["no_stream"],
        timeout_s=_positive(flags["timeout"], "--timeout") or settings.get("timeout"),
        wait_s=_positive(flags["wait"] or None, "--wait") or 0.0,
        retries=_at_least(flags["retries"], 0, "--retries", settings.get("retries", defaults.retries)),
        max_steps=_at_least(flags["max_steps"], 1, "--max-steps", settings.get("max_steps", defaults.max_steps)),
        history=None if flags["history"] is None else _at_least(flags["history"], 0, "--history", 0),
        caps=_caps(app, settings),
    )


def keep(
    app: App, custom: Mapping[str, str], settings: Mapping[str, Any], *, name: str | None = None, log: bool = True
) -> Keep:
    """Return what is kept of the turn: flags, then settings; ``custom`` are the hub's own columns of chats."""
    flags = app.asking
    metadata = pairs(flags["metadata"], "--metadata")
    fields = pairs(flags["field"], "--field")
    for key in fields:
        if key not in custom:
            known = ", ".join(custom) or "none yet; add one with: llmctl init --field chats.NAME:TYPE"
            raise UsageError(f'no custom field "{key}" on chats', hint=f"there are: {known}")
    fields |= {key: metadata.pop(key) for key in list(metadata) if key in custom}
    return Keep(
        log=log,
        without=_kinds(flags["no_persist"]) | (set() if settings.get("stream.keep", True) else {"streams"}),
        rollback=flags["rollback"] or settings.get("rollback", False),
        name=name,
        metadata=metadata,
        references={key: str(value) for key, value in pairs(flags["reference"], "--reference").items()},
        fields={key: column_value(key, value, custom[key]) for key, value in fields.items()},
        tag=flags["tag"],
    )


def _fix(flags: Mapping[str, Any]) -> int:
    if flags["fix"] is not None and flags["schema"] is None:
        raise UsageError('"--fix" needs "--schema"', hint="without a schema nothing is known to be wrong")
    return _at_least(flags["fix"], 0, "--fix", 0)


def thinking_of(value: str | None) -> str | int | None:
    """Return what ``--thinking`` means: an effort, or a number of tokens."""
    if value is None or value in _EFFORTS:
        return value
    if value.isdecimal():
        return int(value)
    raise UsageError(f'"--thinking {value}" is neither an effort nor a number', hint=f"{', '.join(_EFFORTS)} or TOKENS")


def _kinds(value: str | None) -> frozenset[str]:
    kinds = [kind.strip() for kind in (value or "").split(",") if kind.strip()]
    for kind in kinds:
        if kind not in _KINDS:
            raise UsageError(f'"--no-persist {kind}" is unknown', hint=f"there are {', '.join(_KINDS)}")
    return frozenset(kinds)


def _caps(app: App, settings: Mapping[str, Any]) -> Caps:
    """Return the caps; ``--max-cost`` is one purse for everything that the command asks."""
    limit = app.asking.get("max_cost")
    if limit is not None and app.purse is None:
        if not 0 <= limit < float("inf"):
            raise UsageError(f'"--max-cost {limit:g}" is no number of dollars of 0 or more')
        app.purse = Purse(limit)
    return caps(settings, app.purse)


def _positive(value: float | None, flag: str) -> float | None:
    if value is not None and not 0 < value <= _LONGEST_S:
        raise UsageError(f'"{flag} {value:g}" is no number of seconds above 0')
    return value


def _at_least(value: int | None, least: int, flag: str, default: int) -> int:
    if value is None:
        return default
    if value < least:
        raise UsageError(f'"{flag} {value}" is less than {least}')
    return value
