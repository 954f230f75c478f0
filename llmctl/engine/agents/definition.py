"""Prompt files and agent files in TOML: their keys and values."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.options import TURN_OPTIONS, Kind, Option, TurnOptions, check_value, options_for
from llmctl.core.registry import unknown_name_error
from llmctl.core.values import Value

#: Template variables besides the parameters.
RESERVED_PARAMS = ("args", "stdin")


@dataclass(frozen=True, slots=True)
class TemplateParam:
    """A parameter of the templates; required if the default is None."""

    default: Any = None
    description: str | None = None


class OwnTool(Value):
    """A tool that the Python file of an agent defines; ``data`` are its file and function."""

    name: str
    description: str
    schema: Mapping[str, Any]
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Definition:
    """A prompt file or agent file. ``system`` and ``prompt`` are templates; None or empty: not set.

    ``instructions`` is an alias of ``system``; paths in ``attach`` and ``schema`` are not resolved.
    """

    #: Name of the file, for messages.
    source: str = ""
    name: str | None = None
    description: str | None = None
    system: str | None = None
    prompt: str | None = None
    params: Mapping[str, TemplateParam] = field(default_factory=dict)
    #: The options of a turn. Its ``tools`` are ``NAME`` or ``NAME:PERMISSION``, never an automatic one.
    turn: TurnOptions = field(default_factory=TurnOptions)
    #: Sub-agents.
    agents: tuple[str, ...] = ()
    no_log: bool = False
    #: Tools defined in the file itself; Python files only.
    own_tools: tuple[OwnTool, ...] = ()


def _key(name: str, kind: Kind = "text") -> Option:
    return Option(name, kind, "", allows_empty=True)


#: Keys that are no option of a turn.
_OWN_KEYS = (
    *(_key(name) for name in ("name", "description", "system", "instructions", "prompt")),
    *(_key("params", "pairs"), _key("agents", "list"), _key("no_log", "switch")),
)
#: All keys of a file, with the values they take.
KEYS: Mapping[str, Option] = {entry.name: entry for entry in (*_OWN_KEYS, *options_for("file"))}


def parse_definition(text: str, source: str) -> Definition:
    """Parse the text of a file. Raises UsageError for invalid TOML, unknown keys and values of the wrong type."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f'"{source}" is not valid TOML: {error}') from error
    except RecursionError:
        raise UsageError(f'"{source}" is not valid TOML: it is nested too deeply') from None
    definition = from_values(values, source)
    for tool in definition.turn.tools:
        _validate_tool(tool, source)
    return definition


def from_values(values: Mapping[str, Any], source: str) -> Definition:
    """Return a definition with these values. Raises UsageError for unknown keys and invalid values."""
    checked = {key: check_value(_find_key(key, source), value, f'"{source}": {key}') for key, value in values.items()}
    if "instructions" in checked:
        if "system" in checked:
            raise UsageError(f'"{source}" has both "system" and "instructions"', hint="remove one: they are the same")
        checked["system"] = checked.pop("instructions")
    params = {name: _parse_param(name, value, source) for name, value in checked.pop("params", {}).items()}
    turn = {key: checked.pop(key) for key in tuple(checked) if key in TURN_OPTIONS}
    return Definition(source=source, params=params, turn=TurnOptions(**turn), **checked)


def with_own_tools(definition: Definition, tools: Iterable[OwnTool]) -> Definition:
    return replace(definition, own_tools=tuple(tools))


def _find_key(name: str, source: str) -> Option:
    if name not in KEYS:

        def error(message: str, **more: Any) -> LlmctlError:
            return UsageError(f'"{source}": {message}', **more)

        raise unknown_name_error("key", name, KEYS, error=error)
    return KEYS[name]


def _validate_tool(tool: str, source: str) -> None:
    """Refuse automatic permission: a file may come from another person, so it may only narrow permissions."""
    name, _, permission = tool.partition(":")
    if permission in ("automatic", "auto"):
        raise UsageError(f'"{source}" cannot grant "{tool}"', hint=f"grant it yourself: -T {tool}", reason="permission")
    if not name:
        raise UsageError(f'"{source}": tools must be a list of names, got "{tool}"')


def _parse_param(name: str, value: Any, source: str) -> TemplateParam:
    if name in RESERVED_PARAMS or not name.isidentifier():
        raise UsageError(f'"{source}": invalid parameter name "{name}"')
    if not isinstance(value, dict):
        return TemplateParam(value)
    if value.keys() - {"default", "description"}:
        raise UsageError(f'"{source}": parameter "{name}" may only have "default" and "description"')
    return TemplateParam(**value)


# --- definitions as text


def format_definition(definition: Definition) -> str:
    """Return the text of a prompt file that :func:`parse_definition` reads as this definition.

    Raises UsageError for what TOML cannot hold: a null.
    """
    turn = definition.turn.to_dict()
    values: dict[str, Any] = {"description": definition.description}
    values |= {name: turn.pop(name, None) for name in ("model", "connection")}
    values |= {"system": definition.system, "prompt": definition.prompt, **turn}
    values["options"] = {_mark_option(name, value): value for name, value in definition.turn.options.items()}
    values |= {"agents": definition.agents, "no_log": definition.no_log}
    lines = [f"{name} = {_format_value(name, value)}\n" for name, value in values.items() if _is_given(value)]
    if definition.params:
        lines.append("\n[params]\n")
        lines += [f"{_format_key(name)} = {_format_param(name, param)}\n" for name, param in definition.params.items()]
    return "".join(lines)


#: What a TOML string may not hold as it is, besides what JSON escapes (https://toml.io/en/v1.0.0#string).
_TOML_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def _is_given(value: Any) -> bool:
    """Return whether a value is not the same as a missing key; 0 is a value."""
    return bool(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def _mark_option(name: str, value: Any) -> str:
    """Return the name of a model option, with the ``:`` of those that are sent as they are."""
    from llmctl.core.model_options import check_model_options

    try:
        check_model_options({name: value}, name)
    except UsageError:
        return f"{name}:"
    return name


def _format_param(name: str, param: TemplateParam) -> str:
    if param.description is None and param.default is not None and not isinstance(param.default, Mapping):
        return _format_value(name, param.default)
    values = {"description": param.description, "default": param.default}
    return _format_value(name, {key: value for key, value in values.items() if value is not None})


def _format_value(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() if "\n" in value:
            return _format_lines(value)
        case str():
            return _escape_controls(json.dumps(value, ensure_ascii=False))
        case int() | float():
            return repr(value)
        case Mapping():
            pairs = ", ".join(f"{_format_key(key)} = {_format_value(name, item)}" for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list() | tuple():
            return f"[{', '.join(_format_value(name, item) for item in value)}]"
    raise UsageError(f'"{name}" cannot be kept in a prompt file: TOML has no null')


def _format_lines(text: str) -> str:
    """Return a text as a string of several lines; what it escapes, tomllib reads back."""
    if "'''" not in text and not text.endswith("'") and not _TOML_CONTROL.search(text):
        return f"'''\n{text}'''"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"""\n{_escape_controls(escaped)}"""'


def _escape_controls(text: str) -> str:
    return _TOML_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _format_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
