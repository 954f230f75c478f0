"""Which model embeds or draws: one that is named, one of a connection of that type, or the default one's provider's."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from llmctl.core.errors import ConfigError, UsageError
from llmctl.engine.connections import keys, target
from llmctl.engine.connections.target import THREE_WAYS, Env, Target
from llmctl.providers import PROVIDERS, Provider
from llmctl.store.database import Database, Row

Kind = Literal["embedding", "image"]

_VERBS: dict[Kind, str] = {"embedding": "embed", "image": "draw"}
#: Prefix of the variables in which NodeLLM names provider and model; it has none for pictures.
_VARIABLES: dict[Kind, str] = {"embedding": "NODELLM_EMBEDDING_"}


def resolve(database: Database, kind: Kind, reference: str | None, connection: str | None, env: Env) -> Target:
    """Return what to call: flags, then the environment, then connections of the type, then what is built in.

    A connection that is for chats lends its host and key; model and options are those of the type.
    """
    if connection:
        named = target.of_connection(database, connection, env)
        return _fit(database, kind, target.with_model(named, reference), reference)
    reference = reference or env.get(f"LLMCTL_{kind.upper()}_MODEL")
    if reference:
        return _fit(database, kind, target.resolve(database, reference, env), reference)
    return _unnamed(database, kind, env)


def _unnamed(database: Database, kind: Kind, env: Env) -> Target:
    prefix = _VARIABLES.get(kind, "")
    provider, model = (env.get(f"{prefix}{name}") if prefix else None for name in ("PROVIDER", "MODEL"))
    if provider:
        return target.with_model(_of_provider(database, kind, provider.lower(), env), model)
    row = _connection(database, kind)
    found = _fit(database, kind, target.of_row(row, env), model) if row else _built_in(database, kind, env)
    return target.with_model(found, model)


def _connection(database: Database, kind: str, provider: str | None = None) -> Row | None:
    """Return the oldest connection of a type, of a provider where one is named."""
    sql = "SELECT * FROM {model_connections} WHERE type = ? AND lower(provider) = coalesce(?, lower(provider))"
    return database.one(f"{sql} ORDER BY created_at, rowid LIMIT 1", (kind, provider))


def _of_provider(database: Database, kind: Kind, provider: str, env: Env) -> Target:
    row = _connection(database, kind, provider) or _connection(database, "chat", provider)
    found = target.of_row(row, env) if row else target.of_provider(provider, env)
    return _fit(database, kind, found, None)


def _built_in(database: Database, kind: Kind, env: Env) -> Target:
    """Return the default connection's provider where it can do this, else the first that can and has a key."""
    found = _default(database, env)
    if found is not None and _model_of(found.provider, kind):
        return _fit(database, kind, found, None)
    rows = database.query("SELECT * FROM {model_connections} WHERE provider <> 'echo' ORDER BY created_at, rowid")
    for row in rows:
        if row["provider"].lower() in PROVIDERS and _model_of(PROVIDERS.load(row["provider"].lower()), kind):
            return _fit(database, kind, target.of_row(row, env), None)
    for name in PROVIDERS.names():
        provider = PROVIDERS.load(name)
        if _model_of(provider, kind) and not provider.local and keys.first_set(provider.key_env, env):
            return _fit(database, kind, target.of_provider(name, env), None)
    if found is None:
        raise ConfigError("no connection to a model", hint=THREE_WAYS, reason="no_connection")
    raise _no_model(found, kind)


def _default(database: Database, env: Env) -> Target | None:
    try:
        return target.resolve(database, None, env)
    except ConfigError as error:
        if error.reason != "no_connection":
            raise
        return None


def _fit(database: Database, kind: Kind, found: Target, reference: str | None) -> Target:
    """Return the target with the model that is meant: the named one, that of a connection of the type, the usual one.

    A connection for chats that is named, with a provider of which nothing is known, lends its model, too.
    """
    row = database.one("SELECT * FROM {model_connections} WHERE id = ?", (found.connection_id,))
    own = (row["model_id"] if row else None) or found.provider.default_model or ""
    is_named = bool(reference and found.model) and (found.model != own or str(reference).endswith(own))
    if row is not None and row["type"] == kind:
        return found if row["model_id"] or is_named else _with_usual_model(found, kind)
    lends = reference and found.model and _model_of(found.provider, kind) is None
    return replace(found if is_named or lends else _with_usual_model(found, kind), options={})


def _with_usual_model(found: Target, kind: Kind) -> Target:
    model = _model_of(found.provider, kind)
    if model is None:
        raise _no_model(found, kind)
    return target.with_model(found, model)


def _model_of(provider: Provider, kind: Kind) -> str | None:
    return provider.embedding_model if kind == "embedding" else provider.image_model


def _no_model(found: Target, kind: Kind) -> UsageError:
    name = found.connection or found.provider.name
    able = [known for known in PROVIDERS.names() if _model_of(PROVIDERS.load(known), kind)]
    return UsageError(
        f'"{name}" has no model to {_VERBS[kind]} with by itself',
        hint=f"name one: -m {name}:MODEL; these have one: {', '.join(able)}",
        reason="no_model",
    )
