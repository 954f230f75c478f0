"""Connections from what the user says, or from what was found: checked before they are kept, never with a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.core.registry import unknown
from llmctl.core.stored_json import dumps
from llmctl.engine.connections import keys
from llmctl.engine.connections.discovery import Found
from llmctl.engine.connections.keys import Env
from llmctl.providers import PROVIDERS, Provider, hosts
from llmctl.store.database import Database, Row
from llmctl.store.records import connections, settings
from llmctl.transport import redact
from llmctl.wire import WIRES

_NAME = re.compile(r"[^\s:\x00-\x1f\x7f-][^:\x00-\x1f\x7f]{0,199}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AS_REFERENCE = "give it as a reference: env:VARIABLE, command:COMMAND, file:PATH or keyring:NAME"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user says of a connection; None leaves it as it is. A header or option of None is taken away."""

    name: str | None = None
    provider: str | None = None
    model: str | None = None
    type: str | None = None
    base_url: str | None = None
    wire: str | None = None
    #: A reference, or an empty text for none.
    key: str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None


def provider_of(wish: Wish, old: Row | None = None) -> Provider:
    """Return the provider that a connection is with; by its name where none is given.

    An unknown one is NotFoundError with near names, unless there is a base URL: then it is a compatible host.
    """
    name = wish.provider or (old["provider"] if old else wish.name) or ""
    if name.lower() in PROVIDERS:
        return PROVIDERS.load(name.lower())
    if wish.base_url or (old and old["data"].get("base_url")):
        return replace(PROVIDERS.load("compatible"), name=name)
    error = unknown("provider", name, PROVIDERS.names(), error=NotFoundError)
    error.hint = f"{error.hint}; or give any compatible host as --base-url"
    raise error


def columns(wish: Wish, env: Env, old: Row | None = None) -> dict[str, Any]:
    """Return a new connection, or the changes to ``old``, as columns. Raises for what cannot work or holds a secret."""
    provider = provider_of(wish, old)
    data = _data(wish, dict(old["data"]) if old else {}, provider)
    _check_key(provider, data, env)
    given = {"name": wish.name, "model_id": wish.model, "type": wish.type, "description": wish.description}
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "name" in found and not _NAME.fullmatch(found["name"]):
        raise UsageError(f'a connection cannot be called "{found["name"]}"', hint='no ":" in it, and no "-" first')
    for name in ("name", "model_id", "description"):
        _refuse_secret(found.get(name), name)
    if old is None:
        found = {"model_id": provider.default_model if _is_chat(wish) else None} | found
    if old is None or wish.provider:
        found["provider"] = provider.name
    return found | {"data": dumps(data)}


def add_found(database: Database, found: Iterable[Found]) -> list[tuple[Found, bool]]:
    """Make a connection for each way to a model that was found; say of each whether it is new.

    One of that name that is there already stays as it is; only a model is chosen where it has none.
    """
    with database.transaction(durable=True):  # others may be setting up the same hub
        return [(way, _add_found(database, way)) for way in found]


def _add_found(database: Database, way: Found) -> bool:
    known = connections.find(database, way.name)
    if known is None:
        connections.add(database, _found_columns(way))
    elif known["model_id"] is None and way.model and known["provider"] == way.provider:
        connections.update(database, known["id"], {"model_id": way.model})
    return known is None


def choose_default(database: Database) -> str | None:
    """Keep the connection that is used when none is named; one with a model is preferred. Return its name."""
    chosen = connections.default_name(database)
    if settings.value(database, "default_connection") and chosen:
        return chosen
    rows = [row for row in connections.listed(database) if row["provider"] != "echo" and row["type"] == "chat"]
    best = next((row["name"] for row in rows if row["model_id"]), rows[0]["name"] if rows else None)
    if best is not None:
        settings.write(database, "default_connection", best)
    return best


