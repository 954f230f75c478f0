"""Calls a function of the user's: ``call_python.py call|describe {"file"|"module", "function"} FALLBACK_PATH``.

Arguments come as JSON on stdin, the result goes as JSON to stdout; what the function prints goes to stderr.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
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
    function = find(source)
    answer = describe(function) if action == "describe" else call(function, json.load(sys.stdin))
    json.dump(answer, results, default=str)
    results.close()


def find(source: dict[str, Any]) -> Any:
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
    name = source.get("function") or only(module)
    return getattr(module, name)


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
    return {"name": function.__name__, "description": text.partition("\n\n")[0], "schema": schema}


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
