"""Call or describe a user's function: ``call_python.py call|describe {"file"|"module", "function"} FALLBACK_PATH``.

``call_python.py agent {"file", "class"} FALLBACK_PATH`` prints the definition of an agent class.

Arguments are read as JSON from stdin, the result is written as JSON to stdout; what the function prints goes to stderr.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import marshal
import os
import sys
import typing
from typing import Any

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}


def main() -> None:
    action, source, fallback = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # printed text is not part of the result
    sys.path.append(fallback)
    module = load_module(source)
    if action == "agent":
        answer = describe_agent(module, source.get("class"))
    else:
        function = as_function(getattr(module, source.get("function") or find_only_function(module)))
        answer = describe_function(function) if action == "describe" else call_function(function, json.load(sys.stdin))
    json.dump(answer, results, default=str)
    results.close()


def load_module(source: dict[str, Any]) -> Any:
    if source.get("file"):
        path = source["file"]
        sys.path.insert(0, os.path.dirname(path))
        spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(source["module"])
    return module


def as_function(tool: Any) -> Any:
    """Return what a tool runs: a function itself, ``execute`` of a class or object that has it, or ``__call__``."""
    if inspect.isclass(tool) and hasattr(tool, "execute"):
        tool = tool()
    if hasattr(tool, "execute"):
        return tool.execute
    is_plain = inspect.isroutine(tool) or inspect.isclass(tool) or hasattr(tool, "__wrapped__") or is_partial(tool)
    return tool if is_plain or not callable(tool) else tool.__call__


def is_partial(tool: Any) -> bool:
    return isinstance(tool, functools.partial)


def tool_attributes(tool: Any) -> dict[str, Any]:
    """Return what a tool says of itself: ``name description schema permission timeout``, or its ``definition``.

    A ``definition`` is one of NodeLLM or OpenAI: ``{"name", "description", "parameters"}``.
    """
    if inspect.isclass(tool) and hasattr(tool, "execute"):
        tool = tool()
    found = {name: getattr(tool, name, None) for name in ("name", "description", "schema", "permission", "timeout")}
    definition = getattr(tool, "definition", None)
    definition = definition() if callable(definition) else definition
    if isinstance(definition, dict):
        definition = definition.get("function", definition)
        said = {**definition, "schema": definition.get("parameters", definition.get("schema"))}
        found = {name: said.get(name) if value is None else value for name, value in found.items()}
    if hasattr(tool, "execute") or not hasattr(tool, "__name__"):
        owner = tool.func if is_partial(tool) else type(tool)
        found["name"] = found["name"] or getattr(owner, "__name__", None)
        found["description"] = found["description"] or (inspect.getdoc(owner) or "").partition("\n\n")[0] or None
    found["schema"] = describe_class(found["schema"]) if found["schema"] is not None else None
    return {name: value for name, value in found.items() if value is not None}


def describe_class(schema: Any) -> Any:
    """Return the JSON Schema of a pydantic model, a dataclass or a TypedDict; anything else is returned unchanged."""
    if hasattr(schema, "model_json_schema"):
        return schema.model_json_schema()
    is_class = inspect.isclass(schema) and (dataclasses.is_dataclass(schema) or typing.is_typeddict(schema))
    return schema_for(schema) if is_class else schema


def schema_of_fields(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass or a TypedDict."""
    text = inspect.getdoc(kind) or ""
    if dataclasses.is_dataclass(kind):
        missing = dataclasses.MISSING
        fields = [one for one in dataclasses.fields(kind) if one.init]
        names = [one.name for one in fields]
        required = [one.name for one in fields if one.default is missing and one.default_factory is missing]
    else:
        # Annotations that are strings do not count in ``__required_keys__``.
        origins = {
            name: typing.get_origin(hint) for name, hint in typing.get_type_hints(kind, include_extras=True).items()
        }
        names = list(origins)
        required = [
            name
            for name, origin in origins.items()
            if origin is typing.Required or (origin is not typing.NotRequired and name in kind.__required_keys__)
        ]
    hints = typing.get_type_hints(kind)
    properties = {name: schema_for(hints[name]) | describe_parameter(text, name) for name in names}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def find_only_function(module: Any) -> str:
    """Return the name of the only public function that a module defines."""
    names: list[str] = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    if len(names) != 1:
        sys.exit(f"name the function; the module has {', '.join(names) or 'none'}")
    return names[0]


