"""Agents that are written down in files, brought into the hub: the file counts, whatever the hub had."""

from __future__ import annotations

import os
from collections.abc import Callable

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.tools import PERMISSIONS
from llmctl.engine import agents, definitions, grants
from llmctl.engine.definitions import Definition
from llmctl.engine.target import Env
from llmctl.store import agents as rows
from llmctl.store.database import Database, Row

Note = Callable[[str], None]


def is_file(ref: str) -> bool:
    """Tell whether a word on the command line means a file and not a name."""
    return ref.endswith((".toml", ".py")) or os.sep in ref


def read(path: str) -> Definition:
    """Return the definition in a TOML file; without a name it is called after the file."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise NotFoundError(f'cannot read "{path}": {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise UsageError(f'"{path}" is not UTF-8') from error
    found = definitions.parse(text, path)
    if found.prompt is not None:
        raise UsageError(f'"{path}" is a prompt file: an agent has no "prompt"', hint=f"llmctl run {path}")
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
        if known is not None and known["source_file"] != source and not force:
            raise UsageError(
                f'there is an agent "{definition.name}" already, and it is not of "{source}"',
                hint=f"let the file count from now on: llmctl agent apply {source}",
            )
        connection_id, model = agents.stand_on(database, definition, env)
        values = agents.columns(agents.on_model(definition, model), connection_id) | {"source_file": source}
        agent_id = known["id"] if known else rows.add(database, values)
        if known:
            rows.update(database, agent_id, values)
        _give_tools(database, agent_id, definition.tools)
        stamp(database, agent_id)
    return rows.get(database, agent_id)


def renewed(database: Database, row: Row, env: Env, note: Note, *, writable: bool = True) -> Row:
    """Return an agent's row as its file says now; one without a file, or whose file is gone, as it is."""
    path = row["source_file"]
    if not path or not writable:
        return row
    if not os.path.exists(path):
        note(f'"{path}", which the agent "{row["name"]}" was read from, is gone; going on with what the hub knows')
        return row
    definition = read(path)
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


def _give_tools(database: Database, agent_id: str, wanted: tuple[str, ...]) -> None:
    """Give an agent the tools of its file, and no others; a permission that was widened by hand stays so."""
    had = rows.tools_of(database, agent_id)
    given = set()
    for text in wanted:
        ref, colon, word = text.partition(":")
        tool = grants.tool_of(database, ref)
        permission = PERMISSIONS[word] if colon else had.get(tool.name, "user-permitted")
        assert tool.id
        rows.attach(database, agent_id, tool.id, permission)
        given.add(tool.name)
    for name in had.keys() - given:
        rows.detach(database, agent_id, str(grants.tool_of(database, name).id))
