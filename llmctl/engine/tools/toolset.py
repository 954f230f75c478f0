"""The tools of a turn and their permissions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.tools import PERMISSIONS, Permission, Tool, require_valid_name
from llmctl.engine.runtime import ToolGrant, Toolset

if TYPE_CHECKING:  # a turn without tools needs none of it
    from llmctl.store.database import Database


def parse_grant(text: str) -> tuple[str, Permission]:
    """Parse ``NAME[:PERMISSION]``; the default is ``user-permitted``."""
    name, colon, word = text.partition(":")
    if colon and word not in PERMISSIONS:
        raise UsageError(f'permission must be auto, ask or deny, got "{word}"', hint=f"use -T {name or 'NAME'}:ask")
    if not name:
        raise UsageError(f'"{text}" has no tool name', hint="list tools: llmctl tool list")
    return name, PERMISSIONS[word] if colon else "user-permitted"


def resolve_grants(
    database: Database, wanted: Mapping[str, Permission], *, writable: bool = True, is_stored: bool = False
) -> tuple[ToolGrant, ...]:
    """Return grants for these names (or REFs, servers, patterns). Built-in tools need not be added first.

    A tool that is named itself has that permission, whatever that of its server is. Raises NotFoundError with similar
    names for an unknown tool. ``is_stored``: the permissions are those of a chat or an agent in the hub.
    """
    single: dict[str, ToolGrant] = {}
    grouped: dict[str, ToolGrant] = {}
    for ref, permission in wanted.items():
        found, is_group = _find_tools(database, ref, writable)
        grants = grouped if is_group else single
        is_named = not (is_group or is_stored)
        grants |= {tool.name: ToolGrant(tool, permission, is_stored, is_named) for tool in found}
    return tuple({**grouped, **single}.values())


def build_toolset(
    database: Database,
    requested: Iterable[str],
    stored: Mapping[str, Any],
    *,
    approved: Iterable[str] = (),
    note: Callable[[str], object] = lambda text: None,
    writable: bool = True,
) -> Toolset:
    """Return the tools of a turn: the requested ones (``NAME:PERMISSION``), then the stored ones of its chat or agent.

    ``note`` reports stored tools that were deleted. Raises NotFoundError for a requested tool that does not exist.
    """
    requested_grants = resolve_grants(database, dict(map(parse_grant, requested)), writable=writable)
    names = {grant.tool.name for grant in requested_grants}
    stored_grants: list[ToolGrant] = []
    for name, permission in stored.items():
        if name in names:
            continue
        try:
            stored_grants += resolve_grants(database, {name: permission}, writable=writable, is_stored=True)
        except NotFoundError:
            note(f'tool "{name}" of this chat no longer exists')
    return Toolset(grants=(*stored_grants, *requested_grants), approved=frozenset(approved))


def with_called_tools(database: Database, thread_id: str, tools: Toolset) -> Toolset:
    """Return a toolset with the tools that the unfinished turn has called already."""
    from llmctl.store.records import invocations

    ids = invocations.called_tool_ids(database, thread_id)
    if not ids:
        return tools
    from llmctl.store.records.tools import by_ids, to_tool

    called = [ToolGrant(to_tool(row)) for row in by_ids(database, ids)]
    return tools.with_grants(grant for grant in called if tools.find(grant.tool.name) is None)


def get_tool(database: Database, ref: str, *, writable: bool = True) -> Tool:
    """Return the tool with a name or REF; a built-in tool is added to the hub on first use."""
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    row = tools.find(database, ref)
    if row is not None:
        return tools.to_tool(row)
    if ref not in BUILTINS:
        raise _unknown_tool_error(database, ref)
    return _get_builtin(database, ref, writable)


def get_tools(database: Database, ref: str, *, writable: bool = True) -> list[Tool]:
    """Return the tool with a name or REF, or all tools of an MCP server (``fs``) or of a pattern (``fs_*``)."""
    return _find_tools(database, ref, writable)[0]


def _find_tools(database: Database, ref: str, writable: bool) -> tuple[list[Tool], bool]:
    """Return the tools of a REF, and whether they are those of a server or a pattern."""
    if not _is_pattern(ref):
        try:
            return [get_tool(database, ref, writable=writable)], False
        except NotFoundError:
            if not (found := _list_group(database, ref)):
                raise
            return found, True
    if not (found := _list_group(database, ref)):
        raise NotFoundError(f'no tool matches "{ref}"', hint="list tools: llmctl tool list")
    return found, True


def _is_pattern(ref: str) -> bool:
    return any(character in ref for character in "*?[")


def _list_group(database: Database, ref: str) -> list[Tool]:
    from llmctl.engine.tools import servers  # only for a server or a pattern
    from llmctl.store.records.tools import to_tool

    return [to_tool(row) for row in servers.list_group(database, ref)]


def list_unused_builtins(database: Database) -> list[str]:
    """Return the names of built-in tools that are not in the hub yet."""
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    used = {row["name"] for row in tools.list_(database)}
    return [name for name in BUILTINS if name not in used]


def _get_builtin(database: Database, name: str, writable: bool) -> Tool:
    from llmctl.core.stored_values import dumps
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    builtin, data = BUILTINS[name], {"builtin": name}
    if not writable:
        return Tool(name, "builtin", builtin.description, builtin.schema, data)
    columns = {"name": name, "type": "builtin", "description": builtin.description}
    columns |= {"schema": dumps(builtin.schema), "data": dumps(data)}
    return tools.to_tool(tools.get_or_add(database, columns))


def _unknown_tool_error(database: Database, ref: str) -> Exception:
    from llmctl.core.registry import unknown_name_error
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    return unknown_name_error(
        "tool", ref, {*(row["name"] for row in tools.list_(database)), *BUILTINS}, error=NotFoundError
    )


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A function of this program as a tool; None: taken from its signature and docstring."""

    function: Callable[..., Any]
    name: str | None = None
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    permission: str = "automatic"
    timeout: float | None = None


