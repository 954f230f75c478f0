"""What the flags of ``agent create|edit|apply|attach|session`` make of the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Any

from llmctl.cli import values
from llmctl.cli.app import App
from llmctl.cli.console.output import emit_json
from llmctl.cli.looking import harmless
from llmctl.cli.turn import options as turn_options
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.stored_json import dumps
from llmctl.engine.agents import agents
from llmctl.engine.agents import files as agents_files
from llmctl.engine.agents.definition import Definition
from llmctl.engine.tools import toolset
from llmctl.store.database import Database, Row
from llmctl.store.records import agents as rows


@dataclass(frozen=True, slots=True)
class Wishes:
    """The flags; what is None or empty stays as it is."""

    name: str | None
    description: str | None
    connection: str | None
    model: str | None
    instructions: str | None
    tools: list[str]
    agents: list[str]
    options: list[str]
    thinking: str | None


def create(app: App, wishes: Wishes) -> Row:
    """Make an agent and return its record."""
    if not wishes.connection and not wishes.model:
        raise UsageError("an agent stands on a connection", hint="name one with --connection, or a model with --model")
    if wishes.name and agents_files.is_file(wishes.name):
        raise UsageError(
            f'"{wishes.name}" would be taken for a file', hint="bring one in with: llmctl agent apply FILE"
        )
    database = app.hub("create")
    if wishes.name and rows.find_named(database, wishes.name):
        raise UsageError(f'there is an agent "{wishes.name}" already', hint=f"llmctl agent edit {wishes.name}")
    return _kept(app, database, _changed(database, Definition(name=wishes.name), wishes), None)


def edit(app: App, ref: str, wishes: Wishes) -> Row:
    """Change an agent and return its record. One that a file counts for is changed there."""
    database = app.hub("write")
    row = rows.get(database, ref)
    if row["source_file"] and agents_files.is_there(row["source_file"]):
        raise UsageError(
            f'the agent "{row["name"]}" is what "{row["source_file"]}" says', hint="change the file; it is read anew"
        )
    return _kept(app, database, _changed(database, agents.definition_of(database, row), wishes), row)


def apply(app: App, files: Sequence[str]) -> list[Row]:
    """Bring the agents of files into the hub; return their records."""
    database = app.hub("create")
    found = []
    for name in files:
        path = os.path.realpath(name)
        row = agents_files.apply(database, agents_files.read(path, app.env), app.env, source=path, force=True)
        app.note(f'the agent "{row["name"]}" is as "{name}" says')
        found.append(rows.record(database, row))
    return found


def attach(app: App, ref: str, wanted: Sequence[str]) -> Row:
    """Give an agent tools and return its record."""
    database = app.hub("write")
    row = rows.get(database, ref)
    with database.transaction(durable=True):
        for text in wanted:
            name, permission = toolset.parsed(text)
            rows.attach(database, row["id"], str(toolset.tool_of(database, name).id), permission)
        agents_files.stamp(database, row["id"])
    return rows.record(database, rows.get(database, row["id"]))


def detach(app: App, ref: str, wanted: Sequence[str]) -> Row:
    """Take tools, and agents that it may ask, from an agent; return its record. Raises NotFoundError for others."""
    database = app.hub("write")
    row = rows.get(database, ref)
    definition = agents.definition_of(database, row)
    left = tuple(name for name in definition.agents if name not in wanted)
    with database.transaction(durable=True):
        columns = agents.columns(replace(definition, agents=left), row["chat_model_id"])
        rows.update(database, row["id"], {"settings": columns["settings"]})
        for name in (name for name in wanted if name not in definition.agents):
            if not rows.detach(database, row["id"], str(toolset.tool_of(database, name).id)):
                raise NotFoundError(f'the agent "{row["name"]}" has no tool "{name}"')
        agents_files.stamp(database, row["id"])
    return rows.record(database, rows.get(database, row["id"]))


def new_session(app: App, ref: str, name: str | None, metadata: list[str], field: list[str]) -> Row:
    """Begin a session and return its record."""
    database = app.hub("create")
    if agents_files.is_file(ref):
        path = os.path.realpath(ref)
        row = agents_files.apply(database, agents_files.read(path, app.env), app.env, source=path)
    else:
        row = rows.get(database, ref)
    target = agents.target_of(database, agents.definition_of(database, row), app.env)
    app.asking = {"metadata": [], "field": field, "reference": [], "no_persist": None, "rollback": False, "tag": None}
    kept = turn_options.keep(app, database.fields.get("chats", {}), {})
    chat = {"name": name, "source_id": row["id"], "model": target.model, "provider": target.provider.nodellm_id}
    if name and database.value("SELECT 1 FROM {chats} WHERE name = ?", (name,)):
        raise UsageError(f'there is a chat "{name}" already')
    known = values.pairs(metadata, "--metadata")
    session_id = rows.begin_session(database, {**chat, **kept.fields}, row["name"], dumps(known) if known else None)
    return rows.session_record(database, session_id)


def show_diff(app: App, ref: str) -> None:
    """Print what changed in the definition since the session's last turn, as a unified diff."""
    database = app.hub()
    session = rows.session(database, ref)
    chat = database.one("SELECT * FROM {chats} WHERE id = ?", (session["chat_id"],))
    row = agents.of_chat(database, chat)
    assert row is not None
    path = row["source_file"]
    is_there = path and agents_files.is_there(path)
    definition = agents_files.read(path, app.env) if is_there else agents.definition_of(database, row)
    now = agents.document(database, _with_permissions(database, definition, row) if is_there else definition)
    before = session["definition"] or {}
    if app.format.is_json:
        emit_json(app, {"changed": before != now, "before": before or None, "now": now})
        return
    if not before:
        app.note("this session has had no turn yet")
        return
    lines = unified_diff(_lines(before), _lines(now), "last turn", "now", lineterm="", n=1)
    app.io.write(harmless(app, "".join(f"{line}\n" for line in lines)))
    if before == now:
        app.note("nothing changed since the last turn")


