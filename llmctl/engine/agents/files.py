"""Agents defined in TOML or Python files, synchronised to the hub. The file takes precedence over the hub.

Python files are imported in a worker process, as their tools are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.stored_values import dumps, loads
from llmctl.core.text_files import read_text_file
from llmctl.core.tools import PERMISSIONS, Tool, require_valid_name
from llmctl.engine.agents import agents
from llmctl.engine.agents import definition as agents_definition
from llmctl.engine.agents.definition import Definition, OwnTool
from llmctl.engine.connections import trust
from llmctl.engine.connections.target import Env
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.tools import toolset
from llmctl.engine.tools.context import ToolContextFactory
from llmctl.store.database import Database
from llmctl.store.records import agents as rows
from llmctl.store.records import tools
from llmctl.store.records.types import AgentRow, ToolRow

NoteCallback = Callable[[str], None]


def is_file_ref(ref: str) -> bool:
    """Whether an argument means a file, not the name of an agent."""
    return ref.endswith((".toml", ".py")) or os.sep in ref or split_source(ref)[1] is not None


def source_exists(source: str) -> bool:
    """Whether the file that an agent was read from still exists."""
    return os.path.exists(split_source(source)[0])


def read_definition(path: str, env: Env) -> Definition:
    """Return the definition in a TOML file, or of a class in ``FILE.py`` or ``FILE.py:Class``.

    The default name is that of the file, or of the class.
    """
    if split_source(path)[0].endswith(".py"):
        return _read_python(path, env)
    return _read_toml(path)


def _read_toml(path: str) -> Definition:
    definition = agents_definition.parse_definition(read_text_file(path), path)
    if definition.prompt is not None:
        raise UsageError(f'"{path}" is a prompt file: an agent cannot have "prompt"', hint=f"run it: llmctl run {path}")
    for key, is_set, flag in (
        ("attach", definition.turn.attach, "--attach"),
        ("no_log", definition.no_log, "--no-log"),
    ):
        if is_set:
            raise UsageError(f'"{path}": an agent cannot have "{key}"', hint=f"pass {flag} for a single turn")
    return agents.with_name(definition, os.path.splitext(os.path.basename(path))[0])


def apply_definition(
    database: Database, definition: Definition, env: Env, *, source: str | None = None, force: bool = False
) -> AgentRow:
    """Create the agent of a definition, or update the one with its name; return its row. One transaction.

    ``source`` is the full path of the file. An existing agent from elsewhere is refused, unless ``force``. Permissions
    that were widened in the hub stay.
    """
    with database.transaction(durable=True):
        existing = rows.find_by_name(database, str(definition.name))
        if existing is not None and not _is_from_source(existing, source) and not force:
            raise UsageError(
                f'agent "{definition.name}" already exists and is not defined in "{source}"',
                hint=f"replace it: llmctl agent apply {source}",
            )
        connection_id, model = agents.resolve_connection(database, definition, env)
        values = agents.definition_columns(agents.with_model(definition, model), connection_id) | {
            "source_file": source
        }
        agent_id = existing.id if existing else rows.add(database, values)
        if existing:
            rows.update(database, agent_id, values)
        for tool in definition.own_tools:
            _upsert_tool(database, tool, env)
        _sync_tools(database, agent_id, definition.turn.tools)
        update_fingerprint(database, agent_id)
    return rows.get(database, agent_id)


def upsert_class(
    database: Database, definition: Definition, env: Env, *, module: str, file: str | None = None
) -> AgentRow:
    """Create the agent of a Python class in this process, or update the one with its name; return its row.

    Its functions stay in this process. An existing agent from elsewhere is refused; one that was read from the ``file``
    of the class stays as defined there.
    """
    existing = rows.find_by_name(database, str(definition.name))
    source = f"{agents.CLASS_PREFIX}{module}"
    if existing is not None:
        existing_source = existing.source_file or ""
        path = split_source(existing_source)[0]
        if file and path == os.path.realpath(file):
            return existing
        if existing_source.startswith(agents.CLASS_PREFIX):
            source = existing_source
        else:
            raise UsageError(
                f'agent "{definition.name}" already exists and is not a Python class',
                hint=f'rename the class, for example: name = "{definition.name}-2"',
            )
    return apply_definition(database, definition, env, source=source)


def refresh_from_file(
    database: Database, row: AgentRow, env: Env, note: NoteCallback, *, writable: bool = True
) -> AgentRow:
    """Update an agent from its file and return its row; unchanged if it has no file, or the file no longer exists."""
    path = row.source_file
    if not path or not writable or path.startswith(agents.CLASS_PREFIX):
        return row
    if not source_exists(path):
        note(f'"{path}" no longer exists; using the definition of agent "{row.name}" in the hub')
        return row
    definition = read_definition(path, env)
    if definition.name != row.name:
        return row
    updated = apply_definition(database, definition, env, source=path)
    if updated.version_hash != row.version_hash:
        note(f'updated agent "{row.name}" from "{path}"')
    return updated


def update_fingerprint(database: Database, agent_id: str) -> None:
    """Store the fingerprint of an agent after a change."""
    row = rows.get(database, agent_id)
    version = agents.fingerprint_definition(
        agents.describe_definition(database, agents.definition_from_row(database, row))
    )
    if version != row.version_hash:
        rows.update(database, agent_id, {"version_hash": version})


def _is_from_source(row: AgentRow, source: str | None) -> bool:
    """Whether an agent was read from this source; ``FILE.py`` and ``FILE.py:Class`` count as the same."""
    current = row.source_file
    files = [split_source(text)[0] for text in (current or "", source or "")]
    return bool(current == source or (current and files[0] == files[1]))


def _upsert_tool(database: Database, tool: OwnTool, env: Env) -> None:
    """Add a tool of the file to the hub, or update it; in a hub of this user it is trusted."""
    columns = {"description": tool.description, "schema": dumps(tool.schema), "data": dumps(tool.data)}
    existing = tools.find_by_name(database, require_valid_name(tool.name))
    if existing is None:
        [stored] = tools.add(database, {"name": tool.name, "type": "python", **columns})
    else:
        stored = _update_tool(database, existing, tool, columns)
    if trust.is_own_hub(database, env):
        trust.add_made_tool(database, tools.to_tool(stored), env)


def _update_tool(database: Database, existing: ToolRow, tool: OwnTool, columns: Mapping[str, str]) -> ToolRow:
    file = tool.data["file"]
    if existing.type != "python" or loads(existing.data, {}).get("file") != file:
        raise UsageError(
            f'tool "{tool.name}" already exists and is not defined in "{file}"',
            hint=f'rename the one in the file, for example: @tool(name="{tool.name}_2")',
        )
    old = (existing.description, loads(existing.schema), loads(existing.data))
    if old == (tool.description, tool.schema, tool.data):
        return existing
    return tools.update(database, existing.id, columns)


def _sync_tools(database: Database, agent_id: str, refs: tuple[str, ...]) -> None:
    """Attach exactly the tools of its file to an agent; permissions that were widened in the hub stay."""
    current = rows.tool_permissions(database, agent_id)
    attached = set()
    for text in refs:
        ref, colon, word = text.partition(":")
        for tool in toolset.get_tools(database, ref):
            permission = PERMISSIONS[word] if colon else current.get(tool.name, "user-permitted")
            assert tool.id
            rows.attach_tool(database, agent_id, tool.id, permission)
            attached.add(tool.name)
    for name in current.keys() - attached:
        rows.detach_tool(database, agent_id, str(toolset.get_tool(database, name).id))


def split_source(source: str) -> tuple[str, str | None]:
    """Return file and class of ``FILE.py:Class`` or ``FILE.py``; any other source unchanged, without a class."""
    file, colon, name = source.rpartition(":")
    return (file, name) if colon and file.endswith(".py") else (source, None)


def _read_python(source: str, env: Env) -> Definition:
    """Return the definition of an agent class. Raises UsageError for a file without one, or with several."""
    path, name = split_source(source)
    if not os.path.isfile(path):
        raise NotFoundError(f'cannot read "{path}": no such file')
    values = _inspect_class(path, name, env)
    described = values.pop("own_tools")
    tools = [*map(_without_grant, values["tools"]), *map(_format_grant, described)]
    definition = agents_definition.from_values({**values, "tools": tools}, source)
    return agents_definition.with_own_tools(definition, [_to_own_tool(tool, path) for tool in described])


def _inspect_class(path: str, name: str | None, env: Env) -> dict[str, Any]:
    from llmctl.tools import python

    contexts = ToolContextFactory(RuntimeEnv.from_environ(env), path)
    values, stderr = python.inspect_agent(path, name, contexts.create(Tool("", "python"), lambda data: None))
    if not isinstance(values, dict):
        lines = stderr.splitlines() or ["no output"]
        raise UsageError(f'cannot read an agent from "{path}": {lines[-1]}', hint="name the class: FILE.py:Class")
    return values


def _to_own_tool(described: dict[str, Any], path: str) -> OwnTool:
    data = {"file": path, "function": described["function"], "source": described["source"]}
    if described["timeout"] is not None:
        data["timeout"] = described["timeout"]
    return OwnTool(described["name"], described["description"], described["schema"], data)


def _without_grant(tool: str) -> str:
    """Return a tool of the hub as a class names it, without automatic permission: a file never grants it."""
    name, _, permission = tool.partition(":")
    return name if permission in ("automatic", "auto") else tool


def _format_grant(described: dict[str, Any]) -> str:
    """Return a tool as in the list of a file, which may narrow its permission, but not widen it."""
    permission = described["permission"]
    return str(described["name"]) + (f":{permission}" if permission not in ("automatic", "auto") else "")
