"""Functions of the program around us as tools: described by their signatures, never in the hub."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.tools import PERMISSIONS, Tool, check_name
from llmctl.engine.tools.toolset import Grant


@dataclass(frozen=True, slots=True)
class Function:
    """A function, and what is said of it beside what it says itself."""

    function: Callable[..., Any]
    name: str | None = None
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    permission: str = "automatic"
    timeout: float | None = None


def granted(wanted: Function) -> Grant:
    """Return the tool; raise UsageError for what cannot be described."""
    if wanted.permission not in PERMISSIONS:
        raise UsageError(f'no permission "{wanted.permission}"', hint="automatic, user-permitted or denied")
    own = _described(wanted)
    data: dict[str, Any] = {"function": _called(wanted.function), "source": source_hash(wanted.function)}
    if wanted.timeout is not None:
        data["timeout"] = wanted.timeout
    description = wanted.description or own["description"]
    tool = Tool(check_name(wanted.name or own["name"]), "function", description, own["schema"], data)
    return Grant(tool, PERMISSIONS[wanted.permission])


def source_hash(function: Callable[..., Any]) -> str:
    """Return the fingerprint of a function's source."""
    from llmctl.tools.workers import call_python

    return call_python.source_hash(function)


def _described(wanted: Function) -> dict[str, Any]:
    from llmctl.tools.workers.call_python import describe, told

    if wanted.schema is not None:
        return {"schema": wanted.schema, **told(wanted.function)}
    try:
        found: dict[str, Any] = describe(wanted.function)
    except (NameError, TypeError, ValueError, AttributeError) as error:
        name = wanted.name or getattr(wanted.function, "__name__", repr(wanted.function))
        raise UsageError(
            f'"{name}" cannot be a tool: {error}', hint="annotate it with plain types, or give a schema"
        ) from error
    return found


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    if not inspect.iscoroutinefunction(inspect.unwrap(function)):
        return function

    def run(**arguments: Any) -> Any:
        import asyncio

        return asyncio.run(function(**arguments))

    return run
