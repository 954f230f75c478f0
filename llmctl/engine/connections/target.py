"""From a reference to everything needed to call a model: connection, provider, wire, model, address, key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from llmctl.core.errors import ConfigError, NotFoundError
from llmctl.core.http import Endpoint
from llmctl.core.stored_json import loads
from llmctl.engine.connections import keys
from llmctl.providers import PROVIDERS, Provider, hosts, wire_of
from llmctl.store import refs
from llmctl.store.database import Database, Row
from llmctl.transport.redact import redact_url

Env = Mapping[str, str]

#: What to do where there is no connection.
THREE_WAYS = (
    "three ways in: pipe a key into `llmctl connection add openai --key-stdin`; "
    "start a local server (Ollama, LM Studio, llama.cpp, vLLM) and run `llmctl init`; "
    "or try it offline with `-m echo`"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A model that can be called. The key is a reference until the moment it is needed."""

    provider: Provider
    model: str
    base_url: str
    wire: str
    #: The wire that the connection names; None where the model decides.
    own_wire: str | None = None
    #: None where the provider is used without a connection in the hub.
    connection_id: str | None = None
    connection: str | None = None
    #: What its connection is for; ``chat`` where another model was named.
    type: str = "chat"
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    #: Options of the connection, and those of the alias it was named by; a chat keeps the latter.
    options: Mapping[str, Any] = field(default_factory=dict)
    alias_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Access:
    """An endpoint with its key filled in, and the values that must never be stored or shown."""

    endpoint: Endpoint
    secrets: tuple[str, ...]


def resolve(database: Database, reference: str | None, env: Env) -> Target:
    """Return what ``--model REF`` means; without one, what the environment and the settings say.

    REF is a connection, ``CONNECTION:MODEL``, an alias, a connection's model id, or a model of the default
    connection, in this order.
    """
    if reference:
        return _named(database, reference, env)
    wanted = env.get("LLMCTL_MODEL")
    return _named(database, wanted, env) if wanted else _from_environment(database, env)


def of_connection(database: Database, name: str, env: Env) -> Target:
    """Return the target of ``--connection NAME`` (a REF of a connection); raise NotFoundError for none."""
    return of_row(refs.get(database, "model_connections", name, kind="connection"), env)


def of_chat(database: Database, chat: Row, env: Env) -> Target | None:
    """Return what a chat talks to since its first turn, or None where that was never set.

    Raises ConfigError where its connection was removed: what was said to one host is not sent to another unasked.
    """
    if chat["source_id"]:
        row = database.one("SELECT * FROM {model_connections} WHERE id = ?", (chat["source_id"],))
        if row is None:
            raise ConfigError(
                "the connection of this chat was removed",
                hint="choose another with -m REF, for good with: llmctl chats edit CHAT --connection NAME",
                reason="no_connection",
            )
        return with_model(of_row(row, env), chat["model"])
    name = loads(chat["settings"], {}).get("provider") or (chat["provider"] or "").lower()
    return with_model(of_provider(name, env), chat["model"]) if name in PROVIDERS else None


def with_model(target: Target, model: str | None) -> Target:
    """Return the target with another model, and the wire that one is asked over; None changes nothing."""
    if not model:
        return target
    wire = target.own_wire or wire_of(target.provider, model, target.base_url)
    return replace(target, model=model, wire=wire, type=target.type if model == target.model else "chat")


def access(target: Target, env: Env, *, home: str, on_terminal: bool = False) -> Access:
    """Fill in the key. Raises ConfigError where it is needed and cannot be found."""
    secrets = _in_query(target.query)
    headers = dict(target.provider.headers)
    for name, value in target.headers.items():
        headers[name] = _header(value, env, home, secrets)
    if target.key and target.provider.auth != "none":
        key = keys.resolve(target.key, env=env, home=home, on_terminal=on_terminal).value
        secrets.append(key)
        headers |= _authorization(target.provider.auth_by_wire.get(target.wire, target.provider.auth), key)
    elif _needs_key(target):
        raise _no_key(target, env)
    return Access(
        Endpoint(target.base_url, headers, {**target.provider.query, **target.query}, target.provider.dialect),
        tuple(secrets),
    )


def _named(database: Database, reference: str, env: Env, through: tuple[str, ...] = ()) -> Target:
    row = refs.find(database, "model_connections", reference, kind="connection")
    if row is not None:
        return of_row(row, env)
    head, colon, model = reference.partition(":")
    if colon and model:
        row = database.one("SELECT * FROM {model_connections} WHERE name = ?", (head,))
        if row is not None:
            return with_model(of_row(row, env), model)
        if head in PROVIDERS:
            return with_model(of_provider(head, env), model)
    return _alias(database, reference, env, through) or _by_model_id(database, reference, env)


def _alias(database: Database, name: str, env: Env, through: tuple[str, ...]) -> Target | None:
    row = database.one("SELECT * FROM {model_aliases} WHERE name = ?", (name,))
    if row is None:
        return None
    if name in through:
        raise ConfigError(f'the alias "{name}" leads back to itself: {" -> ".join((*through, name))}')
    target = _named(database, row["target"], env, (*through, name))
    return replace(target, alias_options={**target.alias_options, **loads(row["options"], {})})


def _by_model_id(database: Database, model: str, env: Env) -> Target:
    row = database.one(
        "SELECT * FROM {model_connections} WHERE model_id = ? AND type = 'chat' ORDER BY created_at LIMIT 1", (model,)
    )
    if row is not None:
        return of_row(row, env)
    return with_model(_from_environment(database, env), model)