def call_function(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        value = function(**arguments)
        if inspect.iscoroutine(value):
            import asyncio

            value = asyncio.run(value)
    except Exception as error:
        if is_halt(error):
            return {"halt": str(error)}
        import traceback

        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}" if str(error) else type(error).__name__}
    return {"halt": str(value.content)} if is_halt(value) else {"result": value}


def is_halt(value: object) -> bool:
    return type(value).__name__ == "Halt" and hasattr(value, "content")


def describe_function(function: Any) -> dict[str, Any]:
    written = function.func if is_partial(function) else function
    text = inspect.getdoc(written) or ""
    hints = typing.get_type_hints(written)
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        properties[name] = schema_for(hints.get(name)) | describe_parameter(text, name)
        if parameter.default is parameter.empty:
            required.append(name)
        elif isinstance(parameter.default, (str, int, float, bool)):
            properties[name]["default"] = parameter.default
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {**describe_name(written), "schema": schema}


def describe_name(function: Any) -> dict[str, str]:
    """Return a function's name and the first paragraph of its docstring."""
    text = inspect.getdoc(function) or ""
    return {"name": getattr(function, "__name__", ""), "description": text.partition("\n\n")[0]}


def describe_agent(module: Any, name: str | None) -> dict[str, Any]:
    """Return the keys of an agent definition, with the functions of the file itself as ``own_tools``."""
    classes: dict[str, Any] = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value) and hasattr(value, "agent_name") and value.__module__ == module.__name__
    }
    if name not in classes and (name is not None or len(classes) != 1):
        sys.exit(f"it has the classes {', '.join(classes)}" if classes else "it has no subclass of Agent")
    agent_class = classes[name] if name is not None else next(iter(classes.values()))
    if not agent_class.has_fixed_instructions():
        sys.exit("its instructions are a function, which only works inside a program; use a template")
    definition = agent_class.words()
    if "schema" in definition:
        definition["schema"] = describe_class(definition["schema"])
    if agent_class.instructions:
        definition["instructions"] = agent_class.instructions
    tools = [tool for tool in agent_class.tools if isinstance(tool, str)]
    own_tools = [describe_tool(module, tool) for tool in agent_class.tools if not isinstance(tool, str)]
    return {**definition, "tools": tools, "own_tools": own_tools}


def describe_tool(module: Any, function: Any) -> dict[str, Any]:
    """Describe a tool of an agent, with the name that its file gives it."""
    key = next((key for key, value in vars(module).items() if value is function), None)
    if key is None:
        sys.exit(f"its tool {getattr(function, '__name__', function)!r} has no name in the file")
    attributes = {"permission": "automatic", "timeout": None, **tool_attributes(function)}
    described = describe_function(as_function(function)) if "schema" not in attributes else describe_name(function)
    return {**described, **attributes, "function": key, "source": source_hash(function)}


def source_hash(function: Any) -> str:
    """Return the fingerprint of a function's source, or of its code if there is no source."""
    function = inspect.unwrap(function)
    if not hasattr(function, "__name__"):  # an object: its class is the source
        function = function.func if is_partial(function) else type(function)
    try:
        text = inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = marshal.dumps(code) if code else repr(function).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def schema_for(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema for an annotation; empty for one without an equivalent."""
    if inspect.isclass(hint) and (dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)):
        return schema_of_fields(hint)
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return {"enum": [one.value for one in hint]}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin in (list, tuple, set) or str(origin) == "<class 'collections.abc.Sequence'>":
        return {"type": "array"} | ({"items": schema_for(inner[0])} if inner else {})
    if origin is dict or str(origin) == "<class 'collections.abc.Mapping'>":
        return {"type": "object"}
    if type(None) in inner:
        schemas = [schema_for(option) for option in inner if option is not type(None)]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {}


def describe_parameter(text: str, name: str) -> dict[str, str]:
    """Return the description of a parameter in a docstring: ``name: text`` or ``:param name: text``."""
    for line in text.splitlines():
        line = line.strip().removeprefix(":param").strip()
        key, colon, description = line.partition(":")
        if colon and description.strip() and key.partition("(")[0].strip() == name:
            return {"description": description.strip()}
    return {}


if __name__ == "__main__":
    main()