def _found_columns(way: Found) -> dict[str, Any]:
    provider = PROVIDERS.load(way.provider)
    data: dict[str, Any] = {"key": f"env:{way.key_env}"} if way.key_env else {}
    # A place that the environment names may change with it; a server that answered is where it answered.
    if way.base_url != provider.base_url and provider.local:
        data["base_url"] = way.base_url
    return {"name": way.name, "provider": way.provider, "model_id": way.model, "data": dumps(data)}


def _is_chat(wish: Wish) -> bool:
    return wish.type in (None, "chat")


def _data(wish: Wish, data: dict[str, Any], provider: Provider) -> dict[str, Any]:
    data |= wish.data
    _check_shapes(data)
    if wish.base_url is not None:
        data["base_url"] = wish.base_url or None
    if wish.wire is not None:
        data["wire"] = wish.wire or None
    if wish.key is not None:
        data["key"] = wish.key or None
    for name, given in (("headers", wish.headers), ("options", wish.options)):
        merged = {**(data.get(name) or {}), **given}
        data[name] = {key: value for key, value in merged.items() if value is not None}
    data = {name: value for name, value in data.items() if value not in (None, {})}
    _check(data, provider)
    return data


def _check(data: Mapping[str, Any], provider: Provider) -> None:
    if data.get("base_url"):
        _check_url(str(data["base_url"]), provider)
    if data.get("wire") and data["wire"] not in WIRES:
        raise unknown("wire", str(data["wire"]), WIRES.names())
    if data.get("key") and not keys.is_reference(str(data["key"])):
        raise UsageError("a key is given as a reference, never as its value", hint=_AS_REFERENCE)
    for name, value in data.get("headers", {}).items():
        _check_header(name, value)
    for name, value in data.items():
        if name not in ("headers", "base_url", "key"):
            _refuse_secret(dumps(value), name)


def _check_shapes(data: Mapping[str, Any]) -> None:
    for name in ("headers", "options", "query"):
        if not isinstance(data.get(name) or {}, dict):
            raise UsageError(f'"{name}" of a connection is an object', hint='such as {"NAME": VALUE}')
    for name in ("base_url", "wire", "key"):
        if not isinstance(data.get(name) or "", str):
            raise UsageError(f'"{name}" of a connection is a text')


def _check_url(url: str, provider: Provider) -> None:
    hidden = _hidden(url)
    if hidden:
        raise UsageError(
            f"the base URL holds {hidden}", hint="keep it as the key, or as a header: --header 'NAME=env:VARIABLE'"
        )
    base, _ = hosts.complete(url, provider.root_path)
    if not base.startswith(("https://", "http://")):
        raise UsageError(f'"{url}" is no base URL', hint="it begins with https:// or http://")


def _hidden(url: str) -> str | None:
    """Return what a URL carries that must not be kept."""
    try:
        netloc = urlsplit(url.strip()).netloc
    except ValueError:
        netloc = url
    if "@" in netloc:
        return "a user or password"
    return "a key" if redact.redact_url(url) != url else None


def _check_header(name: str, value: Any) -> None:
    if not _HEADER.fullmatch(name):
        raise UsageError(f'"{name}" is no name of a header')
    if not isinstance(value, str) or not value.isprintable() or not value.isascii():
        raise UsageError(f'header "{name}" holds a character that http does not allow')
    if not keys.is_reference(value) and redact.redact_headers({name: value})[name] != value:
        raise UsageError(f'header "{name}" looks like it holds a key', hint=_AS_REFERENCE)


def _check_key(provider: Provider, data: Mapping[str, Any], env: Env) -> None:
    """Raise where the named key is another provider's."""
    if data.get("key"):
        keys.choose(provider, str(data.get("base_url") or provider.base_url), str(data["key"]), env)


def _refuse_secret(value: Any, place: str) -> None:
    if isinstance(value, str) and mask_keys(value) != value:
        raise UsageError(
            f"the {place.replace('_id', '')} looks like it holds a key", hint="keys are given with --key-…"
        )