def _from_environment(database: Database, env: Env) -> Target:
    """Return what LLMCTL_CONNECTION, NODELLM_PROVIDER and NODELLM_MODEL say, else the default connection."""
    connection, provider, model = (env.get(name) for name in ("LLMCTL_CONNECTION", "NODELLM_PROVIDER", "NODELLM_MODEL"))
    if connection:
        return with_model(of_connection(database, connection, env), model)
    if not provider:
        return with_model(_default(database, env), model)
    row = database.one(
        "SELECT * FROM {model_connections} WHERE lower(provider) = :name AND type = 'chat'"
        " ORDER BY name <> :name, created_at LIMIT 1",
        {"name": provider.lower()},
    )
    target = of_row(row, env) if row else of_provider(provider.lower(), env)
    return with_model(target, model)


def _default(database: Database, env: Env) -> Target:
    """Return the default connection: the chosen one, the oldest that is not echo, or a provider with a key here."""
    settings = loads(database.value("SELECT settings FROM {user_settings} LIMIT 1"), {})
    chosen = settings.get("default_connection")
    if chosen:
        return of_connection(database, str(chosen), env)
    row = database.one(
        "SELECT * FROM {model_connections} WHERE provider <> 'echo' AND type = 'chat'"
        " ORDER BY created_at, rowid LIMIT 1"
    )
    return of_row(row, env) if row else _keyed(env)


def _keyed(env: Env) -> Target:
    """Return the first provider that has a key in the environment; raises ConfigError where there is none."""
    for name in PROVIDERS.names():
        provider = PROVIDERS.load(name)
        if provider.default_model and not provider.local and keys.first_set(provider.key_env, env):
            return of_provider(name, env)
    raise ConfigError("no connection to a model", hint=THREE_WAYS, reason="no_connection")


def of_row(row: Row, env: Env) -> Target:
    """Return the target of a connection."""
    data = loads(row["data"], {})
    provider = _provider(row["provider"], data.get("base_url"))
    base_url, query, from_env = _base_url(provider, data.get("base_url"), env)
    model = row["model_id"] or provider.default_model or ""
    return Target(
        provider=provider,
        model=model,
        base_url=base_url,
        wire=data.get("wire") or wire_of(provider, model, base_url),
        own_wire=data.get("wire"),
        connection_id=row["id"],
        connection=row["name"],
        type=row["type"],
        key=keys.choose(provider, base_url, data.get("key"), env, base_from_env=from_env),
        headers=data.get("headers") or {},
        query={**query, **(data.get("query") or {})},
        options=data.get("options") or {},
    )


def of_provider(name: str, env: Env) -> Target:
    """Return the target of a provider without a connection."""
    provider = PROVIDERS.load(name)
    base_url, query, from_env = _base_url(provider, None, env)
    model = provider.default_model or ""
    return Target(
        provider=provider,
        model=model,
        base_url=base_url,
        wire=wire_of(provider, model, base_url),
        key=keys.choose(provider, base_url, None, env, base_from_env=from_env),
        query=query,
    )


def _provider(name: str, base_url: str | None) -> Provider:
    if name.lower() in PROVIDERS:
        return PROVIDERS.load(name.lower())
    if not base_url:
        raise NotFoundError(f'no provider "{name}"', hint="give the connection a --base-url", reason="unknown_provider")
    return replace(PROVIDERS.load("compatible"), name=name)


def _base_url(provider: Provider, own: str | None, env: Env) -> tuple[str, dict[str, str], bool]:
    """Return the base URL, its query, and whether it came from the provider's own variable."""
    if own:
        return *hosts.complete(own, provider.root_path), False
    for name in provider.base_env:
        if env.get(name):
            return *hosts.complete(env[name], provider.root_path), True
    if not provider.base_url:
        raise ConfigError(
            f'provider "{provider.name}" needs a base URL',
            hint="set it with: llmctl connection edit NAME --base-url URL"
            + (f", or {provider.base_env[0]}" if provider.base_env else "")
            + (f"; such as {provider.base_example}" if provider.base_example else ""),
        )
    return provider.base_url.rstrip("/"), {}, False


def _authorization(scheme: str, key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if scheme == "bearer" else {scheme: key}


def _in_query(query: Mapping[str, str]) -> list[str]:
    """Return the secrets that the parameters of a base URL carry, as they are and as they are spelled in a URL."""
    found = [value for name, value in query.items() if redact_url(url := f"?{name}={quote(value, safe='')}") != url]
    return found + [spelled for value in found if (spelled := quote(value, safe="")) != value]


def _header(value: str, env: Env, home: str, secrets: list[str]) -> str:
    """Return a header's value; one that is a key reference is looked up and kept secret."""
    if not keys.is_reference(value):
        return value
    found = keys.resolve(value, env=env, home=home).value
    secrets.append(found)
    return found


def _needs_key(target: Target) -> bool:
    """Say whether calling without a key is hopeless; servers on this machine seldom want one."""
    provider = target.provider
    return not (provider.local or provider.auth == "none" or target.headers or hosts.is_loopback(target.base_url))


def _no_key(target: Target, env: Env) -> ConfigError:
    name = target.connection or target.provider.name
    variable = target.provider.key_env[0] if target.provider.key_env else None
    withheld = keys.withheld(target.provider, target.base_url, env)
    return ConfigError(
        f'no key for "{name}"' + (f": {withheld}" if withheld else ""),
        hint=(f"set {variable}, or " if variable else "") + f"pipe one in: llmctl connection edit {name} --key-stdin"
        " (cron and services do not see your shell's variables)",
        reason="no_key",
    )
