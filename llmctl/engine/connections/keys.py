"""API keys by reference: which key a host may receive, and its value when it is needed. Never stored, never shown.

A reference is ``env:VARIABLE``, ``command:SHELL COMMAND``, ``file:PATH`` or ``keyring:NAME``.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from llmctl.core.environment import make_private_folder
from llmctl.core.errors import ConfigError, StorageError
from llmctl.core.redaction import mask_keys
from llmctl.core.registry import Registry
from llmctl.core.stored_values import new_id
from llmctl.providers import PROVIDERS, Provider, find_by_host, is_loopback, owns_url, parse_host, parse_origin

Env = Mapping[str, str]

#: Takes the part after the colon, the environment and the home folder; returns the key and a note for the user.
KeyReader = Callable[[str, Env, str], tuple[str, str | None]]

_READERS: Registry[KeyReader] = Registry(
    "kind of key reference",
    "llmctl.engine.connections",
    {
        "env": "keys:read_env",
        "command": "keys:read_command",
        "file": "keys:read_file",
        "keyring": "system_keyring:read_keyring",
    },
)

#: Key variables of providers that are not in the registry: these keys must not reach other hosts either.
_OTHER_KEY_VARIABLES = {
    "COHERE_API_KEY": "cohere",
}
COMMAND_TIMEOUT_S = 30.0
#: A key is one short line; a wrong path may name a device or a huge file.
_MAX_KEY_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the reference it came from. ``note`` is a warning for the user, such as a file others can read."""

    value: str = field(repr=False)
    reference: str
    note: str | None = None


def is_reference(text: str) -> bool:
    """Return whether a text is a key reference rather than a key."""
    kind, colon, name = text.partition(":")
    return bool(colon) and kind in _READERS and bool(name.strip())


def holds_key(reference: str) -> bool:
    """Return whether a reference has a key in it, as in ``env:sk-…``: the common slip."""
    kind, _, name = reference.partition(":")
    name = name.strip()
    if mask_keys(name) != name:
        return True
    # No variable has such a name, and no key of an unknown shape is a word.
    return kind == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name)


def resolve(reference: str, *, env: Env, home: str, on_terminal: bool = False) -> Key:
    """Return the key behind a reference; raise ConfigError naming the reference if there is none."""
    if not is_reference(reference):
        # Not quoted: it may be the key itself.
        raise ConfigError(
            "the key must be a reference, not the key itself",
            hint="use env:VARIABLE, command:COMMAND, file:PATH or keyring:NAME",
        )
    kind, _, name = reference.partition(":")
    text, note = _READERS.load(kind)(name, env, home)
    value = strip_key(text)
    if not value:
        raise _missing_key_error(reference, on_terminal)
    return Key(validate_key(value, f'the key of "{reference}"'), reference, note)


def read_env(name: str, env: Env, home: str) -> tuple[str, str | None]:
    """Return the value of an environment variable; empty if it is not set."""
    return env.get(name.strip(), ""), None


def pick_key(
    provider: Provider, base_url: str, explicit: str | None, env: Env, *, base_from_env: bool = False
) -> str | None:
    """Return the reference of the key that may be sent to this base URL, or None.

    A provider's key variable is used for the provider's own hosts, for a base URL from its own ``*_API_BASE``
    variable and, if the provider is local, on this machine. An explicit reference is used for any host, except that
    the variable of one known provider is never sent to the host of another: ConfigError.
    """
    if explicit:
        _reject_foreign_key(base_url, explicit, env)
        return explicit
    if provider.auth == "none":
        return None
    is_own_host = base_from_env or owns_url(provider, base_url) or _is_from_base_variable(provider, base_url, env)
    if not is_own_host and not (provider.local and is_loopback(base_url)):
        return None
    variable = first_set_variable(provider.key_env, env)
    return f"env:{variable}" if variable else None


def withheld_key_note(provider: Provider, base_url: str, env: Env) -> str | None:
    """Return a note if the provider's key is set but not sent because the host is not the provider's."""
    variable = first_set_variable(provider.key_env, env)
    if variable is None or pick_key(provider, base_url, None, env):
        return None
    return f'{variable} is not sent to "{parse_host(base_url)}", which is not a host of {provider.name}'


def first_set_variable(names: tuple[str, ...], env: Env) -> str | None:
    """Return the name of the first variable that is set and not blank."""
    return next((name for name in names if env.get(name, "").strip()), None)


def _reject_foreign_key(base_url: str, reference: str, env: Env) -> None:
    kind, _, variable = reference.partition(":")
    if kind != "env" or is_loopback(base_url):
        return
    host = find_by_host(base_url)
    owner, owner_name = _find_owner(variable.strip())
    if host is None or owner_name is None or owner_name == host.name:
        return
    if owner is not None and _is_from_base_variable(owner, base_url, env):
        return
    raise ConfigError(
        f'{variable} is the key of {owner_name}, but "{parse_host(base_url)}" belongs to {host.name}',
        hint=f"use {host.key_env[0]}, or store this key in another variable" if host.key_env else None,
        reason="foreign_key",
    )


