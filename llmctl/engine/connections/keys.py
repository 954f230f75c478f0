"""Keys by reference: which one a host may get, and its value in the moment it is needed. Never kept, never shown.

A reference is ``env:VARIABLE``, ``command:SHELL COMMAND``, ``file:PATH`` or ``keyring:NAME``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llmctl.core.errors import ConfigError
from llmctl.core.registry import Registry
from llmctl.engine.connections.key_files import checked
from llmctl.engine.connections.key_files import store_key_file as store_key_file
from llmctl.providers import PROVIDERS, Provider, find_by_host, owns
from llmctl.providers.hosts import host_of, is_loopback, origin

Env = Mapping[str, str]

#: Takes what follows the colon, the environment and the home folder; returns the value and a note for the user.
Reader = Callable[[str, Env, str], tuple[str, str | None]]

_READERS: Registry[Reader] = Registry(
    "kind of key reference",
    "llmctl.engine.connections",
    {
        "env": "keys:read_env",
        "command": "key_commands:read",
        "file": "key_files:read",
        "keyring": "key_rings:read",
    },
)

#: Well-known variables of providers that have no file here, so that their keys stay at home too.
_OTHERS = {
    "AWS_BEARER_TOKEN_BEDROCK": "bedrock",
    "COHERE_API_KEY": "cohere",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key and where it came from. ``note`` is for the user: the key works, but something about it is not right."""

    value: str = field(repr=False)
    source: str
    note: str | None = None


def is_reference(text: str) -> bool:
    """Tell whether a text is a key reference, and no value."""
    kind, colon, name = text.partition(":")
    return bool(colon) and kind in _READERS and bool(name.strip())


def resolve(reference: str, *, env: Env, home: str, on_terminal: bool = False) -> Key:
    """Return the key behind a reference. Raises ConfigError that names the reference where there is none."""
    if not is_reference(reference):
        # Whatever it is, it may be a key: it is not quoted.
        raise ConfigError(
            "a key is given as a reference, never as its value",
            hint="env:VARIABLE, command:COMMAND, file:PATH or keyring:NAME",
        )
    kind, _, name = reference.partition(":")
    value, note = _READERS.load(kind)(name, env, home)
    if not value.strip():
        raise _nothing(reference, on_terminal)
    return Key(checked(value.strip(), f'the key of "{reference}"'), reference, note)


def read_env(name: str, env: Env, home: str) -> tuple[str, str | None]:
    """Return the value of a variable, empty where it is not set."""
    return env.get(name.strip(), ""), None


def choose(
    provider: Provider, base_url: str, explicit: str | None, env: Env, *, base_from_env: bool = False
) -> str | None:
    """Return the reference of the key that this base URL may get, or None where no key is meant for it.

    A provider's own variable is used for its own host, for a base URL from its own ``*_API_BASE`` and, of a local
    provider, on this machine. What the user names explicitly is used anywhere, but the variable of one known
    provider on the host of another: that raises ConfigError.
    """
    if explicit:
        _refuse_foreign(base_url, explicit, env)
        return explicit
    if provider.auth == "none":
        return None
    own = base_from_env or owns(provider, base_url) or _from_own_variable(provider, base_url, env)
    if not own and not (provider.local and is_loopback(base_url)):
        return None
    variable = first_set(provider.key_env, env)
    return f"env:{variable}" if variable else None


def withheld(provider: Provider, base_url: str, env: Env) -> str | None:
    """Return a note where a key of the provider is set but not sent, because the host is not the provider's."""
    variable = first_set(provider.key_env, env)
    if variable is None or choose(provider, base_url, None, env):
        return None
    return f'{variable} is not sent to "{host_of(base_url)}", which is not a host of {provider.name}'


def first_set(names: tuple[str, ...], env: Env) -> str | None:
    """Return the first of these variables that is set and not blank."""
    return next((name for name in names if env.get(name, "").strip()), None)


def _refuse_foreign(base_url: str, reference: str, env: Env) -> None:
    kind, _, variable = reference.partition(":")
    if kind != "env" or is_loopback(base_url):
        return
    host = find_by_host(base_url)
    owner, of_whom = _owner(variable.strip())
    if host is None or of_whom is None or of_whom == host.name:
        return
    if owner is not None and _from_own_variable(owner, base_url, env):
        return
    raise ConfigError(
        f'{variable} is the key of {of_whom}, but "{host_of(base_url)}" belongs to {host.name}',
        hint=f"use {host.key_env[0]}, or keep this key under a variable of its own" if host.key_env else None,
        reason="foreign_key",
    )


def _owner(variable: str) -> tuple[Provider | None, str | None]:
    for name in PROVIDERS.names():
        provider = PROVIDERS.load(name)
        if variable in provider.key_env:
            return provider, name
    return None, _OTHERS.get(variable)


def _from_own_variable(provider: Provider, base_url: str, env: Env) -> bool:
    variable = first_set(provider.base_env, env)
    return variable is not None and bool(host_of(base_url)) and origin(env[variable].strip()) == origin(base_url)


def _nothing(reference: str, on_terminal: bool) -> ConfigError:
    kind, _, name = reference.partition(":")
    message = f'the key "{reference}" is empty'
    if kind == "env":
        message = f'no key: the variable "{name.strip()}" is not set'
    hint = "store one with: llmctl connection edit NAME --key-stdin"
    if not on_terminal:
        hint += " (cron and services do not see your shell's variables)"
    elif kind == "env":
        hint = f"export {name.strip()}=…, or {hint}"
    return ConfigError(message, hint=hint, reason="no_key")
