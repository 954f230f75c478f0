"""What the process lends to a tool that runs: a narrow environment, a folder, the network, secrets by reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from llmctl.core import paths
from llmctl.core.errors import DeniedError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.tools import Tool
from llmctl.engine.connections import keys
from llmctl.engine.turn.options import Surroundings
from llmctl.providers.hosts import is_loopback
from llmctl.tools import MOST_OUTPUT_BYTES, TIMEOUT_S, Context, Sessions

#: What programs get of our environment. Keys and our own settings are not among it.
_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Answered:
    """An HTTP answer that was read whole, or as far as it was wanted."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lender:
    """Makes the contexts of one turn's runs; remembers the secrets that it gave away."""

    def __init__(self, around: Surroundings, hub_path: str) -> None:
        self._around = around
        self._private = _private(hub_path, around.env)
        self.sessions = Sessions()
        #: Values that must not be stored or shown, whatever a tool prints.
        self.secrets: set[str] = set()

    def context(self, tool: Tool, log: Callable[[bytes], None], remaining_s: float | None = None) -> Context:
        """Return what a run of this tool gets; ``remaining_s`` bounds it, where the turn does."""
        limit = float(tool.data.get("timeout") or TIMEOUT_S)
        return Context(
            env=self._environment(tool),
            folder=self._folder(tool),
            fetch=partial(self._fetch, tool),
            timeout_s=limit if remaining_s is None else max(0.001, min(limit, remaining_s)),
            most_bytes=int(tool.data.get("output") or MOST_OUTPUT_BYTES),
            log=log,
            secret=self._secret,
            private=self._private,
            reaches=lambda host: not self._around.offline or is_loopback(f"http://{host}"),
            sessions=self.sessions,
        )

    def _environment(self, tool: Tool) -> dict[str, str]:
        """Return the allowlist, and what the tool's data names: ``["NAME"]``, or ``{"NAME": "value or reference"}``."""
        env = self._around.env
        found = {name: env[name] for name in _ENVIRONMENT if name in env}
        found |= {name: value for name, value in env.items() if name.startswith("LC_")}
        wanted: Any = tool.data.get("env") or {}
        if isinstance(wanted, list):
            wanted = {name: f"env:{name}" for name in wanted if env.get(name, "").strip()}
        return found | {name: self._secret(str(value)) for name, value in wanted.items()}

    def _folder(self, tool: Tool) -> str:
        folder = os.path.expanduser(str(tool.data.get("folder") or "."))
        try:
            return os.path.abspath(folder)
        except FileNotFoundError:  # the working folder was removed; another one would be more than was allowed
            return os.path.join(self._around.env.get("PWD") or "/nowhere", folder)

    def _secret(self, reference: str) -> str:
        """Return the value behind a key reference; any other text as it is."""
        if not keys.is_reference(reference):
            return reference
        value = keys.resolve(reference, env=self._around.env, home=self._around.home).value
        self.secrets.add(value)
        return value

    def _fetch(self, tool: Tool, request: HttpRequest, *, timeout_s: float, most_bytes: int) -> Answered:
        from llmctl.transport import client

        timeouts = client.Timeouts(first_byte=timeout_s, idle=timeout_s, total=timeout_s)
        address = _address(tool, request.url)
        with client.open(request, timeouts, loopback_only=self._around.offline, at=address) as answer:
            return Answered(answer.status, answer.headers, _read(answer.chunks, most_bytes))


def check_limits(data: Mapping[str, Any]) -> None:
    """Raise UsageError for limits that are none."""
    for name, least in (("timeout", 0.001), ("output", 1)):
        value = data.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < least):
            raise UsageError(f'"{value}" is no {name} of a tool')
    wanted = data.get("env")
    if wanted is not None and not isinstance(wanted, list | dict):
        raise UsageError('"env" of a tool is a list of names, or an object of names and values')


def _address(tool: Tool, url: str) -> str | None:
    """Return the address to connect to: a public one, or any (None) of a host that the tool names letter by letter.

    A pattern is no word for the user's own network: a name that fits it may stand for any address.
    """
    from llmctl.transport import ssrf

    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if host in {str(rule).lower() for rule in tool.data.get("hosts") or ()}:
        return None
    try:
        return ssrf.addresses(host, parts.port or (443 if parts.scheme == "https" else 80))[0]
    except UsageError as error:
        hint = f"allow it by its own name: llmctl tool edit {tool.name} --host {host}"
        raise DeniedError(error.message, hint=hint, reason="confined") from None


def _read(chunks: Any, most_bytes: int) -> bytes:
    """Read a body as far as it is wanted, and one byte more: that tells that there is more."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            break
    return bytes(body[: most_bytes + 1])


def _private(hub_path: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return what belongs to llmctl itself: the hub with its companions and copies, keys, what waits to be stored."""
    real = os.path.realpath(hub_path)
    data, state = paths.data_folder(env), paths.state_folder(env)
    keys_of_ours = {os.path.join(folder, "keys") for folder in (os.path.dirname(real), data) if folder}
    return (real, *(os.path.realpath(path) for path in (*keys_of_ours, state) if path))
