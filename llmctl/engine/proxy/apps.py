"""Programs that may use the proxy, and what each may cost."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import new_id
from llmctl.store.database import Database, Insert, Update
from llmctl.store.records import proxied
from llmctl.store.records.types import ProxyAppRow

#: Seconds after which a running proxy looks for changed apps.
_MAX_AGE_S = 1.0
#: Beginning of the keys of apps.
KEY_PREFIX = "llmctl-"
#: Names that are part of a path.
_NAME_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class AppTable:
    """The apps of a hub, for a proxy that runs: read again once a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_at = -_MAX_AGE_S
        self._apps: list[ProxyAppRow] = []

    def find(self, key_hash: str | None, name: str | None) -> ProxyAppRow | None:
        """Return the app with a key, else that of a name; None where there is none."""
        if key_hash is None and name is None:
            return None
        now = time.monotonic()
        if now - self._read_at > _MAX_AGE_S:
            self._apps, self._read_at = proxied.list_apps(self._database), now
        if key_hash is not None:
            return next((app for app in self._apps if app.key_hash == key_hash), None)
        return next((app for app in self._apps if app.name == name), None)


def add_app(
    database: Database, name: str, columns: dict[str, Any], *, with_key: bool
) -> tuple[ProxyAppRow, str | None]:
    """Add an app; return it, and its key, which is kept as a hash only. Raises UsageError for a name that is taken."""
    if not name or not set(name) <= _NAME_CHARACTERS:
        raise UsageError(f'the name of an app must consist of letters, digits, ".", "_" and "-", got "{name}"')
    if proxied.find_app(database, name) is not None:
        raise UsageError(f'there is already an app "{name}"', hint=f"change it: llmctl proxy app edit {name}")
    key = KEY_PREFIX + secrets.token_urlsafe(24) if with_key else None
    now = clock.now()
    row = {"id": new_id(), "name": name, "key_hash": hash_key(key), **columns, "created_at": now, "updated_at": now}
    database.commit(Insert("proxy_apps", row), durable=True)
    return proxied.get_app(database, name), key


def edit_app(
    database: Database, name: str, columns: dict[str, Any], *, with_key: bool
) -> tuple[ProxyAppRow, str | None]:
    """Change an app; a new key replaces the old one."""
    app = proxied.get_app(database, name)
    key = KEY_PREFIX + secrets.token_urlsafe(24) if with_key else None
    changes = {**columns, **({"key_hash": hash_key(key)} if key else {}), "updated_at": clock.now()}
    database.commit(Update("proxy_apps", app.id, changes), durable=True)
    return proxied.get_app(database, name), key


def hash_key(key: str | None) -> str | None:
    """Return what is kept of an app's key."""
    return hashlib.sha256(key.encode()).hexdigest() if key else None
