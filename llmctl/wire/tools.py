"""Make tools acceptable to a wire: names, schemas and the choice among them. What a tool itself validates is unchanged.

Loaded only for requests with tools, earlier calls or a tool choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Literal

from llmctl.core.chat import ChatRequest, Message, Part, StreamEvent, ToolCall, ToolCallDelta, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.wire.requests import NameRule, list_tools

#: How many hexadecimal digits tell apart names that would be the same in accepted characters.
_DIGEST_CHARS = 6


def prepare_tools(request: ChatRequest, rule: NameRule, *, limited: bool = False) -> ChatRequest:
    """Return the request with names, schemas and ``tool_choice`` (a :class:`ToolChoice`) that a wire takes.

    ``limited``: schemas have no references, combinations of types and formats (Gemini).
    """
    names = map_names(request, rule)
    tools = tuple(
        ToolSpec(names[tool.name], tool.description, to_parameters(tool.parameters, limited=limited))
        for tool in request.tools
    )
    options = request.options
    if "tool_choice" in options:
        options = {**options, "tool_choice": _parse_choice(options["tool_choice"], request, names)}
    messages = request.messages
    if any(original != sent for original, sent in names.items()):
        messages = tuple(_rename_parts(message, names) for message in messages)
    return request.replace(tools=tools, options=options, messages=messages)


# --- Names: each wire has its characters; a name it refuses is sent as another one, and mapped back in the answer.


def map_names(request: ChatRequest, rule: NameRule) -> dict[str, str]:
    """Return the name to send for each tool that is offered or was called; always the same for the same request."""
    known = dict.fromkeys(_list_names(request))
    accepted = re.compile(rf"[{rule.first}][{rule.rest}]{{0,{rule.max_chars - 1}}}")
    names = {name: name for name in known if accepted.fullmatch(name)}
    taken = set(names)
    for name in known:
        if name not in names:
            names[name] = sent = _to_valid_name(name, rule, taken)
            taken.add(sent)
    return names


def list_renamed(request: ChatRequest, rule: NameRule) -> dict[str, str]:
    """Return sent name -> own name of the tools that are sent under another name."""
    return {sent: name for name, sent in map_names(request, rule).items() if sent != name}


def restore_names(events: Iterable[StreamEvent], renamed: Mapping[str, str]) -> Iterator[StreamEvent]:
    """Yield the events with the tools' own names."""
    for event in events:
        if isinstance(event, ToolCallDelta) and event.name and event.name in renamed:
            event = event.replace(name=renamed[event.name])
        yield event


def _list_names(request: ChatRequest) -> Iterator[str]:
    yield from (tool.name for tool in request.tools)
    for message in request.messages:
        yield from (part.name for part in message.parts if isinstance(part, ToolCall | ToolResult) and part.name)


def _to_valid_name(name: str, rule: NameRule, taken: set[str]) -> str:
    valid = re.sub(rf"[^{rule.rest}]", "_", name)
    if not valid or not re.match(rf"[{rule.first}]", valid):
        valid = f"_{valid}" if re.match(rf"[{rule.first}]", "_") else f"tool{valid}"
    if len(valid) <= rule.max_chars and valid not in taken:
        return valid
    digest = sha256(name.encode("utf-8", "replace")).hexdigest()
    for length in range(_DIGEST_CHARS, len(digest)):
        sent = f"{valid[: rule.max_chars - length - 1]}_{digest[:length]}"
        if sent not in taken:
            return sent
    return digest[: rule.max_chars]


def _rename_parts(message: Message, names: Mapping[str, str]) -> Message:
    def rename(part: Part) -> Part:
        return part.replace(name=names.get(part.name, part.name)) if isinstance(part, ToolCall | ToolResult) else part

    return message.replace(parts=tuple(map(rename, message.parts)))


# --- The choice among tools: every provider spells it its own way, and users write any of them.


