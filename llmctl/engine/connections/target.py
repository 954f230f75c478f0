"""Resolve a reference to a target: connection, provider, wire, model, base URL and key of the model to call."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError, UsageError
from llmctl.core.http import Endpoint
from llmctl.core.redaction import redact_url
from llmctl.core.stored_values import loads
from llmctl.core.values import Value
from llmctl.engine.runtime import RuntimeEnv
from llmctl.providers import PROVIDERS, Provider, is_loopback, select_wire, split_base_url
from llmctl.store.database import Database
from llmctl.store.records import connections, settings
from llmctl.store.records.types import ChatRow, ConnectionRow

Env = Mapping[str, str]
TargetKind = Literal["embedding", "image"]

#: What to do without any connection.
SETUP_HINT = (
    "`llmctl connection add openai` asks for the key (in scripts: `connection add openai --key-stdin < key.txt`); "
    "or start a local server (Ollama, LM Studio, llama.cpp, vLLM) and run `llmctl init`; "
    "or try it offline with `-m echo`"
)

#: Prefix of the variables in which NodeLLM names provider and model; it has none for images.
_VARIABLE_PREFIXES: dict[TargetKind, str] = {"embedding": "NODELLM_EMBEDDING_"}


class Target(Value):
    """A model and everything needed to call it. The key stays a reference until a request is sent."""

    provider: Provider
    model: str
    base_url: str
    wire: str
    #: The wire set on the connection; None if the provider and model decide.
    connection_wire: str | None = None
    #: None if the provider is used without a connection in the hub.
    connection_id: str | None = None
    connection: str | None = None
    #: The connection as stored: what must be trusted before it is used.
    row: ConnectionRow | None = None
    #: Name of the connection of an imported chat that this one of the user's stands in for.
    instead_of: str | None = None
    #: Type of the connection; ``chat`` if another model was named.
    type: str = "chat"
    key: str | None = None
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    #: Options of the connection, and of the alias that named it; a chat stores the latter.
    options: Mapping[str, Any] = {}
    alias_options: Mapping[str, Any] = {}


class ResolvedEndpoint(Value):
    """An endpoint with its key, and the secret values that must never be stored or shown."""

    endpoint: Endpoint
    secrets: tuple[str, ...]


def resolve(database: Database, reference: str | None, env: Env, *, kind: str = "chat") -> Target:
    """Return the target of ``--model REF``; without a reference, the one from the environment or the settings.

    REF is a connection, an alias, ``CONNECTION:MODEL``, a connection's model id, or a model that a connection's
    provider is known to have, in this order. A default connection whose models nobody can know takes any other name.
    ``kind`` is the type of model that is wanted.
    """
    reference = reference or env.get("LLMCTL_MODEL")
    return _from_reference(database, reference, env, kind) if reference else _from_environment(database, env)


def for_connection(database: Database, name: str, env: Env) -> Target:
    """Return the target of ``--connection NAME``, a connection REF; raise NotFoundError for an unknown one."""
    return from_row(connections.get(database, name), env)


def for_chat(database: Database, chat: ChatRow, env: Env) -> Target | None:
    """Return the target a chat has used since its first turn, or None if it never had one.

    For a connection that is not trusted, one of the user's own to the same provider takes its place. Raises
    ConfigError if its connection was removed: the chat's text is not sent to another host without consent.
    """
    if chat.source_id:
        row = connections.find_by_id(database, chat.source_id)
        if row is None:
            raise ConfigError(
                "the connection of this chat was removed",
                hint=f"choose another with -m, or permanently: llmctl chats edit {chat.id[:8]} --connection NAME",
                reason="no_connection",
            )
        return with_model(_stand_in(database, row, env) or from_row(row, env), chat.model)
    own = loads(chat.settings, {}).get("provider")
    name = own or (chat.provider or "").lower()
    if name not in PROVIDERS:
        return None
    # A chat of another program names its provider alone: a connection to it takes the place of the unknown one.
    row = None if own else connections.find_by_provider(database, name)
    return with_model(from_row(row, env) if row else for_provider(name, env), chat.model)


def _stand_in(database: Database, row: ConnectionRow, env: Env) -> Target | None:
    """Return the user's own connection to the provider of an untrusted one, or None.

    Generic providers stand for any host: another of them is another provider.
    """
    provider = row.provider.lower()
    if provider not in PROVIDERS or provider in ("compatible", "echo"):
        return None
    from llmctl.engine.connections import trust

    if trust.is_trusted(database, row, env):
        return None
    own = [one for one in trust.list_usable(database, env, "chat") if one.provider.lower() == provider]
    default = trust.default_name(database, env)
    chosen = next((one for one in own if one.name == default), own[0] if own else None)
    return from_row(chosen, env).replace(instead_of=row.name) if chosen else None


def with_model(target: Target, model: str | None) -> Target:
    """Return the target with another model and that model's wire; None changes nothing."""
    if not model:
        return target
    wire = target.connection_wire or select_wire(target.provider, model, target.base_url)
    return target.replace(model=model, wire=wire, type=target.type if model == target.model else "chat")


