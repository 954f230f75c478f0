"""Keys of connections at the command line: where they come from, and what is said of them. Never their value."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmctl.cli.app import App
from llmctl.core import paths, stored_json
from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError, UsageError
from llmctl.engine.connections import keys, target
from llmctl.store import opening
from llmctl.store.database import Database, Row
from llmctl.store.records import connections, settings

if TYPE_CHECKING:
    from llmctl.engine.connections.edit import Wish


@dataclass(frozen=True, slots=True)
class KeyFlags:
    """The flags that say where the key is; at most one of them."""

    env: str | None = None
    command: str | None = None
    file: str | None = None
    keyring: str | None = None
    stdin: bool = False
    none: bool = False

    def reference(self) -> str | None:
        """Return the reference that is named, an empty text for none; None where nothing is said."""
        given = {"env": self.env, "command": self.command, "file": self.file, "keyring": self.keyring}
        named = [f"{kind}:{value}" for kind, value in given.items() if value is not None]
        if len(named) + self.stdin + self.none > 1:
            raise UsageError("a connection has one key", hint="use one of the --key-... options")
        if named and not keys.is_reference(named[0]):
            raise UsageError(f'"--key-{named[0].partition(":")[0]}" needs a value')
        return "" if self.none else named[0] if named else None


def more(
    header: Iterable[str] | None, option: Iterable[str] | None, data: str | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return headers, options and data as the flags give them; ``K=`` is None: take it away."""
    from llmctl.cli.values import pairs

    headers = {name: value or None for name, value in pairs(header or (), "--header").items()}
    return headers, pairs(option or (), "--option", typed=True), _data(data)


def _data(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise NotFoundError(f'cannot read "{text[1:]}": {getattr(error, "strerror", None) or error}') from error
    try:
        found = stored_json.loads(text)
    except ValueError as error:
        raise UsageError(f'"--data" holds no JSON: {error}') from error
    if not isinstance(found, dict):
        raise UsageError('"--data" takes a JSON object', hint='such as {"query": {"api-version": "2025-01-01"}}')
    return found


def hub(app: App) -> Database:
    """Return the hub, made if it is missing: empty, since the user is just saying what to connect to."""
    if app.hub_path != opening.MEMORY and not os.path.exists(app.hub_path):
        opening.create(app.hub_path)
    return app.hub("create")


def refuse_taken(database: Database, name: str) -> None:
    """Raise where a connection of that name is there: before a key is asked for."""
    if connections.find(database, name):
        raise UsageError(
            f'there is a connection "{name}" already', hint=f"change it with: llmctl connection edit {name}"
        )


def with_key(app: App, wish: Wish, flags: KeyFlags, old: Row | None = None) -> Wish:
    """Return the wish with the key's reference; a key that is read or typed goes into a file first."""
    reference = flags.reference()
    name = wish.name or (old["name"] if old else "")
    if reference is not None:
        if reference.startswith("file:"):
            path = os.path.expanduser(reference.removeprefix("file:"))
            reference = f"file:{os.path.abspath(path)}"
        return replace(wish, key=reference)
    if flags.stdin:
        from llmctl.cli.stdin import read_text

        return replace(wish, key=_stored(app, name, read_text(app.io, app.note)))
    if old is None:
        typed = _typed(app, wish)
        return replace(wish, key=_stored(app, name, typed) if typed else _from_environment(app, wish))
    return wish


def tell_missing(app: App, row: Row) -> None:
    """Say what a new connection still lacks."""
    name = row["name"]
    state = key_state(app, row)
    try:
        target.of_connection(app.hub(), row["id"], app.env)
    except ConfigError as error:  # no place to go yet: no key is missed before that
        app.note(f"{error.message}; {error.hint}")
        state = {"key_found": None, "key_note": None}
    if not state["key_found"] and state["key_note"]:
        app.note(f"{state['key_note']}; pipe one in: llmctl connection edit {name} --key-stdin")
    if row["model_id"] is None:
        app.note(f"no model yet: llmctl connection models {name}, then llmctl connection edit {name} --model ID")


def key_state(app: App, row: Row) -> dict[str, Any]:
    """Return where a connection's key comes from, whether it is there, and what is to be said of it."""
    try:
        found = target.of_connection(app.hub(), row["id"], app.env)
        allowed = target.access(found, app.env, home=app.home, on_terminal=app.io.stderr_tty)
    except LlmctlError as error:
        return {"key_found": False, "key_source": row["data"].get("key"), "key_note": error.message}
    needs = found.key is None and not allowed.secrets
    return {"key_found": None if needs else True, "key_source": found.key, "key_note": None}


def follow_name(database: Database, old: Row, new: Row) -> None:
    """Keep the default connection the default one under its new name."""
    if old["name"] != new["name"] and settings.value(database, "default_connection") == old["name"]:
        settings.write(database, "default_connection", new["name"])


def forget(app: App, row: Row) -> None:
    """Let go of what was kept for a connection that is gone: its place as the default, its key file."""
    database = app.hub()
    if settings.value(database, "default_connection") in (row["name"], row["id"]):
        settings.write(database, "default_connection", None)
        app.note("it was the default one")
    reference = str(row["data"].get("key") or "")
    others = [other["data"].get("key") for other in connections.listed(database)]
    path = reference.removeprefix("file:")
    if reference.startswith("file:") and os.path.dirname(path) == _folder(app) and reference not in others:
        try:
            os.unlink(path)
            app.note(f'deleted its key "{path}"')
        except OSError:
            return


def _folder(app: App) -> str:
    """Return the folder of keys that llmctl keeps: beside other data, or beside the hub where there is no home."""
    folder = paths.data_folder(app.env) or os.path.dirname(os.path.abspath(app.hub_path))
    return os.path.join(folder, "keys")


def _stored(app: App, name: str, value: str) -> str:
    try:
        path = keys.store_key_file(_folder(app), name, value.strip())
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from None
    app.note(f'keeps the key in "{path}", which only you can read')
    return f"file:{path}"


def _typed(app: App, wish: Wish) -> str | None:
    """Ask for the key unseen, where one is needed and nothing else has it."""
    from llmctl.engine.connections.edit import provider_of

    provider = provider_of(wish)
    base_url = wish.base_url or provider.base_url
    is_needless = provider.auth == "none" or provider.local or wish.headers or wish.data.get("key")
    if is_needless or keys.choose(provider, base_url, None, app.env):
        return None
    from llmctl.cli.console.prompts import ask_secret

    return ask_secret(app, f"Key of {provider.name} (nothing to leave it out): ")


def _from_environment(app: App, wish: Wish) -> str | None:
    """Return the provider's own variable, if this connection may have its key."""
    if wish.data.get("key"):
        return None
    from llmctl.engine.connections.edit import provider_of

    provider = provider_of(wish)
    return keys.choose(provider, wish.base_url or provider.base_url, None, app.env)
