"""Tools of MCP servers, over stdio or HTTP, with the official SDK: https://modelcontextprotocol.io.

A server is started (or connected to) at the first call of a turn and kept until the turn ends. Requests from servers
are not answered: no sampling, no roots, no elicitation.
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
from llmctl.core.signals import block_signals
from llmctl.core.stored_values import dumps
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, Discovered, ToolType, subprocess_tool

try:
    import anyio
    from anyio.from_thread import start_blocking_portal
    from mcp import Client, MCPError, StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client
except ImportError:
    raise ConfigError('the "mcp" package is not installed', hint="pip install 'llmctl[mcp]'", reason="no_mcp") from None

# Without a handler, output of a server that is not JSON-RPC would end up on stderr, with a traceback.
logging.getLogger("mcp").addHandler(logging.NullHandler())

#: Error codes of the SDK itself, in the range of https://www.jsonrpc.org/specification.
_TIMED_OUT, _CLOSED = -32001, -32000
_MAX_STDERR_CHARS = 2_000
#: Limit for the pages of a server's tool list.
_MAX_PAGES = 50


def validate_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data to store, with the server as a URL or as the argv of its command."""
    server = data.get("server")
    if isinstance(server, str) and not server.startswith(("http://", "https://")):
        try:
            server = shlex.split(server)
        except ValueError as error:
            raise UsageError(f'cannot parse the command "{server}": {str(error).lower()}') from None
    if not server or not isinstance(server, str | list):
        raise UsageError("a tool of type mcp requires a server", hint="pass --mcp 'npx -y PACKAGE' or --mcp URL")
    return {**data, "server": server}


def discover(name: str, data: Mapping[str, Any], context: Context) -> list[Discovered]:
    """Return the tools of a server, named ``NAME_tool``, or as on the server if there is no NAME."""
    tools = _get_connection(data, context).list_tools()
    if not tools:
        raise RejectedError("the server offers no tools", reason="tool_failed")
    prefix = f"{name}_" if name else ""
    return [
        Discovered(
            _to_tool_name(prefix + tool.name), tool.description or "", tool.input_schema, {**data, "tool": tool.name}
        )
        for tool in tools
    ]


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    connection = _get_connection(tool.data, context)
    result = connection.call_tool(tool.data.get("tool") or tool.name, dict(arguments), context.timeout_s)
    text = subprocess_tool.truncate(_result_text(result), context.most_bytes)
    return Ran(text, text or "the server reported an error") if result.is_error else Ran(text)


class McpConnection:
    """An open connection to a server, with its own event loop thread."""

    def __init__(self, data: Mapping[str, Any], context: Context) -> None:
        self._stack = ExitStack()
        self._stderr: TextIO = self._stack.enter_context(_open_stderr_file())
        try:
            with block_signals():
                self._portal = self._stack.enter_context(start_blocking_portal())
            client = Client(_build_transport(data, context, self._stderr), read_timeout_seconds=context.timeout_s)
            self._client = self._stack.enter_context(self._portal.wrap_async_context_manager(client))
        except (MCPError, OSError, RuntimeError, ExceptionGroup, anyio.ClosedResourceError) as error:
            llmctl_error = self._translate_error(error, context.timeout_s)
            self._stack.close()
            raise llmctl_error from None

    def list_tools(self) -> list[Any]:
        tools: list[Any] = []
        cursor = None
        for _ in range(_MAX_PAGES):
            page = self._request(partial(self._client.list_tools, cursor=cursor), None)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return tools

    def call_tool(self, name: str, arguments: dict[str, Any], timeout_s: float) -> Any:
        return self._request(partial(self._client.call_tool, name, arguments, timeout_s), timeout_s)

    def close(self) -> None:
        """Stop the server. It may have ended already."""
        try:
            self._stack.close()
        except (MCPError, OSError, RuntimeError, ExceptionGroup, anyio.ClosedResourceError):
            return

    def _request(self, call: Any, timeout_s: float | None) -> Any:
        try:
            return self._portal.call(call)
        except (MCPError, OSError, RuntimeError, ExceptionGroup, anyio.ClosedResourceError) as error:
            raise self._translate_error(error, timeout_s) from None

    def _translate_error(self, error: BaseException, timeout_s: float | None) -> LlmctlError:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, MCPError) and error.code == _TIMED_OUT:
            return UnavailableError(
                f"no result within {subprocess_tool.format_timeout(timeout_s or 0)}", reason="timeout"
            )
        if isinstance(error, FileNotFoundError):
            return ConfigError(f'no program "{error.filename}"', hint="check that it is installed and on PATH")
        self._stderr.seek(0)
        stderr = " ".join(self._stderr.read().split())[-_MAX_STDERR_CHARS:]
        message = str(error) or type(error).__name__
        kind = RejectedError if isinstance(error, MCPError) and error.code != _CLOSED else UnavailableError
        return kind(f"the MCP server failed: {message}" + (f" ({stderr})" if stderr else ""), reason="tool_failed")


def _open_stderr_file() -> TextIO:
    return TemporaryFile("w+", encoding="utf-8", errors="replace")


def _get_connection(data: Mapping[str, Any], context: Context) -> McpConnection:
    key = ("mcp", dumps({name: value for name, value in data.items() if name != "tool"}), context.folder)
    server: McpConnection = context.sessions.get(key, lambda: McpConnection(data, context))
    return server


def _build_transport(data: Mapping[str, Any], context: Context, stderr: TextIO) -> Any:
    server = data["server"]
    if isinstance(server, list):
        command = StdioServerParameters(command=server[0], args=server[1:], env=dict(context.env), cwd=context.folder)
        return stdio_client(command, errlog=stderr)
    host = urlsplit(server).hostname or ""
    if not context.reaches(host):
        raise UnavailableError(f'cannot reach "{host}": llmctl is offline', reason="offline")
    return _open_http(server, {name: context.secret(value) for name, value in (data.get("headers") or {}).items()})


@asynccontextmanager
async def _open_http(url: str, headers: dict[str, str]) -> Any:
    async with create_mcp_http_client(headers) as client, streamable_http_client(url, http_client=client) as streams:
        yield streams


def _result_text(result: Any) -> str:
    """Return a result as text; images and audio are only described, since tool results are text."""
    texts = [_part_text(part) for part in result.content]
    if not texts and result.structured_content is not None:
        return dumps(result.structured_content)
    return "\n".join(texts)


def _part_text(part: Any) -> str:
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


def _to_tool_name(name: str) -> str:
    """Return a valid tool name: other characters become ``_``."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:64]


TYPE = ToolType(run, validate_data, discover)