def resolve_endpoint(
    database: Database, target: Target, runtime: RuntimeEnv, *, needs_key: bool = True
) -> ResolvedEndpoint:
    """Return the endpoint with its key: the only way to one, for every request to a model.

    Without ``needs_key`` nothing will be sent, and no key is looked for.

    Raises ConfigError for a connection that the user does not trust, before anything of it is used, and if a key is
    needed and cannot be found.
    """
    require_trust(database, target, runtime)
    try:
        return _resolve_endpoint(target, runtime, needs_key)
    except LlmctlError as error:
        name_connection(error, target.connection, target.provider.name)
        raise


def name_connection(error: LlmctlError, connection: str | None, provider: str) -> None:
    """Put the name of the connection where the hint of an error says NAME; one that is not stored is to be added."""
    if error.hint and " NAME" in error.hint:
        hint = error.hint if connection else error.hint.replace("connection edit NAME", "connection add NAME")
        error.hint = hint.replace(" NAME", f" {shlex.quote(connection or provider)}")


def _resolve_endpoint(target: Target, runtime: RuntimeEnv, needs_key: bool) -> ResolvedEndpoint:
    env, home, on_terminal = runtime.env, runtime.home, runtime.on_terminal
    secrets = _query_secrets(target.query)
    headers = dict(target.provider.headers)
    for name, value in target.headers.items():
        headers[name] = _resolve_header(value, env, home, secrets)
    if not needs_key:
        pass
    elif target.key and target.provider.auth != "none":
        key = _resolve_key(target.key, env, home, secrets, on_terminal=on_terminal)
        headers |= _auth_headers(target.provider.auth_by_wire.get(target.wire, target.provider.auth), key)
    elif _needs_key(target):
        raise _missing_key_error(target, env)
    return ResolvedEndpoint(
        Endpoint(target.base_url, headers, {**target.provider.query, **target.query}, target.provider.dialect),
        tuple(secrets),
    )


def require_trust(database: Database, target: Target, runtime: RuntimeEnv) -> None:
    """Raise ConfigError for a connection that the user does not trust; on a terminal the user is asked."""
    if target.row is not None and target.provider.name != "echo":
        from llmctl.engine.connections import trust

        trust.require(database, target.row, target.base_url, runtime)


def _from_reference(
    database: Database, reference: str, env: Env, kind: str = "chat", visited: tuple[str, ...] = ()
) -> Target:
    row = connections.find(database, reference)
    if row is not None:
        return from_row(row, env)
    found = _from_alias(database, reference, env, kind, visited) or _from_pair(database, reference, env)
    if found is not None:
        return found
    if reference == "echo":  # offline, even after its connection was removed: never another host's model
        return for_provider("echo", env)
    return _from_model_id(database, reference, env, kind)


