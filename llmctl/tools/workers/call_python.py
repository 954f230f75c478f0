"""Calls a function of the user's: ``call_python.py call|describe {"file"|"module", "function"} FALLBACK_PATH``.

``agent {"file", "class"}`` tells what an agent's class says of itself.

Arguments come as JSON on stdin, the result goes as JSON to stdout; what the function prints goes to stderr.
"""

from __future__ import annotations

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
    os.dup2(2, 1)  # what is printed is no result
    sys.path.append(fallback)
    module = load(source)
    if action == "agent":
        answer = agent(module, source.get("class"))
    else:
        function = getattr(module, source.get("function") or only(module))
        answer = describe(function) if action == "describe" else call(function, json.load(sys.stdin))
    json.dump(answer, results, default=str)
    results.close()


def load(source: dict[str, Any]) -> Any:
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


def only(module: Any) -> str:
    """Return the name of the one public function that a module defines."""
    names: list[str] = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    if len(names) != 1:
        sys.exit(f"name the function: there are {', '.join(names) or 'none'}")
    return names[0]


def call(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
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


def describe(function: Any) -> dict[str, Any]:
    text = inspect.getdoc(function) or ""
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        properties[name] = schema_of(hints.get(name)) | described(text, name)
        if parameter.default is parameter.empty:
            required.append(name)
        elif isinstance(parameter.default, (str, int, float, bool)):
            properties[name]["default"] = parameter.default
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {**told(function), "schema": schema}


def told(function: Any) -> dict[str, str]:
    """Return a function's name and what its docstring says it is for."""
    text = inspect.getdoc(function) or ""
    return {"name": getattr(function, "__name__", ""), "description": text.partition("\n\n")[0]}


def agent(module: Any, name: str | None) -> dict[str, Any]:
    """Return the keys of an agent's file, and under ``own_tools`` the functions that stand in it."""
    kinds: dict[str, Any] = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value) and hasattr(value, "agent_name") and value.__module__ == module.__name__
    }
    if name not in kinds and (name is not None or len(kinds) != 1):
        sys.exit(f"it has the classes {', '.join(kinds)}" if kinds else "it has no class that derives from Agent")
    kind = kinds[name] if name is not None else next(iter(kinds.values()))
    if not kind.has_fixed_instructions():
        sys.exit("its instructions are a function, which only a program can call; a template does here")
    said = kind.words()
    if hasattr(said.get("schema"), "model_json_schema"):
        said["schema"] = said["schema"].model_json_schema()
    if kind.instructions:
        said["instructions"] = kind.instructions
    named = [one for one in kind.tools if isinstance(one, str)]
    own = [own_tool(module, one) for one in kind.tools if not isinstance(one, str)]
    return {**said, "tools": named, "own_tools": own}


def own_tool(module: Any, function: Any) -> dict[str, Any]:
    """Return a tool of an agent's with the name that its file has for it."""
    place = next((key for key, value in vars(module).items() if value is function), None)
    if place is None:
        sys.exit(f"its tool {getattr(function, '__name__', function)!r} has no name in the file itself")
    found = describe(function)
    said = {word: getattr(function, word, None) for word in ("name", "description", "schema", "timeout")}
    found |= {word: value for word, value in said.items() if value is not None}
    more = {"permission": getattr(function, "permission", "automatic"), "timeout": said["timeout"]}
    return {**found, **more, "function": place, "source": source_hash(function)}


def source_hash(function: Any) -> str:
    """Return the fingerprint of a function's source; of one whose source is nowhere, that of its code."""
    function = inspect.unwrap(function)
    try:
        text = inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = marshal.dumps(code) if code else repr(function).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of an annotation; one that says nothing for what has none."""
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin in (list, tuple, set) or str(origin) == "<class 'collections.abc.Sequence'>":
        return {"type": "array"} | ({"items": schema_of(inner[0])} if inner else {})
    if origin is dict or str(origin) == "<class 'collections.abc.Mapping'>":
        return {"type": "object"}
    if type(None) in inner:
        found = [schema_of(one) for one in inner if one is not type(None)]
        return found[0] if len(found) == 1 else {"anyOf": found}
    return {}


def described(text: str, name: str) -> dict[str, str]:
    """Return what a docstring says of a parameter: ``name: words`` or ``:param name: words``."""
    for line in text.splitlines():
        line = line.strip().removeprefix(":param").strip()
        key, colon, words = line.partition(":")
        if colon and words.strip() and key.partition("(")[0].strip() == name:
            return {"description": words.strip()}
    return {}


if __name__ == "__main__":
    main()
