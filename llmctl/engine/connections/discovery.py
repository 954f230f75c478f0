"""Ways to a model that are there already: keys in the environment, and servers on this machine."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llmctl.core.errors import ConfigError
from llmctl.engine.connections.keys import first_set
from llmctl.providers import PROVIDERS, Provider
from llmctl.providers.hosts import complete, is_loopback

Env = Mapping[str, str]

#: Servers that are looked for, in this order.
LOCAL = ("ollama", "lmstudio", "llamacpp", "vllm")

#: A list of models is short; whoever sends more is something else.
_MOST_BYTES = 1_000_000
_NO_CHAT = re.compile(r"embed|rerank|minilm|colbert|\b(bge|gte|e5|clip|tts)\b|whisper|moderation|guard", re.I)


@dataclass(frozen=True, slots=True)
class Found:
    """A way to a model. ``model`` is None where nobody said which; ``how`` tells the user why it is here."""

    name: str
    provider: str
    base_url: str
    model: str | None
    key_env: str | None
    how: str


def detect(env: Env, *, timeout: float = 0.3, ports: Mapping[str, int] | None = None) -> list[Found]:
    """Return what the environment offers, then the servers on this machine.

    All servers are asked at once, and after ``timeout`` seconds nobody is waited for, whatever they do.
    ``ports`` replaces the usual ports by others (provider to port; only these are asked).
    """
    deadline = time.monotonic() + timeout
    places = _places(env, ports)
    answers: dict[str, list[str]] = {}

    def ask(name: str, url: str) -> None:
        models = _models(url, _key(PROVIDERS.load(name), env), deadline)
        if models is not None:
            answers[name] = models

    threads = [threading.Thread(target=ask, args=place, daemon=True) for place in places.items()]
    for thread in threads:
        thread.start()
    found = from_environment(env)
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    answered = dict(answers)
    return found + [_server(name, url, answered[name], env) for name, url in places.items() if name in answered]


def from_environment(env: Env) -> list[Found]:
    """Return one way for each provider that has a key in the environment. Nothing is asked."""
    return [
        found
        for name in PROVIDERS.names()
        if (provider := PROVIDERS.load(name)).key_env and not provider.local
        if (found := _keyed(provider, env)) is not None
    ]


def pick_chat_model(models: list[str]) -> str | None:
    """Return the first model that does not look like one for embeddings, speech or the like."""
    return next((model for model in models if not _NO_CHAT.search(model)), None)


def _keyed(provider: Provider, env: Env) -> Found | None:
    key = first_set(provider.key_env, env)
    base = first_set(provider.base_env, env)
    base_url = env[base].strip() if base else provider.base_url
    if key is None or not base_url:
        return None
    how = f"{key} is set" + (f", {base} too" if base else "")
    return Found(provider.name, provider.name, base_url, provider.default_model, key, how)


def _server(name: str, url: str, models: list[str], env: Env) -> Found:
    key = first_set(PROVIDERS.load(name).key_env, env)
    return Found(name, name, url, pick_chat_model(models), key, f"a server answers at {url}")


def _places(env: Env, ports: Mapping[str, int] | None) -> dict[str, str]:
    """Return where to look for each local server: its variable's place if that is on this machine, or its port."""
    if ports is not None:
        return {name: f"http://localhost:{port}/v1" for name, port in ports.items()}
    return {name: _named(PROVIDERS.load(name), env) or PROVIDERS.load(name).base_url for name in LOCAL}


def _named(provider: Provider, env: Env) -> str | None:
    for variable in (*provider.base_env, f"{provider.name.upper()}_HOST"):
        text = env.get(variable, "").strip()
        if not text:
            continue
        if variable.endswith("_HOST"):
            text = _from_host(text, provider)
        try:
            url, _ = complete(text, provider.root_path)
        except ConfigError:
            continue
        if is_loopback(url) and url.startswith("http:"):
            return url
    return None


def _from_host(text: str, provider: Provider) -> str:
    """Return the URL behind ``OLLAMA_HOST``, which may be ``:11435``, a bare host, or 0.0.0.0 for every address."""
    scheme, mark, rest = text.partition("://")
    place = rest if mark else text
    host, colon, port = place.rstrip("/").rpartition(":")
    if not (colon and port.isdecimal()):
        host, port = place.rstrip("/"), str(urlsplit(provider.base_url).port)
    host = "localhost" if host in ("", "0.0.0.0", "[::]") else host
    return f"{scheme if mark else 'http'}://{host}:{port}"


def _key(provider: Provider, env: Env) -> str | None:
    variable = first_set(provider.key_env, env)
    value = env[variable].strip() if variable else ""
    return value if value.isascii() and value.isprintable() and value else None


def _models(url: str, key: str | None, deadline: float) -> list[str] | None:
    """Return the ids of the models that a server lists, or None where nothing answers as such a server would."""
    try:
        body = _get(url, key, deadline)
        listed = json.loads(body) if body else None
    except (OSError, ValueError, RecursionError):
        return None
    data = listed.get("data", "") if isinstance(listed, dict) else ""
    if data is not None and not isinstance(data, list):
        return None
    models: list[Any] = [model.get("id") for model in data or [] if isinstance(model, dict)]
    return [model for model in models if isinstance(model, str) and model.isprintable() and 0 < len(model) < 256]


def _get(url: str, key: str | None, deadline: float) -> bytes | None:
    """Return the body of a 200. By hand, because HTTP clients bound each pause and not the whole."""
    parts = urlsplit(f"{url}/models")
    lines = [f"GET {parts.path} HTTP/1.0", f"Host: {parts.netloc}", "Accept: application/json"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    host = "127.0.0.1" if parts.hostname == "localhost" else str(parts.hostname)
    with socket.create_connection((host, parts.port or 80), _left(deadline)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = bytearray()
        while len(answer) < _MOST_BYTES:
            connection.settimeout(_left(deadline))
            piece = connection.recv(65536)
            answer += piece
            if not piece or _whole(answer):
                break
    head, blank, body = bytes(answer).partition(b"\r\n\r\n")
    return body if blank and re.match(rb"HTTP/1\.[01] 200\b", head) else None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _whole(answer: bytearray) -> bool:
    """Tell whether as much has come as the server said there would be."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: *(\d{1,9})\s", bytes(head) + b"\r\n")
    return bool(blank) and length is not None and len(body) >= int(length[1])
