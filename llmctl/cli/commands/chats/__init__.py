"""What ``chats new``, ``chats edit`` and ``chats rename`` share: the columns their flags set, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_change
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.connections import target
from llmctl.engine.turn.options import assign_custom_fields
from llmctl.store.database import Database, Serializer
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow


def chat_columns(
    app: App,
    database: Database,
    flags: TurnOptions,
    chat: ChatRow | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
) -> dict[str, Any]:
    """Return the columns to write; what is not given stays as it is. ``chat`` is the row as it is now."""
    assigned = assign_custom_fields(database, flags)
    options = flags.options
    new_target = _resolve_target(app, database, flags) if flags.model or flags.connection else None
    settings = loads(chat.settings, {}) if chat else {}
    if options:
        settings["options"] = _merge(settings.get("options"), options)
    if new_target:
        settings["provider"] = new_target.provider.name
    is_changed = bool(options or new_target)
    changes: dict[str, Any] = {
        **assigned.fields,
        "name": name,
        "description": description,
        "metadata": dumps(_merge(loads(chat.metadata) if chat else None, assigned.metadata))
        if assigned.metadata
        else None,
        "refs": dumps(_merge(loads(chat.refs) if chat else None, assigned.references)) if assigned.references else None,
        "settings": dumps({key: value for key, value in settings.items() if value}) if is_changed else None,
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    return changes | (_target_columns(new_target) if new_target else {})


def emit_chat(app: App, database: Database, chat_id: str, text: str) -> None:
    """Report a chat that was created or changed; ``{name}`` in the text is its name or short id."""
    row = chats.get_summary(database, chat_id)
    emit_change(
        app.console, Serializer(database, "chats").to_record(row), text.replace("{name}", row["name"] or chat_id[:8])
    )


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


def _merge(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; a new value of None removes its key."""
    return {key: value for key, value in {**(old or {}), **new}.items() if value is not None}
