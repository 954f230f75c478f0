"""Tools that are Python functions, each call in a process of its own. They see nothing of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import RejectedError, UsageError
from llmctl.core.stored_json import dumps
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, Discovered, ToolType, subprocess_tool
from llmctl.tools.workers import __file__ as _children

_CHILD = os.path.join(os.path.dirname(_children), "call_python.py")
#: Where the child finds ``llmctl`` itself (for ``Halt``), after everything else.
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(_children)))))


def checked(data: Mapping[str, Any]) -> dict[str, Any]:
    if bool(data.get("file")) == bool(data.get("module")):
        raise UsageError("a tool of type python is a function in a file or in a module", hint="--file or --module")
    return dict(data)


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    return subprocess_tool.returned(
        subprocess_tool.run_child(_argv("call", tool.data), context, arguments), context, may_halt=True
    )


def discover(name: str, data: Mapping[str, Any], context: Context) -> list[Discovered]:
    """Ask the function for its signature and docstring: that runs the module, as any import does."""
    found, said = subprocess_tool.run_child(_argv("describe", data), context, {})
    if not isinstance(found, dict) or "schema" not in found:
        raise RejectedError(f"the function cannot be read: {said or 'it says nothing'}", reason="tool_failed")
    return [Discovered(name or found["name"], found["description"], found["schema"], data)]


def agent(path: str, name: str | None, context: Context) -> tuple[Any, str]:
    """Ask a file for what its agent's class says of itself; return that, or None, and what it complains of."""
    return subprocess_tool.run_child(_argv("agent", {"file": path, "class": name}), context, {})


def _argv(action: str, data: Mapping[str, Any]) -> list[str]:
    source = {word: data[word] for word in ("file", "module", "function", "class") if data.get(word)}
    # -P: the folder of our own script is no place to import from.
    return [data.get("python") or sys.executable, "-P", _CHILD, action, dumps(source), _PACKAGES]


TYPE = ToolType(run, checked, discover)
