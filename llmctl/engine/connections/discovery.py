"""Discover connections: API keys in the environment, and model servers running on this machine."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llmctl.core.errors import ConfigError, LlmctlError
from llmctl.core.http import HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.engine.connections import trust
from llmctl.engine.connections.keys import first_set_variable
from llmctl.providers import PROVIDERS, Provider, is_loopback, split_base_url
from llmctl.store.database import Database
from llmctl.store.records import connections, settings

Env = Mapping[str, str]

#: Servers that are looked for, in this order.
LOCAL_PROVIDERS = ("ollama", "lmstudio", "llamacpp", "vllm")

#: A model list is short; a larger response comes from some other service.
_MAX_BYTES = 1_000_000
_NOT_CHAT = re.compile(r"embed|rerank|minilm|colbert|\b(bge|gte|e5|clip|tts)\b|whisper|moderation|guard", re.I)


@dataclass(frozen=True, slots=True)
class DiscoveredConnection:
    """A connection that can be added. ``model`` is None if unknown; ``reason`` is how it was found."""

    name: str
    provider: str
    base_url: str
    model: str | None
    key_env: str | None
    reason: str


def discover(env: Env, *, timeout_s: float = 0.3, ports: Mapping[str, int] | None = None) -> list[DiscoveredConnection]:
    """Return connections for the keys in the environment, then for the servers on this machine.

    All servers are queried in parallel; those that have not answered after ``timeout_s`` are left out. ``ports``
    replaces the usual ports (provider -> port; only these are queried).
    """
    from llmctl.transport import client  # noqa: F401  imported before the clock starts

    deadline = time.monotonic() + timeout_s
    urls = _local_urls(env, ports)
    answers: dict[str, list[str]] = {}

    def ask(name: str, url: str) -> None:
        models = _list_models(url, _header_safe_key(PROVIDERS.load(name), env), deadline)
        if models is not None:
            answers[name] = models

    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in urls.items()]
    for thread in threads:
        thread.start()
    discovered = from_environment(env)
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    models = dict(answers)
    return discovered + [_from_server(name, url, models[name], env) for name, url in urls.items() if name in models]


def from_environment(env: Env) -> list[DiscoveredConnection]:
    """Return a connection for each provider whose key is in the environment. Nothing is sent."""
    return [
        found
        for name in PROVIDERS.names()
        if (provider := PROVIDERS.load(name)).key_env and not provider.local
        if (found := _from_key_variable(provider, env)) is not None
    ]


def pick_chat_model(models: list[str]) -> str | None:
    """Return the first model whose name does not suggest embeddings, speech or the like."""
    return next((model for model in models if not _NOT_CHAT.search(model)), None)


def connect_environment(database: Database, env: Env) -> list[str]:
    """Add a connection for each provider whose key is in the environment; return the names of the new ones."""
    return [found.name for found, is_new in add_discovered(database, from_environment(env), env) if is_new]


def add_discovered(
    database: Database, discovered: Iterable[DiscoveredConnection], env: Env
) -> list[tuple[DiscoveredConnection, bool]]:
    """Add connections that were discovered; return each with whether it is new.

    An existing connection of the same name stays as it is; only a missing model is filled in.
    """
    with database.transaction(durable=True):  # another process may be setting up the same hub
        return [(found, _add_if_new(database, found, env)) for found in discovered]


def pick_default(database: Database, env: Env) -> str | None:
    """Store and return the default connection: the current one, else the first that is trusted (with a model)."""
    current = trust.default_name(database, env)
    if settings.get(database, "default_connection") and current:
        return current
    remote = trust.list_usable(database, env, "chat")
    best = next((connection.name for connection in remote if connection.model_id), remote[0].name if remote else None)
    if best is not None:
        settings.update(database, "default_connection", best)
    return best


def _add_if_new(database: Database, found: DiscoveredConnection, env: Env) -> bool:
    existing = connections.find_by_name(database, found.name)
    if existing is None:
        trust.add(database, connections.add(database, _discovered_columns(found)), env)
    elif existing.model_id is None and found.model and existing.provider == found.provider:
        connections.update(database, existing.id, {"model_id": found.model})
    return existing is None


def _discovered_columns(found: DiscoveredConnection) -> dict[str, Any]:
    provider = PROVIDERS.load(found.provider)
    data: dict[str, Any] = {"key": f"env:{found.key_env}"} if found.key_env else {}
    # A base URL from the environment may change with it; a local server stays where it answered.
    if found.base_url != provider.base_url and provider.local:
        data["base_url"] = found.base_url
    return {"name": found.name, "provider": found.provider, "model_id": found.model, "data": dumps(data)}


def _from_key_variable(provider: Provider, env: Env) -> DiscoveredConnection | None:
    key = first_set_variable(provider.key_env, env)
    base = first_set_variable(provider.base_env, env)
    base_url = env[base].strip() if base else provider.base_url
    if key is None or not base_url:
        return None
    reason = f"{key} is set" + (f", {base} too" if base else "")
    return DiscoveredConnection(provider.name, provider.name, base_url, provider.default_model, key, reason)


def _from_server(name: str, url: str, models: list[str], env: Env) -> DiscoveredConnection:
    key = first_set_variable(PROVIDERS.load(name).key_env, env)
    return DiscoveredConnection(name, name, url, pick_chat_model(models), key, f"a server answers at {url}")


def _local_urls(env: Env, ports: Mapping[str, int] | None) -> dict[str, str]:
    """Return the URL to try for each local server: from its variable if that is on this machine, else the usual one."""
    if ports is not None:
        return {name: f"http://localhost:{port}/v1" for name, port in ports.items()}
    return {name: _local_url(PROVIDERS.load(name), env) or PROVIDERS.load(name).base_url for name in LOCAL_PROVIDERS}


def _local_url(provider: Provider, env: Env) -> str | None:
    for variable in (*provider.base_env, f"{provider.name.upper()}_HOST"):
        text = env.get(variable, "").strip()
        if not text:
            continue
        if variable.endswith("_HOST"):
            text = _url_from_host(text, provider)
        try:
            url, _ = split_base_url(text, provider.root_path)
        except ConfigError:
            continue
        if is_loopback(url) and url.startswith("http:"):
            return url
    return None


def _url_from_host(text: str, provider: Provider) -> str:
    """Return the URL behind ``OLLAMA_HOST``, which may be ``:11435``, a bare host, or 0.0.0.0 for all addresses."""
    scheme, separator, rest = text.partition("://")
    address = rest if separator else text
    host, colon, port = address.rstrip("/").rpartition(":")
    if not (colon and port.isdecimal()):
        host, port = address.rstrip("/"), str(urlsplit(provider.base_url).port)
    host = "localhost" if host in ("", "0.0.0.0", "[::]") else host
    return f"{scheme if separator else 'http'}://{host}:{port}"


def _header_safe_key(provider: Provider, env: Env) -> str | None:
    variable = first_set_variable(provider.key_env, env)
    value = env[variable].strip() if variable else ""
    return value if value.isascii() and value.isprintable() and value else None


def _list_models(url: str, key: str | None, deadline: float) -> list[str] | None:
    """Return the ids of the models a server lists, or None if nothing answers the way such a server does."""
    try:
        body = _fetch(f"{url}/models", key, deadline - time.monotonic())
        document = json.loads(body) if body else None
    except (LlmctlError, ValueError, RecursionError):
        return None
    data = document.get("data", "") if isinstance(document, dict) else ""
    if data is not None and not isinstance(data, list):
        return None
    models: list[Any] = [model.get("id") for model in data or [] if isinstance(model, dict)]
    return [model for model in models if isinstance(model, str) and model.isprintable() and 0 < len(model) < 256]


def _fetch(url: str, key: str | None, timeout_s: float) -> bytes | None:
    """Return the body of a 200 response."""
    from llmctl.transport import client

    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    timeouts = client.Timeouts(connect=timeout_s, first_byte=timeout_s, idle=timeout_s, total=timeout_s)
    body = bytearray()
    with client.send_request(HttpRequest("GET", url, headers), timeouts, loopback_only=True) as answer:
        if answer.status != 200:
            return None
        for chunk in answer.chunks:
            body += chunk
            if len(body) > _MAX_BYTES:
                return None
    return bytes(body)
