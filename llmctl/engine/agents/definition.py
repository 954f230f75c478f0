"""Prompts and agents that are written down in TOML: which keys there are and what they hold."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.registry import unknown

#: Names that templates have beside their parameters.
GIVEN = ("args", "stdin")


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the templates; None as its default: it has to be given."""

    default: Any = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A prompt file or an agent's file. ``system`` and ``prompt`` are templates; None and empty: nothing is said.

    ``instructions`` is another name for ``system``; paths in ``attach`` and ``schema`` are as they are written.
    """

    #: The file's name, for messages.
    source: str = ""
    name: str | None = None
    description: str | None = None
    model: str | None = None
    connection: str | None = None
    system: str | None = None
    prompt: str | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    schema: str | Mapping[str, Any] | None = None
    fix: int | None = None
    extract: bool = False
    thinking: str | int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    #: ``NAME`` or ``NAME:PERMISSION``, never an automatic one.
    tools: tuple[str, ...] = ()
    #: Agents that this one may ask.
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
    #: Tools that stand in the file itself, as records of ``tools``; only a Python file has them.
    own_tools: tuple[Mapping[str, Any], ...] = ()


_TEXTS = ("name", "description", "model", "connection", "system", "instructions", "prompt", "tag")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(_TEXTS, ((str,), "a text")),
    **dict.fromkeys(("fix", "max_steps", "history", "retries"), ((int,), "a whole number")),
    **dict.fromkeys(("max_cost", "timeout"), ((int, float), "a number")),
    **dict.fromkeys(("extract", "no_stream", "no_log"), ((bool,), "true or false")),
    **dict.fromkeys(("params", "options", "metadata"), ((dict,), "a table")),
    **dict.fromkeys(("tools", "agents", "attach", "fallback"), ((list,), "a list of texts")),
    "schema": ((str, dict), "a text or a table"),
    "thinking": ((str, int), "an effort or a number of tokens"),
}


def parse(text: str, source: str) -> Definition:
    """Read a file's text. Raises UsageError for what is no TOML, for unknown keys and for values of the wrong kind."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f'"{source}" is no TOML: {error}') from error
    definition = of_values(found, source)
    for tool in definition.tools:
        _check_tool(tool, source)
    return definition


def of_values(found: dict[str, Any], source: str) -> Definition:
    """Return the definition of such values. Raises UsageError for unknown keys and values of the wrong kind."""
    for key, value in found.items():
        _check(key, value, source)
    if "instructions" in found:
        if "system" in found:
            raise UsageError(f'"{source}" has both "system" and "instructions"', hint="they mean the same")
        found["system"] = found.pop("instructions")
    found["params"] = {name: _param(name, value, source) for name, value in found.get("params", {}).items()}
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    return Definition(source=source, **values)


def with_own_tools(definition: Definition, tools: Iterable[Mapping[str, Any]]) -> Definition:
    return replace(definition, own_tools=tuple(tools))


def known_keys() -> tuple[str, ...]:
    """Return the keys that a file may have, in the order of the help."""
    return tuple(one.name for one in fields(Definition) if one.name not in ("source", "own_tools"))


def _check(key: str, value: Any, source: str) -> None:
    if key not in _KINDS:

        def error(message: str, **more: Any) -> LlmctlError:
            return UsageError(f'"{source}": {message}', **more)

        raise unknown("key", key, _KINDS, error=error)
    kinds, words = _KINDS[key]
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if not fits or (list in kinds and not all(isinstance(item, str) for item in value)):
        raise UsageError(f'"{source}": "{key}" takes {words}')


def _check_tool(tool: str, source: str) -> None:
    """A file may narrow what a tool may do, never widen it: whoever wrote it is not who runs it."""
    name, _, permission = tool.partition(":")
    if permission in ("automatic", "auto"):
        raise UsageError(
            f'"{source}" may not grant "{tool}"', hint=f"grant it yourself: -T {tool}", reason="permission"
        )
    if not name:
        raise UsageError(f'"{source}": "tools" takes names')


def _param(name: str, value: Any, source: str) -> Param:
    if name in GIVEN or not name.isidentifier():
        raise UsageError(f'"{source}": no parameter may be named "{name}"')
    if not isinstance(value, dict):
        return Param(value)
    if value.keys() - {"default", "description"}:
        raise UsageError(f'"{source}": a parameter has "default" and "description"')
    return Param(**value)