def _from_pair(database: Database, reference: str, env: Env) -> Target | None:
    """Return the target of CONNECTION:MODEL or PROVIDER:MODEL, None for any other text."""
    head, colon, model = reference.partition(":")
    if not (colon and model):
        return None
    row = connections.find_by_name(database, head)
    if row is not None:
        return with_model(from_row(row, env), model)
    return with_model(for_provider(head, env), model) if head in PROVIDERS else None


def _from_alias(database: Database, name: str, env: Env, kind: str, visited: tuple[str, ...]) -> Target | None:
    from llmctl.store.records import models

    alias = models.find_alias(database, name)
    if alias is None:
        return None
    if name in visited:
        raise ConfigError(f'alias "{name}" refers to itself: {" -> ".join((*visited, name))}')
    connection_id = loads(alias.refs, {}).get(models.ALIAS_CONNECTION)
    if connection_id is None:
        target = _from_reference(database, alias.target, env, kind, (*visited, name))
    else:
        row = connections.find_by_id(database, connection_id)
        if row is None:
            raise ConfigError(
                f'the connection of alias "{name}" ({alias.target}) was removed',
                hint=f"remove the alias: llmctl model alias remove {name}; or set it again",
                reason="no_connection",
            )
        target = with_model(from_row(row, env), models.alias_model(alias))
    return target.replace(alias_options={**target.alias_options, **loads(alias.options, {})})


def _from_model_id(database: Database, model: str, env: Env, kind: str) -> Target:
    default, error = _try_default(database, env, kind)
    rows = _keep_trusted(database, connections.list_by_model(database, model, kind), env)
    own = next((row for row in rows if default and row.id == default.connection_id), None)
    if own or len({row.provider.lower() for row in rows}) == 1:
        return from_row(own or rows[0], env)
    from llmctl.engine.connections import model_names  # loads the catalog

    if rows:
        raise model_names.ambiguous_model(model, (row.name for row in rows))
    known = model_names.DefaultModel(default.provider, default.base_url, default.connection) if default else None
    try:
        row = model_names.choose_connection(database, model, known, env, kind)
    except LlmctlError as unknown:
        raise (error if error and unknown.reason == "model_not_found" else unknown) from None
    chosen = from_row(row, env) if row else default
    assert chosen is not None  # without a default, a row is chosen or an error raised
    return with_model(chosen, model)


def _try_default(database: Database, env: Env, kind: str) -> tuple[Target | None, LlmctlError | None]:
    """Return the default target, or the reason why there is none."""
    try:
        row = _find_oldest(database, kind, env) if kind != "chat" else None
        return from_row(row, env) if row else _default_target(database, env), None
    except LlmctlError as error:
        return None, error


def _from_environment(database: Database, env: Env) -> Target:
    """Return the default target, with NODELLM_MODEL if that is set.

    With LLMCTL_CONNECTION or NODELLM_PROVIDER it is a model of these, whatever its name; alone it is a reference.
    """
    model = env.get("NODELLM_MODEL")
    if model and not (env.get("LLMCTL_CONNECTION") or env.get("NODELLM_PROVIDER")):
        return _from_reference(database, model, env)
    return with_model(_default_target(database, env), model)


def _default_target(database: Database, env: Env) -> Target:
    """Return the target of LLMCTL_CONNECTION or NODELLM_PROVIDER, else the configured default.

    Without one it is the oldest trusted connection, else a provider with a key in ``env``.
    """
    connection, provider = env.get("LLMCTL_CONNECTION"), (env.get("NODELLM_PROVIDER") or "").lower()
    if connection:
        return for_connection(database, connection, env)
    if provider:
        row = _own_row(database, connections.find_by_provider(database, provider), "chat", env)
        return from_row(row, env) if row else for_provider(provider, env)
    name = settings.get(database, "default_connection")
    if name:
        return for_connection(database, str(name), env)
    rows = connections.list_remote(database, "chat")
    usable = next((row for row in rows if _is_trusted(database, row, env)), None)
    if usable is not None:
        return from_row(usable, env)
    try:
        return _from_key_variable(env)
    except ConfigError as error:
        if rows:
            error.hint = f"trust one that came with an import: llmctl connection trust {shlex.quote(rows[0].name)}"
        raise