class ToolChoice(Value):
    """Which tools the model may call: its own decision, none, at least one, or these (as they are sent)."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()
    #: At most one call in an answer.
    is_single: bool = False


_MODES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
    "required": "required",
}


def _parse_choice(value: Any, request: ChatRequest, names: Mapping[str, str]) -> Any:
    """Return the choice that a value of any provider means; a value of an unknown shape is returned unchanged.

    Raises UsageError for the name of a tool that is not offered.
    """
    if isinstance(value, str):
        if value.lower() in _MODES:
            return ToolChoice(_MODES[value.lower()])
        _require_offered(value, request)
        return _choose((value,), names)
    if not isinstance(value, Mapping) or value.get("type") == "allowed_tools":
        return value
    inner = value.get("functionCallingConfig", value.get("function_calling_config", value))
    inner = inner if isinstance(inner, Mapping) else value
    is_single = bool(value.get("disable_parallel_tool_use"))
    if mode := _MODES.get(str(inner.get("mode", inner.get("type"))).lower()):
        allowed = inner.get("allowedFunctionNames", inner.get("allowed_function_names")) or ()
        return _choose(allowed, names).replace(mode=mode, is_single=is_single)
    function = value.get("function")
    name = function.get("name") if isinstance(function, Mapping) else value.get("name")
    if value.get("type") in ("function", "tool", None) and isinstance(name, str):
        return _choose((name,), names).replace(is_single=is_single)
    return value


def _choose(chosen: Iterable[str], names: Mapping[str, str]) -> ToolChoice:
    return ToolChoice("required", tuple(names.get(name, name) for name in chosen))


def _require_offered(name: str, request: ChatRequest) -> None:
    """Raise UsageError for the name of a tool that the request does not offer."""
    offered = [tool.name for tool in request.tools]
    for tool in list_tools(request.options.get("tools")):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        for holder in (function, tool):
            if isinstance(holder, Mapping):
                offered += [holder[key] for key in ("name", "type") if isinstance(holder.get(key), str)]
    if name in offered:
        return
    near = get_close_matches(name, [*offered, *_MODES], n=1)
    raise UsageError(
        f'tool_choice must be auto, none, required or an offered tool, got "{name}"',
        hint=f'did you mean "{near[0]}"?' if near else "offer the tool with -T, or use auto, none or required",
        reason="tool_choice",
    )


# --- Schemas. Arguments are validated against the tool's own schema before it runs, whatever was sent.

#: Keywords that combine schemas; wires refuse them at the root.
_COMBINED = ("anyOf", "oneOf", "allOf")
_REFUSED_AT_ROOT = (*_COMBINED, "not", "if", "then", "else", "enum", "const")
_IDENTITY = ("$schema", "$id", "id", "$anchor", "$comment", "$dynamicAnchor", "$vocabulary")
_DEFINITIONS = ("$defs", "definitions")
_MAPS = ("properties", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    *("items", "additionalItems", "contains", "propertyNames", "not", "if", "then", "else"),
    *("additionalProperties", "unevaluatedProperties", "unevaluatedItems"),
)
#: A schema whose references would make it larger than this keeps them.
_MAX_CHARS = 100_000
#: https://ai.google.dev/gemini-api/docs/structured-output#json_schema_support
_LIMITED = {
    *("type", "title", "description", "enum", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum"),
    *("anyOf", "oneOf", "properties", "additionalProperties", "required", "format", "propertyOrdering"),
    *("minLength", "maxLength", "pattern", "default", "example", "minProperties", "maxProperties", "nullable"),
}
_LIMITED_FORMATS = ("date-time", "date", "time", "int32", "int64", "float", "double")


def to_parameters(schema: Any, *, limited: bool = False) -> dict[str, Any]:
    """Return the schema of a tool's arguments as every wire takes it: one object with named properties.

    References are replaced by what they refer to, once each on a path: a recursive schema ends there.
    """
    whole = schema if isinstance(schema, Mapping) else {}
    root = _merge_root(_Expander(whole, limited=limited).expand_root(whole))
    if root.get("type") != "object":
        root = {**root, "type": "object"} if "type" in root else {"type": "object", **root}
    root.setdefault("properties", {})
    reduced: dict[str, Any] = _reduce(root) if limited else root
    return reduced


class _Expander:
    """Replaces references, and the forms of JSON Schema that wires refuse."""

    def __init__(self, whole: Mapping[str, Any], *, limited: bool) -> None:
        self._whole = whole
        self._chars = 0
        self._limited = limited

    def expand_root(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        expanded = self._expand(schema, ())
        if self._chars <= _MAX_CHARS or self._limited:
            return expanded
        # The references stay, and with them what they refer to.
        return {name: value for name, value in schema.items() if name not in _IDENTITY}

    def _expand(self, schema: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """Return a schema without references; ``path`` are those that led to it."""
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, Mapping):
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            return self._expand_reference(schema, reference, path)
        expanded = {
            name: self._expand_value(name, value, path)
            for name, value in schema.items()
            if name not in _IDENTITY and name not in _DEFINITIONS
        }
        return _complete(expanded)

    def _expand_value(self, name: str, value: Any, path: tuple[str, ...]) -> Any:
        if name in _MAPS and isinstance(value, Mapping):
            return {key: self._expand(inner, path) for key, inner in value.items()}
        if name in _LISTS and isinstance(value, list | tuple):
            return [self._expand(inner, path) for inner in value]
        if name == "items" and isinstance(value, list | tuple):  # a tuple of older drafts
            return {"anyOf": [self._expand(inner, path) for inner in value]} if value else {}
        if name in _SINGLE and isinstance(value, Mapping):
            return self._expand(value, path)
        return {} if name == "items" else value

    def _expand_reference(self, schema: Mapping[str, Any], reference: str, path: tuple[str, ...]) -> dict[str, Any]:
        target = _resolve(self._whole, reference)
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        if reference in path or self._chars > _MAX_CHARS:
            kept = {name: target[name] for name in ("type", "title", "description") if name in target}
            return self._expand({**kept, **beside}, path)
        self._chars += len(dumps(target))
        expanded = self._expand(target, (*path, reference))
        return {**expanded, **self._expand(beside, path)} if beside else expanded


def _complete(schema: dict[str, Any]) -> dict[str, Any]:
    """Add what OpenAI's check of schemas misses: the properties of an object, the items of an array."""
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list | tuple) else [kinds]
    if "object" in kinds and "properties" not in schema:
        schema["properties"] = {}
    if "array" in kinds and "items" not in schema:
        schema["items"] = {}
    return schema


