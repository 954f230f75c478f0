"""Tools of type ``nextJsScript``, run by node: an exported function, or a script that reads stdin and prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, ToolType, subprocess_tool
from llmctl.tools.workers import __file__ as _workers

_WORKER = os.path.join(os.path.dirname(_workers), "call_javascript.mjs")


def validate_data(data: Mapping[str, Any]) -> dict[str, Any]:
    if not data.get("file"):
        raise UsageError("a tool of type nextJsScript requires a JavaScript file", hint="pass --file weather.mjs")
    if not os.path.isfile(data["file"]):
        raise NotFoundError(f'no file "{data["file"]}"')
    return dict(data)


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    argv = ["node", _WORKER, tool.data["file"], *([tool.data["function"]] if tool.data.get("function") else [])]
    answer = subprocess_tool.run_worker(argv, context, arguments)
    return subprocess_tool.worker_output(answer, context, may_halt=bool(tool.data.get("halt")))


TYPE = ToolType(run, validate_data)