def _find_owner(variable: str) -> tuple[Provider | None, str | None]:
    for name in PROVIDERS.names():
        provider = PROVIDERS.load(name)
        if variable in provider.key_env:
            return provider, name
    return None, _OTHER_KEY_VARIABLES.get(variable)


def _is_from_base_variable(provider: Provider, base_url: str, env: Env) -> bool:
    variable = first_set_variable(provider.base_env, env)
    return (
        variable is not None
        and bool(parse_host(base_url))
        and parse_origin(env[variable].strip()) == parse_origin(base_url)
    )


def _missing_key_error(reference: str, on_terminal: bool) -> ConfigError:
    kind, _, name = reference.partition(":")
    message = f'the key "{reference}" is empty'
    if kind == "env":
        message = f'no key: environment variable "{name.strip()}" is not set'
    hint = "store a key: llmctl connection edit NAME --key-stdin"
    if not on_terminal:
        hint += " (cron and services do not see your shell's variables)"
    elif kind == "env":
        hint = f"export {name.strip()}=…, or {hint}"
    return ConfigError(message, hint=hint, reason="no_key")


def validate_key(value: str, label: str = "the key") -> str:
    """Return a key that fits into an HTTP header; raise ConfigError, without quoting the key, for any other."""
    if not value.strip():
        raise ConfigError(f"{label} is empty")
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(
            f"{label} contains line breaks, control characters or non-ASCII letters",
            hint="check that nothing else was pasted with it",
        )
    return value


def read_file(path: str, env: Mapping[str, str], home: str) -> tuple[str, str | None]:
    """Return the first line of a file, and a note if other users can read it. ``~/`` is the home folder."""
    full = os.path.join(home, path[2:]) if path.startswith("~/") else path
    try:
        with open(full, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = decode_key(file.read(_MAX_KEY_BYTES))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f'cannot read the key file "{full}": {_explain_read_error(error)}', reason="no_key") from None
    shared = stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH)
    note = f'other users can read the key file "{full}": chmod 600 "{full}"' if shared else None
    return _first_line(text), note


def decode_key(data: bytes) -> str:
    """Return the text of a key as an editor or a shell stored it: UTF-8, or UTF-16 as PowerShell writes it.

    A byte order mark is not part of it. Raises UnicodeDecodeError for anything else.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    # A key is ASCII: each character of UTF-16 has one NUL.
    by_nul = {(False, True): "utf-16-le", (True, False): "utf-16-be"}
    halves = (data[0:1] == b"\0", data[1:2] == b"\0")
    return data.decode(by_nul.get(halves, "utf-8-sig"))


def strip_key(text: str) -> str:
    """Return a key without what editors, shells and the clipboard put around it."""
    return text.strip("\ufeff\u200b\xa0 \t\r\n\v\f")


def _first_line(text: str) -> str:
    return next((line for line in map(strip_key, re.split("[\r\n]", text)) if line), "")


def key_file_path(folder: str, hub_path: str, connection_id: str) -> str:
    """Return the file in which llmctl keeps a connection's key.

    Its name is that of the hub's path and the connection: no other hub, not even a copy of this one, writes to it or
    deletes it. A reference in a copied or moved hub still leads to it.
    """
    hub = hashlib.sha256(os.fsencode(os.path.realpath(hub_path))).hexdigest()[:16]
    return os.path.join(folder, hub, connection_id)


def store_key_file(path: str, value: str) -> None:
    """Write a key atomically to a file with mode 0600.

    Its folder and the one above are created if missing and get mode 0700. Raises ConfigError for an invalid key,
    StorageError if the file cannot be written.
    """
    key = validate_key(value)
    folder = os.path.dirname(path)
    temporary = f"{path}.{new_id()}"
    try:
        for private in (os.path.dirname(folder), folder):
            make_private_folder(private)
            os.chmod(private, 0o700)
        _write_private_file(temporary, f"{key}\n".encode())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f'cannot write the key file "{path}": {_explain_read_error(error)}') from None
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _write_private_file(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)  # whatever the umask says
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _explain_read_error(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or "unknown reason").lower()
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def read_command(command: str, env: Mapping[str, str], home: str) -> tuple[str, str | None]:
    """Return the first line that a shell command prints, such as a password manager's. Git runs its helpers this way.

    If the command fails, its stderr is in the error.
    """
    from llmctl.tools import process  # starting processes takes imports that few keys need

    done = process.run_program(command, env=env, timeout_s=COMMAND_TIMEOUT_S, max_output_bytes=65536)
    if done.timed_out:
        raise ConfigError(f'the key command "{command}" did not finish within {COMMAND_TIMEOUT_S:g} s', reason="no_key")
    if done.exit_status:
        stderr = " ".join(done.stderr.decode(errors="replace").split())[-300:]
        raise ConfigError(
            f'the key command "{command}" failed with status {done.exit_status}' + (f": {stderr}" if stderr else ""),
            reason="no_key",
        )
    try:
        return _first_line(decode_key(done.stdout)), None
    except UnicodeDecodeError:
        return done.stdout.decode(errors="replace"), None  # refused later, as no key has such characters