def _resolve(whole: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    """Return what a reference within the schema refers to; an empty schema if there is nothing."""
    if reference.startswith("#") and not reference.startswith("#/") and reference != "#":
        return _find_anchor(whole, reference[1:])
    found: Any = whole if reference.startswith("#") else {}
    for step in reference.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~").replace("%24", "$").replace("%20", " ")
        if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _find_anchor(whole: Mapping[str, Any], anchor: str) -> Mapping[str, Any]:
    definitions = (whole.get(name) for name in _DEFINITIONS)
    schemas = (schema for found in definitions if isinstance(found, Mapping) for schema in found.values())
    matches = (s for s in schemas if isinstance(s, Mapping) and anchor in (s.get("$anchor"), str(s.get("$id"))[1:]))
    return next(matches, {})


def _merge_root(schema: dict[str, Any]) -> dict[str, Any]:
    """Return one object for a root that combines several; the description tells the model what was combined."""
    combined = {name: schema[name] for name in _REFUSED_AT_ROOT if name in schema}
    if not combined:
        return schema
    root = {name: value for name, value in schema.items() if name not in combined}
    required = dict.fromkeys(root.get("required") or ())
    properties = dict(root.get("properties") or {})
    for name in _COMBINED:
        branches = [_merge_root(dict(branch)) for branch in combined.get(name) or () if isinstance(branch, Mapping)]
        for branch in branches:
            for key, value in (branch.get("properties") or {}).items():
                properties[key] = _join_schemas(properties[key], value) if key in properties else value
        needed = [dict.fromkeys(branch.get("required") or ()) for branch in branches]
        if needed:
            shared = [key for one in needed for key in one if name == "allOf" or all(key in other for other in needed)]
            required |= dict.fromkeys(shared)
    root["properties"] = properties
    if required:
        root["required"] = list(required)
    return _describe(root, combined)


def _join_schemas(first: Any, second: Any) -> Any:
    """Return a schema for a property that several branches define."""
    if first == second or not second:
        return first
    if not first:
        return second
    known = first["anyOf"] if isinstance(first, Mapping) and set(first) == {"anyOf"} else [first]
    return first if second in known else {"anyOf": [*known, second]}


def _describe(schema: dict[str, Any], dropped: Mapping[str, Any]) -> dict[str, Any]:
    text = dumps(dropped)
    if dropped and len(text) <= 1000:
        described = [str(schema["description"])] if schema.get("description") else []
        schema["description"] = "\n\n".join([*described, text])
    return schema


def _reduce(schema: Any) -> Any:
    """Return a schema with only the keywords of Gemini's subset; the others are told in the description."""
    if not isinstance(schema, Mapping):
        return schema
    source = _merge_all_of(dict(schema))
    if "const" in source:
        source.setdefault("enum", [source.pop("const")])
    kinds = source.get("type")
    if isinstance(kinds, list | tuple):
        del source["type"]
        variants = [{"type": kind} for kind in kinds]
        if len(variants) == 1:
            source |= variants[0]
        elif "anyOf" not in source and variants:
            source = _move_into_variants(source, kinds)
    reduced = {name: _reduce_value(name, value) for name, value in source.items() if _is_in_subset(name, value)}
    dropped = {name: value for name, value in source.items() if name not in reduced and name != "not"}
    return _describe(reduced, dropped)


def _merge_all_of(schema: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for branch in schema.pop("allOf", ()):
        for name, value in branch.items():
            if name == "properties":
                value = {**merged.get(name, {}), **value}
            elif name == "required":
                value = list(dict.fromkeys([*merged.get(name, ()), *value]))
            merged[name] = value
    if "properties" in merged and "properties" in schema:
        schema["properties"] = {**merged["properties"], **schema["properties"]}
    return {**merged, **schema}


def _move_into_variants(schema: Mapping[str, Any], kinds: Iterable[str]) -> dict[str, Any]:
    """Return ``anyOf`` one schema per type: what describes objects and arrays belongs to those."""
    of_kind = {
        "object": ("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
        "array": ("items", "prefixItems", "minItems", "maxItems"),
        "string": ("format", "pattern", "minLength", "maxLength"),
    }
    placed = {name for names in of_kind.values() for name in names}
    variants = [{"type": k} | {name: schema[name] for name in of_kind.get(k, ()) if name in schema} for k in kinds]
    return {name: value for name, value in schema.items() if name not in placed} | {"anyOf": variants}


def _is_in_subset(name: str, value: Any) -> bool:
    return name in _LIMITED and (name != "format" or value in _LIMITED_FORMATS)


def _reduce_value(name: str, value: Any) -> Any:
    if name == "properties" and isinstance(value, Mapping):
        return {key: _reduce(inner) for key, inner in value.items()}
    if name in _LISTS and isinstance(value, list | tuple):
        return [_reduce(inner) for inner in value]
    return _reduce(value) if name in ("items", "additionalProperties") else value