def _find_oldest(database: Database, kind: str, env: Env) -> ConnectionRow | None:
    """Return the oldest connection of a type that may be used without being named, or None."""
    row = connections.find_oldest(database, kind)
    if row is None or _is_trusted(database, row, env):
        return row
    return next((one for one in connections.list_remote(database, kind) if _is_trusted(database, one, env)), None)


def _own_row(database: Database, row: ConnectionRow | None, kind: str, env: Env) -> ConnectionRow | None:
    """Return a connection, or where it is not trusted another one to its provider that is."""
    if row is None or _is_trusted(database, row, env):
        return row
    rows = [one for one in connections.list_remote(database, kind) if one.provider.lower() == row.provider.lower()]
    return _keep_trusted(database, [row, *rows], env)[0]


def _keep_trusted(database: Database, rows: list[ConnectionRow], env: Env) -> list[ConnectionRow]:
    if not rows:
        return rows
    from llmctl.engine.connections import trust

    return trust.keep_trusted(database, rows, env)


def _is_trusted(database: Database, row: ConnectionRow, env: Env) -> bool:
    from llmctl.engine.connections import trust

    return trust.is_trusted(database, row, env)


def _from_key_variable(env: Env) -> Target:
    """Return the first provider with a key in the environment; raise ConfigError if there is none."""
    for name in PROVIDERS.names():
        provider = PROVIDERS.load(name)
        if provider.default_model and not provider.local and _has_key(provider, env):
            return for_provider(name, env)
    raise ConfigError("no connection to a model", hint=SETUP_HINT, reason="no_connection")


def from_row(row: ConnectionRow, env: Env) -> Target:
    """Return the target of a connection."""
    data = _read_data(row)
    provider = _find_provider(row.provider, data.get("base_url"))
    try:
        base_url, query, from_env = _resolve_base_url(provider, data.get("base_url"), env)
    except ConfigError as error:
        name_connection(error, row.name, provider.name)
        raise
    model = row.model_id or provider.default_model or ""
    return Target(
        provider=provider,
        model=model,
        base_url=base_url,
        wire=data.get("wire") or select_wire(provider, model, base_url),
        connection_wire=data.get("wire"),
        connection_id=row.id,
        connection=row.name,
        row=row,
        type=row.type,
        key=_pick_key(provider, base_url, data.get("key"), env, base_from_env=from_env),
        headers=data.get("headers") or {},
        query={**query, **{name: str(value) for name, value in (data.get("query") or {}).items()}},
        options=data.get("options") or {},
    )


def _read_data(row: ConnectionRow) -> dict[str, Any]:
    """Return what a connection sends where; raise ConfigError if it is not what any llmctl would have stored.

    Of a connection to echo only the options count: it sends nothing, so it has no host, no key and needs no trust.
    """
    data = loads(row.data, {})
    if problem := find_data_problem(data):
        raise ConfigError(
            f'connection "{row.name}" cannot be used: {problem}',
            hint=f"remove it: llmctl connection remove {shlex.quote(row.name)}",
            reason="invalid_connection",
        )
    return {"options": data.get("options")} if row.provider.lower() == "echo" else data


def find_data_problem(data: Any) -> str | None:
    """Return what is wrong with the types in the data of a connection, or None."""
    if not isinstance(data, dict):
        return "its data must be a JSON object"
    for name in ("headers", "options", "query"):
        if not isinstance(data.get(name) or {}, dict):
            return f'connection key "{name}" must be a JSON object'
    texts = {name: data.get(name) for name in ("base_url", "wire", "key")}
    texts |= {f"headers.{name}": value for name, value in (data.get("headers") or {}).items()}
    odd = next((name for name, value in texts.items() if not isinstance(value or "", str)), None)
    return f'connection key "{odd}" must be a string' if odd else None


def for_provider(name: str, env: Env) -> Target:
    """Return the target of a provider without a connection."""
    provider = PROVIDERS.load(name)
    base_url, query, from_env = _resolve_base_url(provider, None, env)
    model = provider.default_model or ""
    return Target(
        provider=provider,
        model=model,
        base_url=base_url,
        wire=select_wire(provider, model, base_url),
        key=_pick_key(provider, base_url, None, env, base_from_env=from_env),
        query=query,
    )


