"""Agents: a connection with instructions, tools and options, that people talk to as they talk to a model.

The definition counts as it is now; what was said comes from the hub. A definition has a fingerprint, which stands on
every request that was made with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmctl.core.errors import ConfigError, UsageError
from llmctl.core.ids import new_id
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.agents.context import Party
from llmctl.engine.agents.definition import Definition, Param
from llmctl.engine.connections import target
from llmctl.engine.connections.target import Env, Target
from llmctl.store.database import Database, Row
from llmctl.store.records import agents, tools

#: How deep agents may ask agents.
MOST_DEPTH = 3

#: What stands for the file of an agent that is a class of a running program.
CLASS = "python:"

#: What of a definition stands in ``agents.settings``.
_SETTINGS = (
    *("model", "thinking", "schema", "fix", "max_cost", "max_steps", "history", "timeout", "retries"),
    *("fallback", "tag", "no_stream", "agents", "extract", "metadata"),
)


def definition_of(database: Database, row: Row) -> Definition:
    """Return an agent's row as a definition; its tools carry the permissions that the hub's owner gave."""
    settings = loads(row["settings"], {})
    connection = database.value("SELECT name FROM {model_connections} WHERE id = ?", (row["chat_model_id"],))
    if row["chat_model_id"] and connection is None:
        raise ConfigError(
            f'the connection of the agent "{row["name"]}" was removed',
            hint=f"give it another: llmctl agent edit {row['name']} --connection NAME",
            reason="no_connection",
        )
    own: dict[str, Any] = {name: value for name, value in settings.items() if name in _SETTINGS}
    own |= {name: tuple(own[name]) for name in ("fallback", "agents") if name in own}
    params = {name: Param(**value) for name, value in (settings.get("params") or {}).items()}
    return Definition(
        source=_source(row),
        name=row["name"],
        description=row["description"],
        connection=connection,
        system=row["instructions"],
        options=loads(row["options"], {}),
        tools=tuple(f"{name}:{how}" for name, how in agents.tools_of(database, row["id"]).items()),
        params=params,
        **own,
    )


def _source(row: Row) -> str:
    """Return what messages call an agent's definition: its file, or itself where it is in none."""
    file = str(row["source_file"] or CLASS)
    return f"agent {row['name']}" if file.startswith(CLASS) else file


def columns(definition: Definition, connection_id: str | None) -> dict[str, Any]:
    """Return what a definition says as columns of ``agents``; ``connection_id`` is what it stands on."""
    settings = {name: value for name in _SETTINGS if (value := getattr(definition, name))}
    if definition.params:
        settings["params"] = {
            name: {"default": param.default, "description": param.description}
            for name, param in definition.params.items()
        }
    return {
        "name": definition.name,
        "description": definition.description,
        "chat_model_id": connection_id,
        "instructions": definition.system,
        "options": dumps(dict(definition.options)),
        "settings": dumps(settings),
    }


def stand_on(database: Database, definition: Definition, env: Env) -> tuple[str | None, str | None]:
    """Return the id of the connection that an agent stands on and, where that has another one, its model.

    ``connection`` names it, or ``model`` leads to it, as ``--model REF`` does. None where nothing in the hub does:
    then the model is looked for anew in every turn.
    """
    if definition.connection:
        found = target.of_connection(database, definition.connection, env)
        return found.connection_id, definition.model
    if definition.model is None:
        return None, None
    named = target.resolve(database, definition.model, env)
    own = database.one("SELECT model_id FROM {model_connections} WHERE id = ?", (named.connection_id,))
    if own is None:
        return None, definition.model
    return named.connection_id, None if own["model_id"] == named.model else named.model


def target_of(database: Database, definition: Definition, env: Env) -> Target:
    """Return what an agent talks to a model by."""
    if definition.connection:
        return target.with_model(target.of_connection(database, definition.connection, env), definition.model)
    return target.resolve(database, definition.model, env)


def document(database: Database, definition: Definition, functions: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a definition in full, with what its tools are: what the fingerprint is made of.

    ``functions`` are those of a program, by name, with their source.
    """
    names = [text.partition(":")[0] for text in definition.tools]
    own = {tool["name"]: tool for tool in definition.own_tools}
    rows = {name: own.get(name) or tools.find(database, name) for name in names}
    found = {
        "name": definition.name,
        "connection": definition.connection,
        "instructions": definition.system,
        "options": dict(definition.options),
        **{name: getattr(definition, name) for name in _SETTINGS},
        "tools": {
            text: {"schema": row["schema"], "data": row["data"], "type": row["type"]} if row else None
            for text, row in zip(definition.tools, rows.values(), strict=True)
        }
        if len(rows) == len(names)
        else dict.fromkeys(definition.tools),
        "functions": functions,
    }
    plain: dict[str, Any] = json.loads(dumps({name: value for name, value in found.items() if value}))
    return plain


def fingerprint(definition: Mapping[str, Any]) -> str:
    """Return the fingerprint of a definition in full: 16 hexadecimal digits."""
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def party(
    database: Database,
    row: Row,
    definition: Definition,
    session: Row | None,
    *,
    metadata: Mapping[str, Any] | None = None,
    depth: int = 0,
    functions: Mapping[str, Any] | None = None,
) -> Party:
    """Return the agent of a turn, in a session of its own or in one that is resumed."""
    full = document(database, definition, functions)
    known = (session or {}).get("metadata") or {}
    return Party(
        id=row["id"],
        name=row["name"],
        version=fingerprint(full),
        session_id=session["id"] if session else new_id(),
        definition=full,
        metadata={**({} if session else definition.metadata), **known, **(metadata or {})},
        is_resumed=session is not None,
        depth=depth,
    )


def instructions(definition: Definition, metadata: Mapping[str, Any]) -> str | None:
    """Return what the model is told: the template filled with the session's metadata and the parameters' defaults."""
    text = definition.system
    if text is None or not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    from llmctl.formats import templates  # jinja2: only for those who have a template

    defaults = {name: param.default for name, param in definition.params.items() if param.default is not None}
    try:
        return templates.render(text, {"metadata": metadata, **defaults, **metadata}, definition.source).rstrip("\n")
    except UsageError as error:
        if error.hint:
            error.hint = error.hint.replace("-p ", "--metadata ")
        raise


def of_chat(database: Database, chat: Row | None) -> Row | None:
    """Return the agent that a chat is with, or None; raises ConfigError where that was removed."""
    if chat is None or chat["type"] != "agent":
        return None
    row = agents.of_id(database, chat["source_id"]) if chat["source_id"] else None
    if row is None:
        raise ConfigError(
            "the agent of this chat was removed",
            hint="its history stays; another goes on with it: llmctl agent run NAME --session ID --force",
            reason="no_agent",
        )
    return row


def require_own(session: Row, row: Row, *, force: bool) -> None:
    """Refuse a session of another agent, in the words of the original; ``force`` takes it over."""
    if session["agent_class"] != row["name"] and not force:
        raise UsageError(
            f'Agent class mismatch: Session "{session["id"]}" was created for "{session["agent_class"]}", '
            f'but is being loaded with "{row["name"]}".',
            hint="--force takes it over",
            reason="agent_mismatch",
        )


def on_model(definition: Definition, model: str | None) -> Definition:
    """Return the definition with the model that the connection it stands on does not have itself."""
    return replace(definition, model=model)


def with_name(definition: Definition, name: str) -> Definition:
    return replace(definition, name=definition.name or name)
