"""Agents: a connection with instructions, tools and options.

A session uses the current definition of its agent, and the history in the hub. The fingerprint of the definition is
stored with every request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmctl.core.errors import ConfigError, UsageError
from llmctl.core.options import TurnOptions, options_for
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine.agents.definition import Definition, TemplateParam
from llmctl.engine.connections import target
from llmctl.engine.connections.edit import reject_secret_options
from llmctl.engine.connections.target import Env, Target
from llmctl.engine.runtime import AgentContext
from llmctl.store.database import Database
from llmctl.store.records import agents, connections, tools
from llmctl.store.records.types import AgentRow, ChatRow, SessionRow

#: How deep sub-agents may be nested, including the first agent.
MAX_DEPTH = 3

#: Prefix of ``source_file`` for an agent that is a class of a program.
CLASS_PREFIX = "python:"

#: Keys of a definition that are stored in ``agents.settings``.
_SETTING_KEYS = (
    *(entry.name for entry in options_for("file") if entry.name not in ("attach", "connection", "options", "tools")),
    "agents",
)
#: Options of a definition that its agent applies itself, or stores with a session.
_AGENT_OPTIONS = ("model", "connection", "tools", "metadata")


def definition_from_row(database: Database, row: AgentRow) -> Definition:
    """Return the definition in an agent's row; its tools have the permissions stored in the hub."""
    settings = loads(row.settings, {})
    connection = connections.find_by_id(database, row.chat_model_id)
    if row.chat_model_id and connection is None:
        raise ConfigError(
            f'the connection of agent "{row.name}" was deleted',
            hint=f"set another one: llmctl agent edit {row.name} --connection NAME",
            reason="no_connection",
        )
    stored = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name in _SETTING_KEYS
    }
    agent_names = stored.pop("agents", ())
    params = {name: TemplateParam(**value) for name, value in (settings.get("params") or {}).items()}
    return Definition(
        source=_describe_source(row),
        name=row.name,
        description=row.description,
        system=row.instructions,
        params=params,
        turn=TurnOptions(
            connection=connection.name if connection else None,
            options=loads(row.options, {}),
            tools=tuple(f"{name}:{how}" for name, how in agents.tool_permissions(database, row.id).items()),
            **stored,
        ),
        agents=agent_names,
    )


def turn_defaults(definition: Definition) -> TurnOptions:
    """Return the options of a definition that are defaults for those of a turn."""
    return definition.turn.replace(**dict.fromkeys(_AGENT_OPTIONS))


def _stored_settings(definition: Definition) -> dict[str, Any]:
    settings = {**definition.turn.to_dict(), "agents": definition.agents}
    return {name: settings[name] for name in _SETTING_KEYS if _is_set(settings.get(name))}


def _is_set(value: Any) -> bool:
    """Whether a value says something: 0 does."""
    return value not in (None, "", (), [], {}) and value is not False


def _describe_source(row: AgentRow) -> str:
    """Return the name of a definition for messages: its file, or else the agent."""
    file = str(row.source_file or CLASS_PREFIX)
    return f"agent {row.name}" if file.startswith(CLASS_PREFIX) else file


def definition_columns(definition: Definition, connection_id: str | None) -> dict[str, Any]:
    """Return a definition as columns of ``agents``. Raises UsageError for an option that holds a secret."""
    reject_secret_options(definition.turn.options)
    settings = _stored_settings(definition)
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
        "options": dumps(dict(definition.turn.options)),
        "settings": dumps(settings),
    }


def resolve_connection(database: Database, definition: Definition, env: Env) -> tuple[str | None, str | None]:
    """Return the id of an agent's connection, and the model if it is not that of the connection.

    ``connection`` is the name of a connection; ``model`` is resolved like ``--model REF``. The id is None if that leads
    to no connection in the hub: then the model is resolved again in every turn.
    """
    model = definition.turn.model
    if definition.turn.connection:
        return target.for_connection(database, definition.turn.connection, env).connection_id, model
    if model is None:
        return None, None
    resolved = target.resolve(database, model, env)
    connection = connections.find_by_id(database, resolved.connection_id)
    if connection is None:
        return None, model
    return resolved.connection_id, None if connection.model_id == resolved.model else resolved.model


