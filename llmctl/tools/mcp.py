"""Tools of MCP servers, over stdio or HTTP, through the official SDK: https://modelcontextprotocol.io.

A server is started (or reached) at the first call of a turn and kept until its end. Nothing is answered that a server
asks of us: no sampling, no roots, no elicitation.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from tempfile import TemporaryFile
from typing import Any, TextIO
from urllib.parse import urlsplit

from llmctl.core.errors import ConfigError, LlmctlError, RejectedError, UnavailableError, UsageError
from llmctl.core.signals import deaf
from llmctl.core.stored_json import dumps
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, Discovered, ToolType, subprocess_tool

try:
    import anyio
    from anyio.from_thread import start_blocking_portal
    from mcp import Client, MCPError, StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client
except ImportError:
    raise ConfigError("MCP needs its SDK", hint="pip install 'llmctl[mcp]'", reason="no_mcp") from None

# What a server says that is no JSON-RPC would come with a traceback on stderr, where nobody listens to the SDK's log.
logging.getLogger("mcp").addHandler(logging.NullHandler())

#: https://www.jsonrpc.org/specification, as the SDK numbers its own failures.
_TIMED_OUT, _CLOSED = -32001, -32000
_MOST_COMPLAINT = 2_000
#: Pages of a server's list of tools.
_MOST_PAGES = 50


def checked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with the server as a URL, or as the words of its command."""
    server = data.get("server")
    if isinstance(server, str) and not server.startswith(("http://", "https://")):
        try:
            server = shlex.split(server)
        except ValueError as error:
            raise UsageError(f'"{server}" is no command: {str(error).lower()}') from None
    if not server or not isinstance(server, str | list):
        raise UsageError("a tool of type mcp needs its server", hint="--mcp 'npx -y PACKAGE' or --mcp URL")
    return {**data, "server": server}


def discover(name: str, data: Mapping[str, Any], context: Context) -> list[Discovered]:
    """Return what a server offers, each tool named ``NAME_tool``, or as the server calls it."""
    found = _session(data, context).listed()
    if not found:
        raise RejectedError("the server offers no tools", reason="tool_failed")
    prefix = f"{name}_" if name else ""
    return [
        Discovered(_named(prefix + tool.name), tool.description or "", tool.input_schema, {**data, "tool": tool.name})
        for tool in found
    ]


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    session = _session(tool.data, context)
    result = session.call(tool.data.get("tool") or tool.name, dict(arguments), context.timeout_s)
    text = subprocess_tool.cut(_text(result), context.most_bytes)
    return Ran(text, text or "the server says that it failed") if result.is_error else Ran(text)


class Server:
    """A connection that stays open, in a thread of its own."""

    def __init__(self, data: Mapping[str, Any], context: Context) -> None:
        self._stack = ExitStack()
        self._complaints: TextIO = self._stack.enter_context(_scratch())
        try:
            with deaf():
                self._portal = self._stack.enter_context(start_blocking_portal())
            client = Client(_transport(data, context, self._complaints), read_timeout_seconds=context.timeout_s)
            self._client = self._stack.enter_context(self._portal.wrap_async_context_manager(client))
        except (MCPError, OSError, RuntimeError, ExceptionGroup, anyio.ClosedResourceError) as error:
            problem = self._problem(error, context.timeout_s)
            self._stack.close()
            raise problem from None

    def listed(self) -> list[Any]:
        found: list[Any] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            page = self._asked(partial(self._client.list_tools, cursor=cursor), None)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def call(self, name: str, arguments: dict[str, Any], timeout_s: float) -> Any:
        return self._asked(partial(self._client.call_tool, name, arguments, timeout_s), timeout_s)

    def close(self) -> None:
        """End the server; one that is gone already is no error."""
        try:
            self._stack.close()
        except (MCPError, OSError, RuntimeError, ExceptionGroup, anyio.ClosedResourceError):
            return

    def _asked(self, what: Any, timeout_s: float | None) -> Any:
        try:
            return self._portal.call(what)
        except (MCPError, OSError, RuntimeError, ExceptionGroup, anyio.ClosedResourceError) as error:
            raise self._problem(error, timeout_s) from None

    def _problem(self, error: BaseException, timeout_s: float | None) -> LlmctlError:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, MCPError) and error.code == _TIMED_OUT:
            return UnavailableError(f"no result within {subprocess_tool.seconds(timeout_s or 0)}", reason="timeout")
        if isinstance(error, FileNotFoundError):
            return ConfigError(f'no program "{error.filename}"', hint="is it installed and on PATH?")
        self._complaints.seek(0)
        complaint = " ".join(self._complaints.read().split())[-_MOST_COMPLAINT:]
        said = str(error) or type(error).__name__
        kind = RejectedError if isinstance(error, MCPError) and error.code != _CLOSED else UnavailableError
        return kind(f"the MCP server failed: {said}" + (f" ({complaint})" if complaint else ""), reason="tool_failed")


def _scratch() -> TextIO:
    return TemporaryFile("w+", encoding="utf-8", errors="replace")


def _session(data: Mapping[str, Any], context: Context) -> Server:
    key = ("mcp", dumps({name: value for name, value in data.items() if name != "tool"}), context.folder)
    server: Server = context.sessions.get(key, lambda: Server(data, context))
    return server


def _transport(data: Mapping[str, Any], context: Context, complaints: TextIO) -> Any:
    server = data["server"]
    if isinstance(server, list):
        command = StdioServerParameters(command=server[0], args=server[1:], env=dict(context.env), cwd=context.folder)
        return stdio_client(command, errlog=complaints)
    host = urlsplit(server).hostname or ""
    if not context.reaches(host):
        raise UnavailableError(f'offline: "{host}" is beyond this machine', reason="offline")
    return _over_http(server, {name: context.secret(value) for name, value in (data.get("headers") or {}).items()})


@asynccontextmanager
async def _over_http(url: str, headers: dict[str, str]) -> Any:
    async with create_mcp_http_client(headers) as client, streamable_http_client(url, http_client=client) as streams:
        yield streams


def _text(result: Any) -> str:
    """Return what a result says; of pictures and sound what they are, since a model is told text."""
    texts = [_content(part) for part in result.content]
    if not texts and result.structured_content is not None:
        return dumps(result.structured_content)
    return "\n".join(texts)


def _content(part: Any) -> str:
    match part.type:
        case "text":
            return str(part.text)
        case "image" | "audio":
            return f"[{part.type}, {part.mime_type}, {len(part.data) * 3 // 4} bytes]"
        case "resource":
            return str(getattr(part.resource, "text", None) or f"[{part.resource.uri}]")
        case "resource_link":
            return f"[{part.name}: {part.uri}]"
    return f"[{part.type}]"


def _named(name: str) -> str:
    """Return a name that models can be given: other characters become ``_``."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:64]


TYPE = ToolType(run, checked, discover)