def _with_permissions(database: Database, definition: Definition, row: Row) -> Definition:
    """Return a file's definition as the hub would have it: with the permissions that its owner gave."""
    had = rows.tools_of(database, row["id"])
    tools = tuple(text if ":" in text else f"{text}:{had.get(text, 'user-permitted')}" for text in definition.tools)
    known = agents.definition_of(database, row)
    return replace(definition, tools=tools, connection=known.connection, model=known.model)


def _lines(document: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in document.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
        lines += [f"{name}: {line}" if number == 0 else f"  {line}" for number, line in enumerate(text.splitlines())]
    return lines


def _changed(database: Database, definition: Definition, wishes: Wishes) -> Definition:
    given = values.pairs(wishes.options, "-o", typed=True)
    options = {name: value for name, value in {**definition.options, **given}.items() if value is not None}
    moved = wishes.connection or wishes.model
    return replace(
        definition,
        name=wishes.name or definition.name,
        description=wishes.description if wishes.description is not None else definition.description,
        connection=wishes.connection if moved else definition.connection,
        model=wishes.model if moved else definition.model,
        system=_text(wishes.instructions) if wishes.instructions is not None else definition.system,
        options=options,
        agents=tuple(dict.fromkeys((*definition.agents, *(rows.get(database, ref)["name"] for ref in wishes.agents)))),
        thinking=turn_options.thinking_of(wishes.thinking) if wishes.thinking is not None else definition.thinking,
        tools=_tools(definition.tools, wishes.tools),
    )


def _tools(had: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    found = dict(map(toolset.parsed, had)) | dict(map(toolset.parsed, wanted))
    return tuple(f"{name}:{permission}" for name, permission in found.items())


def _kept(app: App, database: Database, definition: Definition, row: Row | None) -> Row:
    with database.transaction(durable=True):
        connection_id, model = agents.stand_on(database, definition, app.env)
        columns = agents.columns(agents.on_model(definition, model), connection_id)
        agent_id = row["id"] if row else rows.add(database, columns)
        if row:
            rows.update(database, agent_id, columns)
        for text in definition.tools:
            name, permission = toolset.parsed(text)
            rows.attach(database, agent_id, str(toolset.tool_of(database, name).id), permission)
        agents_files.stamp(database, agent_id)
    return rows.record(database, rows.get(database, agent_id))


def _text(given: str) -> str:
    """Return a text, or for ``@FILE`` what stands in the file."""
    if not given.startswith("@"):
        return given
    try:
        with open(given[1:], encoding="utf-8") as file:
            return file.read().rstrip("\n")
    except OSError as error:
        raise NotFoundError(f'cannot read "{given[1:]}": {error.strerror}') from error
