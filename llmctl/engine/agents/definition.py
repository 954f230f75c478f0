"""Prompt files and agent files in TOML: their keys and values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.registry import unknown_name_error

#: Template variables besides the parameters.
RESERVED_PARAMS = ("args", "stdin")


@dataclass(frozen=True, slots=True)
class TemplateParam:
    """A parameter of the templates; required if the default is None."""

    default: Any = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A prompt file or agent file. ``system`` and ``prompt`` are templates; None or empty: not set.

    ``instructions`` is an alias of ``system``; paths in ``attach`` and ``schema`` are not resolved.
    """

    #: Name of the file, for messages.
    source: str = ""
    name: str | None = None
    description: str | None = None
    model: str | None = None
    connection: str | None = None
    system: str | None = None
    prompt: str | None = None
    params: Mapping[str, TemplateParam] = field(default_factory=dict)
    schema: str | Mapping[str, Any] | None = None
    fix: int | None = None
    extract: bool = False
    thinking: str | int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    #: ``NAME`` or ``NAME:PERMISSION``, never an automatic one.
    tools: tuple[str, ...] = ()
    #: Sub-agents.
    agents: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    max_cost: float | None = None
    max_steps: int | None = None
    history: int | None = None
    timeout: float | None = None
    retries: int | None = None
    tag: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    no_stream: bool = False
    no_log: bool = False
    #: Tools defined in the file itself, as records of ``tools``; Python files only.
    own_tools: tuple[Mapping[str, Any], ...] = ()


_TEXT_KEYS = ("name", "description", "model", "connection", "system", "instructions", "prompt", "tag")
_KEY_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(_TEXT_KEYS, ((str,), "a string")),
    **dict.fromkeys(("fix", "max_steps", "history", "retries"), ((int,), "an integer")),
    **dict.fromkeys(("max_cost", "timeout"), ((int, float), "a number")),
    **dict.fromkeys(("extract", "no_stream", "no_log"), ((bool,), "true or false")),
    **dict.fromkeys(("params", "options", "metadata"), ((dict,), "a table")),
    **dict.fromkeys(("tools", "agents", "attach", "fallback"), ((list,), "a list of strings")),
    "schema": ((str, dict), "a string or a table"),
    "thinking": ((str, int), "an effort or a number of tokens"),
}


def parse_definition(text: str, source: str) -> Definition:
    """Parse the text of a file. Raises UsageError for invalid TOML, unknown keys and values of the wrong type."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f'"{source}" is not valid TOML: {error}') from error
    definition = from_values(values, source)
    for tool in definition.tools:
        _validate_tool(tool, source)
    return definition


def from_values(found: dict[str, Any], source: str) -> Definition:
    """Return a definition with these values. Raises UsageError for unknown keys and values of the wrong type."""
    for key, value in found.items():
        _validate_value(key, value, source)
    if "instructions" in found:
        if "system" in found:
            raise UsageError(f'"{source}" has both "system" and "instructions"', hint="remove one: they are the same")
        found["system"] = found.pop("instructions")
    found["params"] = {name: _parse_param(name, value, source) for name, value in found.get("params", {}).items()}
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    return Definition(source=source, **values)


def with_own_tools(definition: Definition, tools: Iterable[Mapping[str, Any]]) -> Definition:
    return replace(definition, own_tools=tuple(tools))


def list_keys() -> tuple[str, ...]:
    """Return the keys of a file, in the order of the help."""
    return tuple(key.name for key in fields(Definition) if key.name not in ("source", "own_tools"))


def _validate_value(key: str, value: Any, source: str) -> None:
    if key not in _KEY_TYPES:

        def error(message: str, **more: Any) -> LlmctlError:
            return UsageError(f'"{source}": {message}', **more)

        raise unknown_name_error("key", key, _KEY_TYPES, error=error)
    types, description = _KEY_TYPES[key]
    is_valid = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not is_valid or (list in types and not all(isinstance(item, str) for item in value)):
        raise UsageError(f'"{source}": "{key}" must be {description}')


def _validate_tool(tool: str, source: str) -> None:
    """Refuse automatic permission: a file may come from somebody else, so it may only narrow permissions."""
    name, _, permission = tool.partition(":")
    if permission in ("automatic", "auto"):
        raise UsageError(f'"{source}" cannot grant "{tool}"', hint=f"grant it yourself: -T {tool}", reason="permission")
    if not name:
        raise UsageError(f'"{source}": "tools" must be a list of names, got "{tool}"')


def _parse_param(name: str, value: Any, source: str) -> TemplateParam:
    if name in RESERVED_PARAMS or not name.isidentifier():
        raise UsageError(f'"{source}": invalid parameter name "{name}"')
    if not isinstance(value, dict):
        return TemplateParam(value)
    if value.keys() - {"default", "description"}:
        raise UsageError(f'"{source}": parameter "{name}" may only have "default" and "description"')
    return TemplateParam(**value)
