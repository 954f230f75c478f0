"""Tools from what the user says: checked before they are kept, never with a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.core.stored_json import dumps
from llmctl.core.tools import Tool, check_name
from llmctl.engine.tools import context as tools_context
from llmctl.engine.turn.options import Surroundings
from llmctl.tools import TYPES, Discovered, json_schema, templates

_SCRIPTS = {".py": "python", ".js": "nextJsScript", ".mjs": "nextJsScript", ".cjs": "nextJsScript"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user says of a tool; None leaves it as it is. What is None in ``data`` is taken away."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def made(wish: Wish, around: Surroundings, hub_path: str) -> list[dict[str, Any]]:
    """Return new tools as columns: one, or all that a server offers, each then named ``NAME_tool``."""
    kind = wish.type or _type(wish)
    tool_type = TYPES.load(kind)
    data = _checked(kind, _cleared(wish.data) | _builtin_name(kind, wish))
    if tool_type.discover is None:
        return [_columns(kind, wish, data)]
    lender = tools_context.Lender(around, hub_path)
    try:
        context = lender.context(Tool(wish.name or "", kind, data=data), lambda piece: None)
        found = tool_type.discover(wish.name or "", data, context)
    finally:
        lender.sessions.close()
    return [_discovered(kind, wish, one) for one in found]


def changed(wish: Wish, old: Mapping[str, Any]) -> dict[str, Any]:
    """Return what changes of a tool (a record), as columns."""
    changes: dict[str, Any] = {}
    if wish.type and wish.type != old["type"]:
        raise UsageError("the type of a tool does not change", hint="add another tool")
    if wish.name is not None:
        changes["name"] = check_name(wish.name)
    if wish.description is not None:
        changes["description"] = wish.description
    if wish.schema is not None:
        changes["schema"] = _schema(wish.schema)
    if wish.data:
        changes["data"] = dumps(_checked(old["type"], _cleared({**old["data"], **wish.data})))
    return changes


def _columns(kind: str, wish: Wish, data: dict[str, Any]) -> dict[str, Any]:
    own = _own(kind, data)
    return {
        "name": check_name(wish.name or ""),
        "type": kind,
        "description": wish.description if wish.description is not None else own.description,
        "schema": _schema(wish.schema if wish.schema is not None else own.schema),
        "data": dumps(data),
    }


def _discovered(kind: str, wish: Wish, found: Discovered) -> dict[str, Any]:
    return {
        "name": check_name(found.name),
        "type": kind,
        "description": wish.description if wish.description is not None else found.description,
        "schema": _schema(wish.schema if wish.schema is not None else found.schema),
        "data": dumps(dict(found.data)),
    }


def _own(kind: str, data: Mapping[str, Any]) -> Discovered:
    """Return what a tool says of itself: a built-in one all, others the slots of their templates."""
    if kind == "builtin":
        from llmctl.tools.builtin import BUILTINS

        found = BUILTINS[data["builtin"]]
        return Discovered(data["builtin"], found.description, found.schema, data)
    words = [data.get("command"), data.get("url"), data.get("query"), data.get("headers"), data.get("body")]
    names = list(dict.fromkeys(name for text in _texts(words) for name in templates.slots(text)))
    if not names:
        return Discovered("", "", {"type": "object"}, data)
    properties = {name: {"type": "string"} for name in names}
    return Discovered("", "", {"type": "object", "properties": properties, "required": names}, data)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    return [text for item in value or () for text in _texts(item)]


def _type(wish: Wish) -> str:
    """Tell the type by what is said of the tool."""
    from llmctl.tools.builtin import BUILTINS

    data = wish.data
    if data.get("builtin") or wish.name in BUILTINS:
        return "builtin"
    script = next((kind for end, kind in _SCRIPTS.items() if str(data.get("file") or "").endswith(end)), None)
    tests: list[tuple[Any, str | None]] = [
        (data.get("server"), "mcp"),
        (data.get("url"), "http"),
        (data.get("module"), "python"),
        (script, script),
        (data.get("command"), "command"),
    ]
    found = next((kind for said, kind in tests if said), None)
    if found is None:
        raise UsageError(
            "say what the tool is", hint="--command, --url, --file, --module, --mcp, or the name of a built-in one"
        )
    return found


def _builtin_name(kind: str, wish: Wish) -> dict[str, Any]:
    return {"builtin": wish.data.get("builtin") or wish.name} if kind == "builtin" else {}


def _checked(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    tools_context.check_limits(data)
    found = TYPES.load(kind).checked(data)
    if mask_keys(text := dumps(found)) != text:
        raise UsageError("the tool looks like it holds a key", hint="give it as a reference: env:VARIABLE, file:PATH …")
    return found


def _cleared(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _schema(schema: Any) -> str:
    json_schema.check(schema)
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise UsageError("the arguments of a tool are an object", hint='{"type": "object", "properties": {}}')
    return dumps(schema)
