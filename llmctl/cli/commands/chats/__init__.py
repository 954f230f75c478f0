"""What ``chats new``, ``chats edit`` and ``chats rename`` share: the columns their flags set, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.options import NULL, TURN_OPTIONS, TurnOptions
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.agents import agents
from llmctl.engine.connections import target
from llmctl.engine.connections.edit import reject_secret_options
from llmctl.engine.tools import toolset
from llmctl.engine.turn.plan import assign_custom_fields
from llmctl.engine.turn.records import dump_chat_settings
from llmctl.store.database import Database, Serializer
from llmctl.store.records import chat_summaries
from llmctl.store.records.types import AgentRow, ChatRow

#: Options that a chat keeps, unless it is with an agent: then those of the agent's definition count.
_OF_MODEL_CHATS = ("options", "thinking", "tools")


def chat_columns(
    app: App,
    database: Database,
    flags: TurnOptions,
    chat: ChatRow | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    agent: AgentRow | None = None,
) -> dict[str, Any]:
    """Return the columns to write; what is not given stays as it is. ``chat`` is the row as it is now.

    With ``agent`` that agent becomes the chat's other party, with a model or a connection that model does.
    """
    assigned = assign_custom_fields(database, flags)
    new_target = _resolve_target(app, database, flags) if flags.model or flags.connection else None
    if agent is not None:
        party = _agent_columns(app, database, agent)
    else:
        party = _target_columns(new_target) if new_target else {}
    if party.get("type", chat.type if chat else None) == "agent":
        _refuse_model_options(database, flags, agent, chat)
    settings = _merge_settings(database, flags, loads(chat.settings, {}) if chat else {})
    if new_target:
        settings["provider"] = new_target.provider.name
    if agent is not None:
        settings = {key: value for key, value in settings.items() if key not in _OF_MODEL_CHATS}
    is_changed = bool(party or flags.only((*_OF_MODEL_CHATS, "no_persist")).to_dict())
    changes: dict[str, Any] = {
        **assigned.fields,
        "name": name,
        "description": description,
        "metadata": dumps(_merge(loads(chat.metadata) if chat else None, assigned.metadata))
        if assigned.metadata
        else None,
        "refs": dumps(_merge(loads(chat.refs) if chat else None, assigned.references)) if assigned.references else None,
        "settings": dump_chat_settings(settings) if is_changed else None,
    }
    return {key: value for key, value in changes.items() if value is not None} | party


def emit_chat(app: App, database: Database, chat_id: str, text: str) -> None:
    """Report a chat that was created or changed; ``{name}`` in the text is its name or short id."""
    row = chat_summaries.get(database, chat_id)
    emit_change(
        app.console, Serializer(database, "chats").to_record(row), text.replace("{name}", row["name"] or chat_id[:8])
    )


def _refuse_model_options(database: Database, flags: TurnOptions, agent: AgentRow | None, chat: ChatRow | None) -> None:
    given = flags.only(_OF_MODEL_CHATS).to_dict()
    if not given:
        return
    row = agent or agents.find_chat_agent(database, chat)
    flag, name = TURN_OPTIONS[next(iter(given))].flags[0], row.name if row else None
    raise UsageError(
        f'{flag} cannot be set for a chat with an agent: the definition of agent "{name}" counts',
        hint=f"change the agent: llmctl agent edit {name} {flag} ...",
    )


def _merge_settings(database: Database, flags: TurnOptions, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a chat's settings with those of the flags."""
    given = flags.to_dict()
    if "options" in given:
        reject_secret_options(flags.options)
        settings["options"] = _merge(settings.get("options"), flags.options)
    if "thinking" in given:
        settings["thinking"] = None if flags.thinking == NULL else flags.thinking
    if "tools" in given:
        settings["tools"] = _merge_tools(database, settings.get("tools") or {}, flags.tools)
    if "no_persist" in given:
        settings["without"] = sorted(flags.no_persist)
    return settings


def _merge_tools(database: Database, old: Mapping[str, Any], grants: Sequence[str]) -> dict[str, Any]:
    """Return tool name -> permission with those of ``NAME[:PERMISSION]``; ``NAME:null`` takes a tool away."""
    tools = dict(old)
    for text in grants:
        name, _, word = text.partition(":")
        if word == NULL:
            for removed in _find_chat_tools(database, tools, name):
                del tools[removed]
            continue
        added = toolset.resolve_grants(database, dict([toolset.parse_grant(text)]))
        tools |= {grant.tool.name: grant.permission for grant in added}
    return tools


def _find_chat_tools(database: Database, tools: Mapping[str, Any], ref: str) -> list[str]:
    """Return the names of a chat's tools that a REF, a server or a pattern means; deleted tools have a name only."""
    if ref in tools:
        return [ref]
    try:
        meant = {tool.name for tool in toolset.get_tools(database, ref, writable=False)}
    except NotFoundError:
        meant = set()
    if found := [name for name in tools if name in meant]:
        return found
    raise NotFoundError(f'this chat has no tool "{ref}"', hint=f"its tools: {', '.join(tools) or 'none'}")


def _resolve_target(app: App, database: Database, flags: TurnOptions) -> target.Target:
    if flags.connection:
        return target.with_model(target.for_connection(database, flags.connection, app.env), flags.model)
    return target.resolve(database, flags.model, app.env)


def _target_columns(chat_target: target.Target) -> dict[str, Any]:
    return {
        "type": "chatModel",
        "source_id": chat_target.connection_id,
        "model": chat_target.model or None,
        "provider": chat_target.provider.nodellm_id,
    }


def _agent_columns(app: App, database: Database, row: AgentRow) -> dict[str, Any]:
    chat_target = agents.resolve_target(database, agents.definition_from_row(database, row), app.env)
    return _target_columns(chat_target) | {"type": "agent", "source_id": row.id}


def _merge(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; a new value of None removes its key."""
    return {key: value for key, value in {**(old or {}), **new}.items() if value is not None}
