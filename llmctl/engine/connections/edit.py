"""Build and validate the columns of a connection from user input. Secrets are refused, only references stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.redaction import find_secret_values, is_secret_name, mask_keys, redact_headers, redact_url
from llmctl.core.registry import unknown_name_error
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.connections import keys
from llmctl.engine.connections.keys import Env
from llmctl.engine.connections.target import find_data_problem
from llmctl.providers import PROVIDERS, Provider, split_base_url
from llmctl.store.records.types import ConnectionRow
from llmctl.wire import WIRES

_NAME = re.compile(r"[^\s:\x00-\x1f\x7f-][^\s:\x00-\x1f\x7f]{0,199}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_USE_REFERENCE = "use a reference: env:VARIABLE, command:COMMAND, file:PATH or keyring:NAME"


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """User input for a connection; None leaves a value unchanged. A header or option of None is removed."""

    name: str | None = None
    provider: str | None = None
    model: str | None = None
    type: str | None = None
    base_url: str | None = None
    wire: str | None = None
    #: A key reference, or an empty string for none.
    key: str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None


def find_provider(spec: ConnectionSpec, old: ConnectionRow | None = None) -> Provider:
    """Return the provider of a connection; without one, the provider that has the connection's name.

    Raises NotFoundError with similar names for an unknown one, unless there is a base URL: then the host is taken
    to be OpenAI-compatible.
    """
    name = spec.provider or (old.provider if old else spec.name) or ""
    if name.lower() in PROVIDERS:
        return PROVIDERS.load(name.lower())
    if spec.base_url or (old and loads(old.data, {}).get("base_url")):
        return PROVIDERS.load("compatible").replace(name=name)
    error = unknown_name_error("provider", name, PROVIDERS.names(), error=NotFoundError)
    error.hint = f"{error.hint}; for any other OpenAI-compatible host pass --base-url"
    raise error


def build_columns(spec: ConnectionSpec, env: Env, old: ConnectionRow | None = None) -> dict[str, Any]:
    """Return the columns of a new connection, or the changes to ``old``; raise for invalid values and for secrets."""
    if spec.name is not None and not _NAME.fullmatch(spec.name):
        raise UsageError(
            f'invalid connection name "{spec.name}"',
            hint='it must not contain ":" or white space, or start with "-": -m NAME:MODEL has to say it',
        )
    provider = find_provider(spec, old)
    data = _merge_data(spec, loads(old.data, {}) if old else {}, provider)
    _validate_key_owner(provider, data, env)
    values = {"name": spec.name, "model_id": spec.model, "type": spec.type, "description": spec.description}
    columns: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    for name in ("name", "model_id", "description"):
        _reject_secret(columns.get(name), name)
    if old is None:
        columns = {"model_id": provider.default_model if _is_chat(spec) else None} | columns
    if old is None or spec.provider:
        columns["provider"] = provider.name
    return columns | {"data": dumps(data)}


def _is_chat(spec: ConnectionSpec) -> bool:
    return spec.type in (None, "chat")


def _merge_data(spec: ConnectionSpec, data: dict[str, Any], provider: Provider) -> dict[str, Any]:
    data |= spec.data
    _validate_types(data)
    if spec.base_url is not None:
        data["base_url"] = spec.base_url or None
    if spec.wire is not None:
        data["wire"] = spec.wire or None
    if spec.key is not None:
        data["key"] = spec.key or None
    for name, values in (("headers", spec.headers), ("options", spec.options)):
        merged = {**(data.get(name) or {}), **values}
        data[name] = {key: value for key, value in merged.items() if value is not None}
    data = {name: value for name, value in data.items() if value not in (None, {})}
    _validate_data(data, provider)
    return data


def _validate_data(data: Mapping[str, Any], provider: Provider) -> None:
    if data.get("base_url"):
        _validate_url(str(data["base_url"]), provider)
    if data.get("wire") and data["wire"] not in WIRES:
        raise unknown_name_error("wire", str(data["wire"]), WIRES.names())
    if data.get("key") and not keys.is_reference(str(data["key"])):
        raise UsageError("the key must be a reference, not the key itself", hint=_USE_REFERENCE)
    if data.get("key") and keys.holds_key(str(data["key"])):
        raise UsageError("the key reference must say where the key is, not be the key", hint=_USE_REFERENCE)
    for name, value in data.get("headers", {}).items():
        _validate_header(name, value)
    reject_secret_options(data.get("options", {}))
    for name, value in data.items():
        if name not in ("headers", "base_url", "key"):
            _reject_secret(dumps(value), name)


def _validate_types(data: Mapping[str, Any]) -> None:
    if problem := find_data_problem(data):
        raise UsageError(problem, hint='for example: {"NAME": VALUE}' if problem.endswith("object") else None)


def _validate_url(url: str, provider: Provider) -> None:
    secret = _find_url_secret(url)
    if secret:
        raise UsageError(
            f"the base URL contains {secret}", hint="store it as the key, or as a header: --header 'NAME=env:VARIABLE'"
        )
    base, _ = split_base_url(url, provider.root_path)
    if not base.startswith(("https://", "http://")):
        raise UsageError(f'invalid base URL "{url}"', hint="it must start with https:// or http://")


def _find_url_secret(url: str) -> str | None:
    """Return what secret a URL contains, in words, or None."""
    try:
        netloc = urlsplit(url.strip()).netloc
    except ValueError:
        netloc = url
    if "@" in netloc:
        return "a user name or password"
    return "a key" if redact_url(url) != url else None


def _validate_header(name: str, value: Any) -> None:
    if not _HEADER.fullmatch(name):
        raise UsageError(f'invalid header name "{name}"')
    if not isinstance(value, str) or not value.isprintable() or not value.isascii():
        raise UsageError(f'header "{name}" contains a character that HTTP does not allow')
    if keys.is_reference(value) and keys.holds_key(value):
        raise UsageError(f'header "{name}" must say where its value is, not be the key', hint=_USE_REFERENCE)
    secret = redact_headers({name: value})[name] != value or is_secret_name(name)
    if not keys.is_reference(value) and secret:
        raise UsageError(f'header "{name}" seems to contain a key', hint=_USE_REFERENCE)


def reject_secret_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that holds a secret: its name says so, at any depth, or it looks like a key."""
    for name, value in options.items():
        if find_secret_values({name: value}) or mask_keys(text := dumps({name: value})) != text:
            raise UsageError(
                f'option "{name}" must not hold a secret: options are stored and shown as they are',
                hint="pass keys with --key-stdin or --key-env, or in a header: --header 'NAME=env:VARIABLE'",
            )


def _validate_key_owner(provider: Provider, data: Mapping[str, Any], env: Env) -> None:
    """Raise ConfigError if the key belongs to another provider."""
    if data.get("key"):
        keys.pick_key(provider, str(data.get("base_url") or provider.base_url), str(data["key"]), env)


def _reject_secret(value: Any, field_name: str) -> None:
    if isinstance(value, str) and mask_keys(value) != value:
        raise UsageError(
            f"the {field_name.replace('_id', '')} seems to contain a key",
            hint="pass keys with --key-stdin or --key-env",
        )
