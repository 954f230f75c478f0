"""Tools that belong together: those of one MCP server, or of a pattern; and bringing those of a server up to date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from llmctl.core.errors import NotFoundError
from llmctl.core.stored_values import loads
from llmctl.engine.connections import trust
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.tools.define import NewTools, ToolSpecInput, new_tool_columns
from llmctl.store.database import Database
from llmctl.store.records import tools
from llmctl.store.records.types import ToolRow
from llmctl.tools import SERVER_NAME_KEY

_COMPARED = ("description", "schema", "data")


class ServerChanges(NamedTuple):
    """How the tools of a server changed, by name; ``changed`` maps a name to what changed of it."""

    added: list[str]
    changed: dict[str, list[str]]
    removed: list[str]
    problems: list[str]


def list_group(database: Database, ref: str) -> list[ToolRow]:
    """Return the tools of a server name, or of a pattern such as ``fs_*``; none if there are none."""
    rows = [tools.get(database, record["id"]) for record in tools.list_(database)]
    if any(character in ref for character in "*?["):
        return [row for row in rows if fnmatchcase(row.name, ref)]
    return [row for row in rows if row.type == "mcp" and _belongs_to(row, ref)]


def get_tools(database: Database, ref: str) -> list[ToolRow]:
    """Return the tool a REF refers to, or all tools of a server or a pattern. Raises NotFoundError."""
    if not any(character in ref for character in "*?["):
        try:
            return [tools.get(database, ref)]
        except NotFoundError:
            if found := list_group(database, ref):
                return found
            raise
    found = list_group(database, ref)
    if not found:
        raise NotFoundError(f'no tool matches "{ref}"', hint="list tools: llmctl tool list")
    return found


def refresh_server(database: Database, name: str, runtime: RuntimeEnv) -> ServerChanges:
    """Ask a server for its tools again and store what changed."""
    old = list_group(database, name)
    if not old or any(character in name for character in "*?["):
        raise NotFoundError(f'no MCP server "{name}"', hint=f"add it: llmctl tool add {name} --mcp 'npx -y PACKAGE'")
    first = tools.to_tool(old[0])
    trust.require_tool(database, first, runtime)
    is_trusted = trust.is_tool_trusted(database, first, runtime.env)
    own = ("tool", "repeatable")
    shared = {key: value for key, value in loads(old[0].data, {}).items() if key not in own}
    spec = ToolSpecInput(name, "mcp", data=shared)
    new = new_tool_columns(spec, runtime, database.path)
    return store_changes(database, old, new, runtime.env if is_trusted else None)


def store_changes(
    database: Database, old: Sequence[ToolRow], new: NewTools, env: Mapping[str, str] | None
) -> ServerChanges:
    """Store what a server offers now; the user with this environment trusts it, nobody without one.

    A tool keeps the name it has here. Tools that the server no longer offers are deleted; their invocations stay.
    """
    stored: list[ToolRow] = []
    by_own_name = {_own_name(row.data): row for row in old}
    changes = ServerChanges([], {}, [], new.problems)
    with database.transaction(durable=True):
        for columns in new.columns:
            row = by_own_name.pop(_own_name(columns["data"]), None)
            if row is None:
                stored += tools.add(database, columns)
                changes.added.append(columns["name"])
            elif differing := _differences(row, columns):
                stored.append(tools.update(database, row.id, {name: columns[name] for name in _COMPARED}))
                changes.changed[row.name] = differing
            else:
                stored.append(row)
        for row in by_own_name.values():
            tools.delete(database, row.id)
            changes.removed.append(row.name)
    for row in stored if env is not None else ():
        trust.add_made_tool(database, tools.to_tool(row), env or {})
    return changes


def _differences(row: ToolRow, columns: Mapping[str, Any]) -> list[str]:
    """Return what changed; the server's name in the data of older tools is no change worth telling."""
    old = {"description": row.description or "", "schema": loads(row.schema, {}), "data": loads(row.data, {})}
    new = {"description": columns["description"], "schema": loads(columns["schema"]), "data": loads(columns["data"])}
    return [name for name in _COMPARED if old[name] != new[name]]


def _belongs_to(row: ToolRow, name: str) -> bool:
    data = loads(row.data, {})
    if SERVER_NAME_KEY in data:
        return bool(data[SERVER_NAME_KEY] == name)
    own = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in str(data.get("tool")))
    return row.name == f"{name}_{own}"[:64]  # stored by a version that did not keep the name


def _own_name(data: str) -> str:
    return str(loads(data, {}).get("tool"))


def describe_changes(changes: ServerChanges) -> Iterable[str]:
    """Yield a line for each change."""
    for name in changes.added:
        yield f'added tool "{name}"'
    for name, parts in changes.changed.items():
        yield f'changed tool "{name}": {", ".join(parts)}'
    for name in changes.removed:
        yield f'removed tool "{name}": the server no longer offers it'
    yield from changes.problems
    if not (changes.added or changes.changed or changes.removed):
        yield "nothing has changed"
