"""Tools of type ``python``: functions in a file or module. Each call runs in its own process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import RejectedError, UsageError
from llmctl.core.stored_values import dumps
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, Discovered, ToolType, subprocess_tool
from llmctl.tools.workers import __file__ as _workers

_WORKER = os.path.join(os.path.dirname(_workers), "call_python.py")
#: Last on the worker's path, so that it can import ``llmctl`` (for ``Halt``).
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(_workers)))))


def validate_data(data: Mapping[str, Any]) -> dict[str, Any]:
    if bool(data.get("file")) == bool(data.get("module")):
        raise UsageError(
            "a tool of type python requires a file or a module", hint="pass --file tools.py or --module my.tools"
        )
    return dict(data)


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    return subprocess_tool.worker_output(
        subprocess_tool.run_worker(_build_argv("call", tool.data), context, arguments), context, may_halt=True
    )


def preview(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Return the function of a call, as ``FILE:FUNCTION``."""
    return f"{tool.data.get('file') or tool.data.get('module')}:{tool.data.get('function') or tool.name}"


def discover(name: str, data: Mapping[str, Any], context: Context) -> list[Discovered]:
    """Read the signature and docstring of the function. This imports, and so runs, its module."""
    described, stderr = subprocess_tool.run_worker(_build_argv("describe", data), context, {})
    if not isinstance(described, dict) or "schema" not in described:
        raise RejectedError(f"cannot inspect the function: {stderr or 'no output'}", reason="tool_failed")
    return [Discovered(name or described["name"], described["description"], described["schema"], data)]


def inspect_agent(path: str, name: str | None, context: Context) -> tuple[Any, str]:
    """Return the definition of the agent class in a file, or None, and what the worker wrote to stderr."""
    return subprocess_tool.run_worker(_build_argv("agent", {"file": path, "class": name}), context, {})


def _build_argv(action: str, data: Mapping[str, Any]) -> list[str]:
    source = {word: data[word] for word in ("file", "module", "function", "class") if data.get(word)}
    # -P: do not import from the folder of the worker script.
    return [data.get("python") or sys.executable, "-P", _WORKER, action, dumps(source), _PACKAGE_ROOT]


TYPE = ToolType(run, validate_data, discover, preview)
