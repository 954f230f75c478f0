"""Turn the flags shared by ``chat``, ``run`` and ``agent run`` into the engine's call and persist options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.argument_parsers import parse_json, parse_pairs
from llmctl.core import schema_dsl
from llmctl.core.custom_values import to_column_value
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.text_files import read_text_file
from llmctl.engine.billing.budget import CommandBudget, CostLimits, cost_limits
from llmctl.engine.turn.options import CallOptions, PersistOptions

_EFFORTS = ("none", "low", "medium", "high")
#: Longer than anyone waits, and short enough not to overflow the system clocks.
_MAX_SECONDS = 1e9
_RECORD_KINDS = ("tool-calls", "requests", "network", "streams")


def call_options(app: App, settings: Mapping[str, Any]) -> CallOptions:
    """Return the call options: from flags, then the hub's settings, then defaults."""
    flags = app.turn_flags
    defaults = CallOptions()
    return CallOptions(
        options=parse_pairs(flags["option"], "-o", parse_values=True),
        thinking=parse_thinking(flags["thinking"]),
        shows_thinking=flags["show_thinking"],
        schema=load_schema(flags["schema"]),
        fix=_validate_fix(flags),
        stream=not flags["no_stream"],
        timeout_s=_require_seconds(flags["timeout"], "--timeout") or settings.get("timeout"),
        wait_s=_require_seconds(flags["wait"] or None, "--wait") or 0.0,
        retries=_require_minimum(flags["retries"], 0, "--retries", settings.get("retries", defaults.retries)),
        max_steps=_require_minimum(flags["max_steps"], 1, "--max-steps", settings.get("max_steps", defaults.max_steps)),
        history=None if flags["history"] is None else _require_minimum(flags["history"], 0, "--history", 0),
        cost_limits=_cost_limits(app, settings),
    )


def persist_options(
    app: App, custom: Mapping[str, str], settings: Mapping[str, Any], *, name: str | None = None, log: bool = True
) -> PersistOptions:
    """Return what to store of the turn: from flags, then settings. ``custom`` maps custom chat columns to types."""
    flags = app.turn_flags
    metadata = parse_pairs(flags["metadata"], "--metadata")
    fields = parse_pairs(flags["field"], "--field")
    for key in fields:
        if key not in custom:
            hint = f"available: {', '.join(custom)}" if custom else f"add it: llmctl init --field chats.{key}:text"
            raise UsageError(f'no custom field "{key}" on chats', hint=hint)
    fields |= {key: metadata.pop(key) for key in list(metadata) if key in custom}
    return PersistOptions(
        log=log,
        without=_parse_record_kinds(flags["no_persist"])
        | (set() if settings.get("stream.keep", True) else {"streams"}),
        rollback=flags["rollback"] or settings.get("rollback", False),
        name=name,
        metadata=metadata,
        references={key: str(value) for key, value in parse_pairs(flags["reference"], "--reference").items()},
        fields={key: to_column_value(key, value, custom[key]) for key, value in fields.items()},
        tag=flags["tag"],
    )


def _validate_fix(flags: Mapping[str, Any]) -> int:
    if flags["fix"] is not None and flags["schema"] is None:
        raise UsageError("--fix requires --schema")
    return _require_minimum(flags["fix"], 0, "--fix", 0)


def parse_thinking(value: str | None) -> str | int | None:
    """Parse ``--thinking``: an effort, or a number of tokens."""
    if value is None or value in _EFFORTS:
        return value
    if value.isdecimal():
        return int(value)
    raise UsageError(f'--thinking must be {", ".join(_EFFORTS)} or a number of tokens, got "{value}"')


def _parse_record_kinds(value: str | None) -> frozenset[str]:
    kinds = [kind.strip() for kind in (value or "").split(",") if kind.strip()]
    for kind in kinds:
        if kind not in _RECORD_KINDS:
            raise UsageError(f'--no-persist must be one or more of {", ".join(_RECORD_KINDS)}, got "{kind}"')
    return frozenset(kinds)


def _cost_limits(app: App, settings: Mapping[str, Any]) -> CostLimits:
    """Return the cost limits; ``--max-cost`` is one budget for all requests of the command."""
    limit = app.turn_flags.get("max_cost")
    if limit is not None and app.budget is None:
        if not 0 <= limit < float("inf"):
            raise UsageError(f'--max-cost must be 0 or more, got "{limit:g}"')
        app.budget = CommandBudget(limit)
    return cost_limits(settings, app.budget)


def _require_seconds(value: float | None, flag: str) -> float | None:
    if value is not None and not 0 < value <= _MAX_SECONDS:
        raise UsageError(f'{flag} must be greater than 0, got "{value:g}"')
    return value


def _require_minimum(value: int | None, minimum: int, flag: str, default: int) -> int:
    if value is None:
        return default
    if value < minimum:
        raise UsageError(f'{flag} must be {minimum} or more, got "{value}"')
    return value


def load_schema(value: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Load ``--schema``: a file, JSON or the short form.

    An existing file of that name takes precedence; it contains JSON or the short form. Raises UsageError for an
    invalid schema, NotFoundError for a missing file.
    """
    if value is None:
        return None
    schema = value if isinstance(value, Mapping) else _parse_schema(*_read_schema_text(value))
    from llmctl.engine.turn.result import check_schema  # lazy: not needed for --help

    check_schema(schema)
    return schema


def _read_schema_text(value: str) -> tuple[str, str]:
    """Return the text of a schema and its source, for messages."""
    if value.lstrip().startswith("{"):
        return value, "--schema"
    try:
        return read_text_file(value), value
    except NotFoundError:
        if _looks_like_path(value):
            raise
    return value, "--schema"


def _looks_like_path(value: str) -> bool:
    """Return whether a value that is not a readable file was meant as a path."""
    return os.path.exists(value) or ((value.endswith(".json") or os.sep in value) and not set(value) & set(" ,\n:"))


def _parse_schema(text: str, source: str) -> Mapping[str, Any]:
    if not text.lstrip().startswith("{"):
        return schema_dsl.parse(text)
    value = parse_json(text, source)
    if not isinstance(value, dict):
        raise UsageError(f'"{source}" is not a JSON Schema')
    return value