def resolve_target(database: Database, definition: Definition, env: Env) -> Target:
    """Return the target of an agent."""
    turn = definition.turn
    if turn.connection:
        return target.with_model(target.for_connection(database, turn.connection, env), turn.model)
    return target.resolve(database, turn.model, env)


def describe_definition(
    database: Database, definition: Definition, functions: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the full definition with its tools, as used for the fingerprint.

    ``functions`` are the functions of a program by name, with the fingerprint of their source.
    """
    granted = definition.turn.tools
    names = [text.partition(":")[0] for text in granted]
    own = {tool.name: {"schema": tool.schema, "data": tool.data, "type": "python"} for tool in definition.own_tools}
    documents = {name: own.get(name) or _describe_tool(database, name) for name in names}
    values = {
        "name": definition.name,
        "connection": definition.turn.connection,
        "instructions": definition.system,
        "options": dict(definition.turn.options),
        **_stored_settings(definition),
        "tools": dict(zip(granted, documents.values(), strict=True))
        if len(documents) == len(names)
        else dict.fromkeys(granted),
        "functions": functions,
    }
    plain: dict[str, Any] = json.loads(dumps({name: value for name, value in values.items() if _is_set(value)}))
    return plain


def _describe_tool(database: Database, name: str) -> dict[str, Any] | None:
    row = tools.find(database, name)
    return {"schema": loads(row.schema), "data": loads(row.data), "type": row.type} if row else None


def fingerprint_definition(definition: Mapping[str, Any]) -> str:
    """Return the fingerprint of a full definition: 16 hexadecimal digits."""
    text = json.dumps(definition, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def build_context(
    database: Database,
    row: AgentRow,
    definition: Definition,
    session: SessionRow | None,
    *,
    metadata: Mapping[str, Any] | None = None,
    depth: int = 0,
    functions: Mapping[str, Any] | None = None,
) -> AgentContext:
    """Return the agent of a turn, in a new session or an existing one."""
    document = describe_definition(database, definition, functions)
    stored = loads(session.metadata, {}) if session else {}
    return AgentContext(
        id=row.id,
        name=row.name,
        version=fingerprint_definition(document),
        session_id=session.id if session else new_id(),
        definition=document,
        metadata={**({} if session else definition.turn.metadata), **stored, **(metadata or {})},
        is_resumed=session is not None,
        depth=depth,
    )


def render_instructions(definition: Definition, metadata: Mapping[str, Any]) -> str | None:
    """Render the instructions template with the metadata of the session and the defaults of the parameters."""
    text = definition.system
    if text is None or not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    from llmctl.engine import template_limits  # jinja2: only if there is a template

    defaults = {name: param.default for name, param in definition.params.items() if param.default is not None}
    try:
        rendered = template_limits.render(text, {"metadata": metadata, **defaults, **metadata}, definition.source)
    except UsageError as error:
        if error.hint:
            error.hint = error.hint.replace("-p ", "--metadata ")
        raise
    return rendered.rstrip("\n")


def find_chat_agent(database: Database, chat: ChatRow | None) -> AgentRow | None:
    """Return the agent of a chat, or None. Raises ConfigError if it was deleted."""
    if chat is None or chat.type != "agent":
        return None
    row = agents.by_id(database, chat.source_id) if chat.source_id else None
    if row is None:
        raise ConfigError(
            "the agent of this chat was deleted",
            hint="continue it with another one: llmctl agent run NAME --session ID --force",
            reason="no_agent",
        )
    return row


def require_owner(session: SessionRow, row: AgentRow, *, force: bool) -> None:
    """Raise UsageError for a session of another agent, unless ``force``."""
    if session.agent_class != row.name and not force:
        raise UsageError(
            f'agent class mismatch: session "{session.id}" was created for "{session.agent_class}", '
            f'but is being loaded with "{row.name}"',
            hint="pass --force to continue it with this agent",
            reason="agent_mismatch",
        )


def with_model(definition: Definition, model: str | None) -> Definition:
    """Return the definition with another model; None: the model of its connection."""
    return replace(definition, turn=definition.turn.replace(model=model))


def with_name(definition: Definition, name: str) -> Definition:
    return replace(definition, name=definition.name or name)