def grant_function(spec: FunctionSpec) -> ToolGrant:
    """Return a grant for a function. Raises UsageError if it cannot be described."""
    if spec.permission not in PERMISSIONS:
        raise UsageError(f'permission must be automatic, user-permitted or denied, got "{spec.permission}"')
    described = _describe_function(spec)
    data: dict[str, Any] = {"function": _to_sync(spec.function), "source": source_hash(spec.function)}
    if spec.timeout is not None:
        data["timeout"] = spec.timeout
    description = spec.description or described["description"]
    tool = Tool(require_valid_name(spec.name or described["name"]), "function", description, described["schema"], data)
    return ToolGrant(tool, PERMISSIONS[spec.permission])


def describe_tool(tool: Any) -> FunctionSpec:
    """Return a function, or a class or object with ``execute`` or ``__call__``, as a tool."""
    from llmctl.tools.workers import call_python

    return FunctionSpec(call_python.as_function(tool), **call_python.tool_attributes(tool))


def describe_class(schema: Any) -> Any:
    """Return the JSON Schema of a pydantic model, a dataclass or a TypedDict; anything else unchanged."""
    from llmctl.tools.workers import call_python

    return call_python.describe_class(schema)


def source_hash(function: Callable[..., Any]) -> str:
    """Return the fingerprint of a function's source."""
    from llmctl.tools.workers import call_python

    return call_python.source_hash(function)


def _describe_function(spec: FunctionSpec) -> dict[str, Any]:
    from llmctl.tools.workers.call_python import describe_function, describe_name

    if spec.schema is not None:
        return {"schema": spec.schema, **describe_name(spec.function)}
    try:
        described: dict[str, Any] = describe_function(spec.function)
    except (NameError, TypeError, ValueError, AttributeError) as error:
        name = spec.name or getattr(spec.function, "__name__", repr(spec.function))
        raise UsageError(
            f'cannot use "{name}" as a tool: {error}', hint="annotate it with plain types, or pass a schema"
        ) from error
    return described


def _to_sync(function: Callable[..., Any]) -> Callable[..., Any]:
    if not inspect.iscoroutinefunction(inspect.unwrap(function)):
        return function

    def run(**arguments: Any) -> Any:
        import asyncio

        return asyncio.run(function(**arguments))

    return run
