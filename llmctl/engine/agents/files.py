"""Agents that are written down in files, brought into the hub: the file counts, whatever the hub had."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.stored_json import dumps
from llmctl.core.tools import PERMISSIONS, check_name
from llmctl.engine.agents import agents, python_agents
from llmctl.engine.agents import definition as agents_definition
from llmctl.engine.agents.definition import Definition
from llmctl.engine.connections.target import Env
from llmctl.engine.tools import toolset
from llmctl.store.database import Database, Row
from llmctl.store.records import agents as rows
from llmctl.store.records import tools

Note = Callable[[str], None]


def is_file(ref: str) -> bool:
    """Tell whether a word on the command line means a file and not a name."""
    return ref.endswith((".toml", ".py")) or os.sep in ref or python_agents.place(ref)[1] is not None


def is_there(source: str) -> bool:
    """Tell whether the file that an agent was read from still is there."""
    return os.path.exists(python_agents.place(source)[0])


def read(path: str, env: Env) -> Definition:
    """Return the definition in a TOML file, or of a class in ``FILE.py`` or ``FILE.py:Class``.

    Without a name it is called after the file, or the class.
    """
    if python_agents.place(path)[0].endswith(".py"):
        return python_agents.read(path, env)
    return _toml(path)


def _toml(path: str) -> Definition:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise NotFoundError(f'cannot read "{path}": {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise UsageError(f'"{path}" is not UTF-8') from error
    found = agents_definition.parse(text, path)
    if found.prompt is not None:
        raise UsageError(f'"{path}" is a prompt file: an agent has no "prompt"', hint=f"llmctl run {path}")
    for key, flag in (("attach", "--attach"), ("no_log", "--no-log")):
        if getattr(found, key):
            raise UsageError(f'"{path}": an agent has no "{key}"', hint=f"say it for a turn: {flag}")
    return agents.with_name(found, os.path.splitext(os.path.basename(path))[0])


def apply(
    database: Database, definition: Definition, env: Env, *, source: str | None = None, force: bool = False
) -> Row:
    """Make the agent of a definition, or bring the one of that name to it; return its row. All or nothing.

    ``source`` is the file's full path. An agent that this file did not make is refused, unless ``force``. What the
    hub's owner allowed a tool of it stays allowed.
    """
    with database.transaction(durable=True):
        known = rows.find_named(database, str(definition.name))
        if known is not None and not _is_of(known, source) and not force:
            raise UsageError(
                f'there is an agent "{definition.name}" already, and it is not of "{source}"',
                hint=f"let the file count from now on: llmctl agent apply {source}",
            )
        connection_id, model = agents.stand_on(database, definition, env)
        values = agents.columns(agents.on_model(definition, model), connection_id) | {"source_file": source}
        agent_id = known["id"] if known else rows.add(database, values)
        if known:
            rows.update(database, agent_id, values)
        for tool in definition.own_tools:
            _keep_tool(database, tool)
        _give_tools(database, agent_id, definition.tools)
        stamp(database, agent_id)
    return rows.get(database, agent_id)


def keep_class(database: Database, definition: Definition, env: Env, *, module: str, file: str | None = None) -> Row:
    """Make the agent of a Python class that is running, or bring the one of that name to it; return its row.

    Its functions stay with the program. An agent that somebody made otherwise is refused; one that was read from the
    class's own ``file`` is what that file says.
    """
    known = rows.find_named(database, str(definition.name))
    source = f"{agents.CLASS}{module}"
    if known is not None:
        path = python_agents.place(known["source_file"] or "")[0]
        if file and path == os.path.realpath(file):
            return known
        if (known["source_file"] or "").startswith(agents.CLASS):
            source = known["source_file"]
        else:
            raise UsageError(
                f'there is an agent "{definition.name}" already, and it is no Python class',
                hint='give the class another name: name = "…"',
            )
    return apply(database, definition, env, source=source)


def renewed(database: Database, row: Row, env: Env, note: Note, *, writable: bool = True) -> Row:
    """Return an agent's row as its file says now; one without a file, or whose file is gone, as it is."""
    path = row["source_file"]
    if not path or not writable or path.startswith(agents.CLASS):
        return row
    if not is_there(path):
        note(f'"{path}", which the agent "{row["name"]}" was read from, is gone; going on with what the hub knows')
        return row
    definition = read(path, env)
    if definition.name != row["name"]:
        return row
    again = apply(database, definition, env, source=path)
    if again["version_hash"] != row["version_hash"]:
        note(f'the agent "{row["name"]}" is as "{path}" says now')
    return again


def stamp(database: Database, agent_id: str) -> None:
    """Write an agent's fingerprint to its row, after a change."""
    row = rows.get(database, agent_id)
    version = agents.fingerprint(agents.document(database, agents.definition_of(database, row)))
    if version != row["version_hash"]:
        rows.update(database, agent_id, {"version_hash": version})


def _is_of(row: Row, source: str | None) -> bool:
    """Tell whether an agent was read from this source; ``FILE.py`` and ``FILE.py:Class`` are one."""
    known = row["source_file"]
    files = [python_agents.place(one)[0] for one in (known or "", source or "")]
    return bool(known == source or (known and files[0] == files[1]))


def _keep_tool(database: Database, tool: Mapping[str, Any]) -> None:
    """Put a tool of the file's own into the hub, or bring it to what the file says now."""
    columns = {**tool, "schema": dumps(tool["schema"]), "data": dumps(tool["data"])}
    known = tools.named(database, check_name(tool["name"]))
    if known is None:
        tools.add(database, columns)
        return
    file = tool["data"]["file"]
    if known["type"] != "python" or known["data"].get("file") != file:
        raise UsageError(
            f'there is a tool "{tool["name"]}" already, and it is not of "{file}"',
            hint='give the file\'s another name: @tool(name="…")',
        )
    if any(known[name] != tool[name] for name in ("description", "schema", "data")):
        tools.update(database, known["id"], {name: columns[name] for name in ("description", "schema", "data")})


def _give_tools(database: Database, agent_id: str, wanted: tuple[str, ...]) -> None:
    """Give an agent the tools of its file, and no others; a permission that was widened by hand stays so."""
    had = rows.tools_of(database, agent_id)
    given = set()
    for text in wanted:
        ref, colon, word = text.partition(":")
        tool = toolset.tool_of(database, ref)
        permission = PERMISSIONS[word] if colon else had.get(tool.name, "user-permitted")
        assert tool.id
        rows.attach(database, agent_id, tool.id, permission)
        given.add(tool.name)
    for name in had.keys() - given:
        rows.detach(database, agent_id, str(toolset.tool_of(database, name).id))
