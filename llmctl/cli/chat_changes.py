"""What the flags of ``chats new`` and ``chats edit`` make of a chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.cli import values
from llmctl.cli.app import App
from llmctl.cli.turn import options as turn_options
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.connections import target
from llmctl.engine.jobs import unlock
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, threads


@dataclass(frozen=True, slots=True)
class Wishes:
    """The flags; what is None or empty stays as it is."""

    name: str | None
    description: str | None
    model: str | None
    connection: str | None
    options: list[str]
    metadata: list[str]
    fields: list[str]
    references: list[str]


def columns(app: App, database: Database, wishes: Wishes, chat: Row | None) -> dict[str, Any]:
    """Return the columns to write; ``chat`` is the row so far."""
    old = chat or {"settings": None, "metadata": None, "refs": None, "model": None}
    app.asking = {"metadata": wishes.metadata, "field": wishes.fields, "reference": wishes.references}
    app.asking |= {"no_persist": None, "rollback": False, "tag": None}
    kept = turn_options.keep(app, database.fields.get("chats", {}), {})
    options = values.pairs(wishes.options, "-o", typed=True)
    found = _target(app, database, wishes) if wishes.model or wishes.connection else None
    settings = loads(old["settings"], {})
    if options:
        settings["options"] = _merged(settings.get("options"), options)
    if found:
        settings["provider"] = found.provider.name
    changes: dict[str, Any] = {
        **kept.fields,
        "name": wishes.name,
        "description": wishes.description,
        "metadata": dumps(_merged(loads(old["metadata"]), kept.metadata)) if kept.metadata else None,
        "refs": dumps(_merged(loads(old["refs"]), kept.references)) if kept.references else None,
        "settings": dumps({key: value for key, value in settings.items() if value}) if options or found else None,
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    return changes | (_party(found) if found else {})


def edit(database: Database, chat: Row, changes: Mapping[str, Any], system: str | None) -> None:
    """Change a chat; a new system prompt needs its thread, so that no turn may be running in it."""
    with database.transaction(durable=True):
        thread = threads.of_chat(database, chat["id"])
        if system is not None and thread is not None:
            unlock.free(database, thread["id"])
        chats.edit(database, chat, changes, system=system)


def _target(app: App, database: Database, wishes: Wishes) -> target.Target:
    if wishes.connection:
        return target.with_model(target.of_connection(database, wishes.connection, app.env), wishes.model)
    return target.resolve(database, wishes.model, app.env)


def _party(found: target.Target) -> dict[str, Any]:
    return {
        "type": "chatModel",
        "source_id": found.connection_id,
        "model": found.model or None,
        "provider": found.provider.nodellm_id,
    }


def _merged(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; what is new and null goes."""
    return {key: value for key, value in {**(old or {}), **new}.items() if value is not None}