def _find_provider(name: str, base_url: str | None) -> Provider:
    if name.lower() in PROVIDERS:
        return PROVIDERS.load(name.lower())
    if not base_url:
        raise NotFoundError(f'no provider "{name}"', hint="pass --base-url URL", reason="unknown_provider")
    return PROVIDERS.load("compatible").replace(name=name)


def _resolve_base_url(provider: Provider, configured: str | None, env: Env) -> tuple[str, dict[str, str], bool]:
    """Return the base URL, its query, and whether it came from the provider's variable."""
    if configured:
        return *split_base_url(configured, provider.root_path), False
    for name in provider.base_env:
        if env.get(name):
            return *split_base_url(env[name], provider.root_path), True
    if not provider.base_url:
        raise ConfigError(
            f'provider "{provider.name}" has no base URL',
            hint="set it: llmctl connection edit NAME --base-url URL"
            + (f", or {provider.base_env[0]}" if provider.base_env else "")
            + (f"; such as {provider.base_example}" if provider.base_example else ""),
        )
    return provider.base_url.rstrip("/"), {}, False


def _has_key(provider: Provider, env: Env) -> bool:
    from llmctl.engine.connections import keys

    return keys.first_set_variable(provider.key_env, env) is not None


def _pick_key(provider: Provider, base_url: str, explicit: str | None, env: Env, *, base_from_env: bool) -> str | None:
    """Return the reference of the key to send to this base URL; None where the provider takes none."""
    if provider.auth == "none" and not explicit:
        return None
    from llmctl.engine.connections import keys

    return keys.pick_key(provider, base_url, explicit, env, base_from_env=base_from_env)


def _resolve_key(reference: str, env: Env, home: str, secrets: list[str], *, on_terminal: bool = False) -> str:
    """Return the key behind a reference, and add it to ``secrets``."""
    from llmctl.engine.connections import keys

    key = keys.resolve(reference, env=env, home=home, on_terminal=on_terminal).value
    secrets.append(key)
    return key


