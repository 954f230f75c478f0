"""Turn the user's description of a tool into columns: validated, and never with a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmctl.core.errors import UsageError
from llmctl.core.redaction import mask_keys
from llmctl.core.stored_values import dumps, loads
from llmctl.core.tools import Tool, require_valid_name
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.tools import context as tools_context
from llmctl.store.records.types import ToolRow
from llmctl.tools import TYPES, Discovered, json_schema, templates

_SCRIPT_TYPES = {".py": "python", ".js": "nextJsScript", ".mjs": "nextJsScript", ".cjs": "nextJsScript"}


@dataclass(frozen=True, slots=True)
class ToolSpecInput:
    """The user's description of a tool; None: not given. Keys of ``data`` that are None are removed."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


class NewTools(NamedTuple):
    """Columns of new tools, and why other tools of the same source cannot be used."""

    columns: list[dict[str, Any]]
    problems: list[str]


def new_tool_columns(spec: ToolSpecInput, runtime: RuntimeEnv, hub_path: str) -> NewTools:
    """Return the columns of new tools: one, or all tools of an MCP server, named ``NAME_tool``.

    Raises UsageError if none of them can be used.
    """
    kind = spec.type or _detect_type(spec)
    tool_type = TYPES.load(kind)
    data = _validate_data(kind, _without_nulls(spec.data) | _builtin_name(kind, spec))
    if tool_type.discover is None:
        return NewTools([_tool_columns(kind, spec, data)], [])
    contexts = tools_context.ToolContextFactory(runtime, hub_path)
    try:
        context = contexts.create(Tool(spec.name or "", kind, data=data), lambda data: None)
        discovered = tool_type.discover(spec.name or "", data, context)
    finally:
        contexts.sessions.close()
    usable: list[dict[str, Any]] = []
    problems: list[UsageError] = []
    for tool in discovered:
        try:
            usable.append(_discovered_columns(kind, spec, tool))
        except UsageError as error:
            problems.append(error)
            error.message = f'cannot use the tool "{tool.name}": {error.message}'
    if not usable:
        raise problems[0]
    return NewTools(usable, [error.message for error in problems])


def changed_tool_columns(spec: ToolSpecInput, old: ToolRow) -> dict[str, Any]:
    """Return the changed columns of a tool."""
    changes: dict[str, Any] = {}
    if spec.type and spec.type != old.type:
        raise UsageError("cannot change the type of a tool", hint="add a new one: llmctl tool add")
    if spec.name is not None:
        changes["name"] = require_valid_name(spec.name)
    if spec.description is not None:
        changes["description"] = spec.description
    if spec.schema is not None:
        changes["schema"] = _encode_schema(spec.schema)
    if spec.data:
        changes["data"] = dumps(_validate_data(old.type, _without_nulls({**loads(old.data, {}), **spec.data})))
    return changes


def _tool_columns(kind: str, spec: ToolSpecInput, data: dict[str, Any]) -> dict[str, Any]:
    default = _describe_itself(kind, data)
    return {
        "name": require_valid_name(spec.name or ""),
        "type": kind,
        "description": spec.description if spec.description is not None else default.description,
        "schema": _encode_schema(spec.schema if spec.schema is not None else default.schema),
        "data": dumps(data),
    }


def _discovered_columns(kind: str, spec: ToolSpecInput, discovered: Discovered) -> dict[str, Any]:
    if discovered.problem:
        raise UsageError(discovered.problem)
    return {
        "name": require_valid_name(discovered.name),
        "type": kind,
        "description": spec.description if spec.description is not None else discovered.description,
        "schema": _encode_schema(spec.schema if spec.schema is not None else discovered.schema),
        "data": dumps(dict(discovered.data)),
    }


def _describe_itself(kind: str, data: Mapping[str, Any]) -> Discovered:
    """Return the description built into a tool: all of it for built-in tools, else the slots of its templates."""
    if kind == "builtin":
        from llmctl.tools.builtin import BUILTINS

        builtin = BUILTINS[data["builtin"]]
        return Discovered(data["builtin"], builtin.description, builtin.schema, data)
    values = [data.get("command"), data.get("url"), data.get("query"), data.get("headers"), data.get("body")]
    names = list(dict.fromkeys(name for text in _collect_texts(values) for name in templates.list_slots(text)))
    if not names:
        return Discovered("", "", {"type": "object"}, data)
    properties = {name: {"type": "string"} for name in names}
    return Discovered("", "", {"type": "object", "properties": properties, "required": names}, data)


def _collect_texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    return [text for item in value or () for text in _collect_texts(item)]


def _detect_type(spec: ToolSpecInput) -> str:
    """Detect the type from the description."""
    from llmctl.tools.builtin import BUILTINS

    data = spec.data
    if data.get("builtin") or spec.name in BUILTINS:
        return "builtin"
    script = next((kind for end, kind in _SCRIPT_TYPES.items() if str(data.get("file") or "").endswith(end)), None)
    tests: list[tuple[Any, str | None]] = [
        (data.get("server"), "mcp"),
        (data.get("url"), "http"),
        (data.get("module"), "python"),
        (script, script),
        (data.get("command"), "command"),
    ]
    detected = next((kind for value, kind in tests if value), None)
    if detected is None:
        raise UsageError(
            "the tool has no command, URL, file, module or server",
            hint="pass --command, --url, --file, --module or --mcp, or the name of a built-in tool",
        )
    return detected


def _builtin_name(kind: str, spec: ToolSpecInput) -> dict[str, Any]:
    return {"builtin": spec.data.get("builtin") or spec.name} if kind == "builtin" else {}


def _validate_data(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    tools_context.validate_limits(data)
    validated = TYPES.load(kind).checked(data)
    if mask_keys(text := dumps(validated)) != text:
        raise UsageError("the tool seems to contain a key", hint="use a reference instead, such as env:API_KEY")
    return validated


def _without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _encode_schema(schema: Any) -> str:
    json_schema.validate_schema(schema)
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise UsageError("the arguments of a tool must be an object", hint='{"type": "object", "properties": {}}')
    return dumps(schema)
