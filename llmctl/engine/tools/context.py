"""Build the context of a tool run: a minimal environment, a folder, network access, resolved secrets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from llmctl.core import environment
from llmctl.core.errors import ConfigError, DeniedError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.tools import Tool
from llmctl.engine.connections import keys
from llmctl.engine.runtime import RuntimeEnv
from llmctl.providers import is_loopback
from llmctl.tools import MAX_OUTPUT_BYTES, TIMEOUT_S, Context, HttpResult, SessionPool

#: Variables of our environment that programs get. Keys and llmctl's own settings are not among them.
_ENV_ALLOWLIST = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")


class ToolContextFactory:
    """Builds the contexts for the tool runs of a turn, and records the secrets it handed out."""

    def __init__(self, runtime: RuntimeEnv, hub_path: str) -> None:
        self._runtime = runtime
        self._private_paths = _list_private_paths(hub_path, runtime.env)
        self.sessions = SessionPool()
        #: Values to redact from the output of tools.
        self.secrets: set[str] = set()

    def create(self, tool: Tool, log: Callable[[bytes], None], remaining_s: float | None = None) -> Context:
        """Return the context of a run of this tool; ``remaining_s`` is what is left of the turn's time limit."""
        limit = float(tool.data.get("timeout") or TIMEOUT_S)
        return Context(
            env=self._build_env(tool),
            folder=self._working_folder(tool),
            fetch=partial(self._fetch, tool),
            timeout_s=limit if remaining_s is None else max(0.001, min(limit, remaining_s)),
            most_bytes=int(tool.data.get("output") or MAX_OUTPUT_BYTES),
            log=log,
            secret=self._resolve_secret,
            private=self._private_paths,
            reaches=lambda host: not self._runtime.offline or is_loopback(f"http://{host}"),
            sessions=self.sessions,
        )

    def _build_env(self, tool: Tool) -> dict[str, str]:
        """Return allowlisted variables and those of the tool: ``["NAME"]``, or ``{"NAME": "value or reference"}``."""
        env = self._runtime.env
        env_subset = {name: env[name] for name in _ENV_ALLOWLIST if name in env}
        env_subset |= {name: value for name, value in env.items() if name.startswith("LC_")}
        own: Any = tool.data.get("env") or {}
        if isinstance(own, list):
            own = {name: f"env:{name}" for name in own if env.get(name, "").strip()}
        return env_subset | {name: self._resolve_variable(name, str(value)) for name, value in own.items()}

    def _resolve_variable(self, name: str, value: str) -> str:
        variable = value.removeprefix("env:")
        if value.startswith("env:") and variable not in self._runtime.env:
            raise ConfigError(
                f"the tool requires the environment variable {variable}, which is not set",
                hint=f"export {variable}=...; or pass a value: --env {name}=...",
            )
        return self._resolve_secret(value)

    def _working_folder(self, tool: Tool) -> str:
        folder = os.path.expanduser(str(tool.data.get("folder") or "."))
        try:
            return os.path.abspath(folder)
        except FileNotFoundError:  # the working folder was removed; any other folder may be one that is not allowed
            return os.path.join(self._runtime.env.get("PWD") or "/nowhere", folder)

    def _resolve_secret(self, reference: str) -> str:
        """Return the value of a key reference; any other text unchanged."""
        if not keys.is_reference(reference):
            return reference
        value = keys.resolve(reference, env=self._runtime.env, home=self._runtime.home).value
        self.secrets.add(value)
        return value

    def _fetch(self, tool: Tool, request: HttpRequest, *, timeout_s: float, most_bytes: int) -> HttpResult:
        from llmctl.transport import client

        timeouts = client.Timeouts(first_byte=timeout_s, idle=timeout_s, total=timeout_s)
        address = _resolve_address(tool, request.url)
        with client.send_request(request, timeouts, loopback_only=self._runtime.offline, address=address) as answer:
            return HttpResult(answer.status, answer.headers, _read_body(answer.chunks, most_bytes))


def validate_limits(data: Mapping[str, Any]) -> None:
    """Raise UsageError for invalid limits or an invalid environment in a tool's data."""
    for name, least in (("timeout", 0.001), ("output", 1)):
        value = data.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < least):
            raise UsageError(f'"{name}" must be {least} or more, got "{value}"')
    env = data.get("env")
    if env is not None and not isinstance(env, list | dict):
        raise UsageError('"env" must be a list of names, or an object of names and values')


def _resolve_address(tool: Tool, url: str) -> str | None:
    """Return the public address to connect to, or None for any address of a host that the tool lists literally.

    Hosts that only match a pattern must be public: such a name may resolve to an address in the user's own network.
    """
    from llmctl.transport import ssrf

    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if host in {str(rule).lower() for rule in tool.data.get("hosts") or ()}:
        return None
    try:
        return ssrf.resolve_addresses(host, parts.port or (443 if parts.scheme == "https" else 80))[0]
    except UsageError as error:
        hint = f"allow it by name: llmctl tool edit {tool.name} --host {host}"
        raise DeniedError(error.message, hint=hint, reason="confined") from None


def _read_body(chunks: Any, most_bytes: int) -> bytes:
    """Read at most ``most_bytes`` of a body, and one more byte if there is more."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            break
    return bytes(body[: most_bytes + 1])


def _list_private_paths(hub_path: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths that belong to llmctl: the hub with its sidecars and backups, keys, the write spool."""
    real = os.path.realpath(hub_path)
    data, state = environment.data_folder(env), environment.state_folder(env)
    key_folders = {os.path.join(folder, "keys") for folder in (os.path.dirname(real), data) if folder}
    return (real, *(os.path.realpath(path) for path in (*key_folders, state) if path))
