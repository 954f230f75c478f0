"""The flags that define a tool, as ``tool add`` and ``tool edit`` take them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.argument_parsers import parse_pairs
from llmctl.cli.commands.tool.common import read_json, read_json_object
from llmctl.engine.tools.define import ToolSpecInput

#: Flags that go into a tool's data under their own name.
_DATA_FLAGS = ("command", "module", "function", "url", "method", "timeout", "arguments")


def parse_tool_spec(app: App, name: str | None, kind: str | None = None, **more: Any) -> ToolSpecInput:
    """Return the spec of the flags. Paths become absolute: a tool is run from anywhere. ``more`` is further data."""
    flags = app.turn_flags
    data: dict[str, Any] = dict(read_json_object(flags["data"], "--data") or {})
    data |= {key: flags[key] for key in _DATA_FLAGS if flags[key] is not None}
    data |= {key: True for key in ("shell", "halt") if flags[key]}
    data |= {key: value for key, value in more.items() if value is not None}
    if flags["output_limit"] is not None:
        data["output"] = flags["output_limit"]
    if flags["file"]:
        data["file"] = _absolute_path(flags["file"])
    if flags["cwd"]:
        data["folder"] = _absolute_path(flags["cwd"])
    if flags["folder"]:
        data["folders"] = [_absolute_path(path) for path in flags["folder"]]
    if flags["host"]:
        data["hosts"] = list(flags["host"])
    if flags["header"]:
        data["headers"] = parse_pairs(flags["header"], "--header")
    if flags["body"]:
        data["body"] = read_json(flags["body"], "--body")
    if flags["env"]:
        data["env"] = _parse_env(flags["env"])
    return ToolSpecInput(name, kind, flags["description"], read_json_object(flags["schema"], "--schema"), data)


def _absolute_path(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _parse_env(items: Iterable[str]) -> dict[str, str]:
    """Return ``NAME`` (our own variable, by reference) and ``NAME=VALUE`` as an object."""
    variables = {}
    for item in items:
        name, equals, value = item.partition("=")
        variables[name] = value if equals else f"env:{name}"
    return variables
