"""The single row of ``user_settings``."""

from __future__ import annotations

from typing import Any

from llmctl.core import clock
from llmctl.core.options import SETTINGS, Setting
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.store.database import Database, Insert, Row, Update

_ROW = "SELECT * FROM {user_settings} ORDER BY created_at, rowid LIMIT 1"


def get(database: Database, name: str) -> Any:
    """Return a setting, or its default."""
    setting = SETTINGS[name]
    row = database.one(_ROW)
    if row is not None and setting.is_column:
        return _to_python(setting, row[name])
    return (loads(row["settings"], {}) if row else {}).get(name, setting.default)


def list_changed(database: Database) -> dict[str, Any]:
    """Return name -> value of the settings that differ from their defaults."""
    row = database.one(_ROW)
    if row is None:
        return {}
    columns = {s.name: _to_python(s, row[s.name]) for s in SETTINGS.values() if s.is_column}
    changed = {name: value for name, value in columns.items() if value != SETTINGS[name].default}
    return {**loads(row["settings"], {}), **changed}


def update(database: Database, name: str, value: Any) -> None:
    """Set a setting; None resets it. Other settings changed at the same time are kept."""
    setting = SETTINGS[name]
    with database.transaction(durable=True):
        row = _ensure_row(database)
        if setting.is_column:
            changes: dict[str, Any] = {name: setting.default if value is None else value}
        else:
            settings = {key: old for key, old in loads(row["settings"], {}).items() if key != name}
            changes = {"settings": dumps(settings if value is None else settings | {name: value})}
        database.commit(Update("user_settings", row["id"], changes | {"updated_at": clock.now()}))


def _ensure_row(database: Database) -> Row:
    """Return the row; add it if it is missing."""
    row = database.one(_ROW)
    if row is None:
        now = clock.now()
        database.commit(Insert("user_settings", {"id": new_id(), "created_at": now, "updated_at": now}))
        row = database.one(_ROW)
    assert row is not None
    return row


def _to_python(setting: Setting, value: Any) -> Any:
    return bool(value) if setting.option.kind == "switch" else value
