"""Tools of type ``function``: functions of this process, for programs that use llmctl as a library. Never stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import LlmctlError, RejectedError, UsageError
from llmctl.core.stored_values import dumps
from llmctl.core.tools import Halt, Ran, Tool
from llmctl.tools import Context, ToolType, subprocess_tool


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    """Call ``tool.data["function"]`` with keyword arguments. Any exception it raises is a failure of the tool.

    With ``tool.data["takes_context"]``, the context is its first positional argument.
    """
    try:
        value = tool.data["function"](*([context] if tool.data.get("takes_context") else []), **arguments)
    except Halt as halt:
        value = halt
    except LlmctlError:
        raise
    except Exception as error:
        raise RejectedError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error
    if isinstance(value, Halt):
        return Ran(value.content, halts=True)
    return Ran(subprocess_tool.truncate(_to_text(value), context.most_bytes))


def validate_data(data: Mapping[str, Any]) -> dict[str, Any]:
    raise UsageError("a function cannot be stored in the hub", hint="add it as: llmctl tool add --file tools.py")


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    try:
        return value if isinstance(value, str) else dumps(value)
    except (TypeError, ValueError):
        return str(value)


TYPE = ToolType(run, validate_data)
