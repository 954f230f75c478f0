"""The one row of ``user_settings``: what the user chose."""

from __future__ import annotations

from typing import Any

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.settings import SETTINGS, Setting
from llmctl.core.stored_json import dumps, loads
from llmctl.store.database import Database, Row
from llmctl.store.writes import Insert, Update

_ROW = "SELECT * FROM {user_settings} ORDER BY created_at, rowid LIMIT 1"


def value(database: Database, name: str) -> Any:
    """Return what is set, or what is built in."""
    setting = SETTINGS[name]
    row = database.one(_ROW)
    if row is not None and setting.is_column:
        return _typed(setting, row[name])
    return (loads(row["settings"], {}) if row else {}).get(name, setting.default)


def chosen(database: Database) -> dict[str, Any]:
    """Return every setting that differs from what is built in, by name."""
    row = database.one(_ROW)
    if row is None:
        return {}
    columns = {s.name: _typed(s, row[s.name]) for s in SETTINGS.values() if s.is_column}
    changed = {name: value for name, value in columns.items() if value != SETTINGS[name].default}
    return {**loads(row["settings"], {}), **changed}


def write(database: Database, name: str, value: Any) -> None:
    """Set a setting; None takes it back to what is built in. Other settings stay, whoever sets them meanwhile."""
    setting = SETTINGS[name]
    with database.transaction(durable=True):
        row = _row(database)
        if setting.is_column:
            changes: dict[str, Any] = {name: setting.default if value is None else value}
        else:
            settings = {key: kept for key, kept in loads(row["settings"], {}).items() if key != name}
            changes = {"settings": dumps(settings if value is None else settings | {name: value})}
        database.commit(Update("user_settings", row["id"], changes | {"updated_at": clock.now()}))


def _row(database: Database) -> Row:
    """Return the row, made if it is gone."""
    found = database.one(_ROW)
    if found is None:
        now = clock.now()
        database.commit(Insert("user_settings", {"id": new_id(), "created_at": now, "updated_at": now}))
        found = database.one(_ROW)
    assert found is not None
    return found


def _typed(setting: Setting, value: Any) -> Any:
    return bool(value) if setting.kind == "boolean" else value