def _auth_headers(scheme: str, key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if scheme == "bearer" else {scheme: key}


def _query_secrets(query: Mapping[str, str]) -> list[str]:
    """Return the secrets among the query parameters of a base URL, plain and URL-quoted."""
    secrets = [value for name, value in query.items() if redact_url(url := f"?{name}={quote(value, safe='')}") != url]
    return secrets + [quoted for value in secrets if (quoted := quote(value, safe="")) != value]


def _resolve_header(value: str, env: Env, home: str, secrets: list[str]) -> str:
    """Return a header's value; a key reference is looked up and added to ``secrets``."""
    from llmctl.engine.connections import keys

    return _resolve_key(value, env, home, secrets) if keys.is_reference(value) else value


def _needs_key(target: Target) -> bool:
    """Return whether a call without a key is bound to fail; local servers seldom need one."""
    provider = target.provider
    return not (provider.local or provider.auth == "none" or target.headers or is_loopback(target.base_url))


def _missing_key_error(target: Target, env: Env) -> ConfigError:
    from llmctl.engine.connections import keys

    name = target.connection or target.provider.name
    verb = "edit" if target.connection else "add"
    variable = target.provider.key_env[0] if target.provider.key_env else None
    withheld = keys.withheld_key_note(target.provider, target.base_url, env)
    return ConfigError(
        f'no key for "{name}"' + (f": {withheld}" if withheld else ""),
        hint=(f"set {variable}, or " if variable else "") + f"pipe one in: llmctl connection {verb} {name} --key-stdin"
        " (cron and services do not see your shell's variables)",
        reason="no_key",
    )


def resolve_for(
    database: Database, kind: TargetKind, reference: str | None, connection: str | None, env: Env
) -> Target:
    """Return the target for embeddings or images: from flags, environment, connections of that type, then providers.

    A chat connection lends its host and key; the model is the provider's default for the type.
    """
    if connection:
        chat_target = for_connection(database, connection, env)
        return _with_model_for(database, kind, with_model(chat_target, reference), reference)
    reference = reference or env.get(f"LLMCTL_{kind.upper()}_MODEL")
    if reference:
        return _with_model_for(database, kind, resolve(database, reference, env, kind=kind), reference)
    return _unnamed_for(database, kind, env)


def _unnamed_for(database: Database, kind: TargetKind, env: Env) -> Target:
    prefix = _VARIABLE_PREFIXES.get(kind, "")
    provider, model = (env.get(f"{prefix}{name}") if prefix else None for name in ("PROVIDER", "MODEL"))
    if provider:
        return with_model(_provider_target(database, kind, provider.lower(), env), model)
    if model:
        return _with_model_for(database, kind, resolve(database, model, env, kind=kind), model)
    row = _find_oldest(database, kind, env)
    return _with_model_for(database, kind, from_row(row, env), None) if row else _first_capable(database, kind, env)


def _provider_target(database: Database, kind: TargetKind, provider: str, env: Env) -> Target:
    row = connections.find_oldest(database, kind, provider=provider) or connections.find_oldest(
        database, "chat", provider=provider
    )
    row = _own_row(database, row, row.type, env) if row else None
    found = from_row(row, env) if row else for_provider(provider, env)
    return _with_model_for(database, kind, found, None)


def _first_capable(database: Database, kind: TargetKind, env: Env) -> Target:
    """Return the default connection if its provider supports ``kind``, else the first that does and has a key."""
    found = _default_or_none(database, env)
    if found is not None and _default_model(found.provider, kind):
        return _with_model_for(database, kind, found, None)
    for row in _keep_trusted(database, connections.list_remote(database), env):
        if row.provider.lower() in PROVIDERS and _default_model(PROVIDERS.load(row.provider.lower()), kind):
            return _with_model_for(database, kind, from_row(row, env), None)
    for name in PROVIDERS.names():
        provider = PROVIDERS.load(name)
        if _default_model(provider, kind) and not provider.local and _has_key(provider, env):
            return _with_model_for(database, kind, for_provider(name, env), None)
    if found is None:
        raise ConfigError("no connection to a model", hint=SETUP_HINT, reason="no_connection")
    raise _no_model_error(found, kind)


def _default_or_none(database: Database, env: Env) -> Target | None:
    try:
        return resolve(database, None, env)
    except ConfigError as error:
        if error.reason != "no_connection":
            raise
        return None


def _with_model_for(database: Database, kind: TargetKind, found: Target, reference: str | None) -> Target:
    """Return the target with the model to use: the named one, else the connection's, else the provider's default.

    A chat connection that was named, to a provider with no known default, lends its model too.
    """
    row = connections.find_by_id(database, found.connection_id)
    own = (row.model_id if row else None) or found.provider.default_model or ""
    is_named = bool(reference and found.model) and (found.model != own or str(reference).endswith(own))
    if row is not None and row.type == kind:
        return found if row.model_id or is_named else _with_default_model(found, kind)
    lends = reference and found.model and _default_model(found.provider, kind) is None
    return (found if is_named or lends else _with_default_model(found, kind)).replace(options={})


def _with_default_model(found: Target, kind: TargetKind) -> Target:
    model = _default_model(found.provider, kind)
    if model is None:
        raise _no_model_error(found, kind)
    return with_model(found, model)


def _default_model(provider: Provider, kind: TargetKind) -> str | None:
    return provider.embedding_model if kind == "embedding" else provider.image_model


def _no_model_error(found: Target, kind: TargetKind) -> UsageError:
    name = found.connection or found.provider.name
    able = [known for known in PROVIDERS.names() if _default_model(PROVIDERS.load(known), kind)]
    return UsageError(
        f'"{name}" has no default {kind} model',
        hint=f"choose a model: -m {name}:MODEL; providers with a default: {', '.join(able)}",
        reason="no_model",
    )
