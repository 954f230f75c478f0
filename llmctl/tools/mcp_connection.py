"""A connection to an MCP server over stdio or HTTP, with the official SDK: https://modelcontextprotocol.io.

Results are read as plain JSON: the SDK would refuse a whole answer for one part of it that it does not know.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent import futures
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from tempfile import TemporaryFile
from threading import Lock
from typing import Any, TextIO
from urllib.parse import urlsplit

import anyio
import mcp_types as types
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.message import SessionMessage
from pydantic import TypeAdapter

from llmctl.core.errors import ConfigError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.signals import block_signals
from llmctl.tools import Context, subprocess_tool

# Without a handler, messages of a server that are not valid would end up on stderr, with a traceback.
for _name in ("mcp", "client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

#: Error codes of the SDK itself, in the range of https://www.jsonrpc.org/specification.
_TIMED_OUT, _CLOSED = -32001, -32000
_MAX_STDERR_CHARS = 300
_MAX_LINE_BYTES = 100_000_000
#: Limit for the pages of a server's tool list.
_MAX_PAGES = 50
#: How long a server may take to end when its input is closed, and after SIGTERM.
_EXIT_GRACE_S, _TERMINATE_GRACE_S = 1.0, 0.3
#: Key in the metadata of a result: the result as the server sent it.
_RAW_KEY = "llmctl/raw"
#: Fields of the result of a call, which the SDK would validate.
_RESULT_FIELDS = frozenset(("content", "structuredContent", "isError"))

_JSON_OBJECT: Any = TypeAdapter(dict[str, Any])
_FAILURES = (MCPError, OSError, RuntimeError, ValueError, ExceptionGroup, anyio.ClosedResourceError)


class ServerEndedError(UnavailableError):
    """A server ended while it was asked."""


class McpConnection:
    """An open connection to a server, with its own event loop thread."""

    def __init__(self, data: Mapping[str, Any], context: Context) -> None:
        self._stack = ExitStack()
        self._stderr: TextIO = self._stack.enter_context(_open_stderr_file())
        self._process: anyio.abc.Process | None = None
        self._client: Client | None = None
        self._stop: anyio.Event | None = None
        self._is_stuck = False
        self._lock = Lock()
        self._stderr_start = 0
        with block_signals():
            self._portal = self._stack.enter_context(start_blocking_portal())
        self._ready: futures.Future[None] = futures.Future()
        try:
            transport = self._build_transport(data, context)
            self._task = self._portal.start_task_soon(self._serve, transport, context.timeout_s)
            futures.wait((self._ready, self._task), context.timeout_s, futures.FIRST_COMPLETED)
            if not self._ready.done():
                self._fail_to_open(context.timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended, or the connection to it."""
        return self._task.done() or (self._process is not None and self._process.returncode is not None)

    def list_tools(self, timeout_s: float) -> list[Any]:
        """Return the tools of the server as it described them."""
        tools: list[Any] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor)
            page = self._request(types.ListToolsRequest(params=params), timeout_s)
            found = page.get("tools")
            tools += found if isinstance(found, list) else []
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                break
        return tools

    def call_tool(self, name: str, arguments: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the result of a tool as the server sent it."""
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=name, arguments=arguments))
        return self._request(request, timeout_s)

    def close(self) -> None:
        """Stop the server. It may have ended already."""
        with self._lock, suppress(*_FAILURES, futures.CancelledError):
            if self._stop is not None:
                self._portal.call(self._stop.set)
            self._stack.close()

    async def _serve(self, transport: Any, timeout_s: float) -> None:
        """Keep the connection open until it is told to stop."""
        async with Client(_shield(transport), read_timeout_seconds=timeout_s) as client:
            self._client, self._stop = client, anyio.Event()
            self._ready.set_result(None)
            await self._stop.wait()

    def _fail_to_open(self, timeout_s: float) -> None:
        error = self._task.exception() if self._task.done() else None
        if error is not None and isinstance(error, _FAILURES):
            raise self._translate_error(error, timeout_s)
        if error is not None:
            raise error
        self._is_stuck = True
        self._task.cancel()
        raise _timeout_error(timeout_s)

    def _request(self, request: Any, timeout_s: float) -> dict[str, Any]:
        self._stderr_start = self._stderr.seek(0, os.SEEK_END)
        try:
            return self._portal.call(self._send, request, timeout_s)
        except _FAILURES as error:
            raise self._translate_error(error, timeout_s) from None

    async def _send(self, request: Any, timeout_s: float) -> dict[str, Any]:
        assert self._client
        send = partial(self._client.session.send_request, request, _JSON_OBJECT, timeout_s)
        try:
            result: dict[str, Any] = await send()
        except MCPError as error:
            if error.code != types.HEADER_MISMATCH:
                raise
            await self._client.list_tools()  # the SDK takes the headers from it
            result = await send()
        raw = (result.get("_meta") or {}).get(_RAW_KEY, result)
        return raw if isinstance(raw, dict) else {}

    def _translate_error(self, error: BaseException, timeout_s: float) -> LlmctlError:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, MCPError) and error.code == _TIMED_OUT:
            self._is_stuck = True
            return _timeout_error(timeout_s)
        if isinstance(error, FileNotFoundError):
            return ConfigError(f'no program "{error.filename}"', hint="check that it is installed and on PATH")
        if isinstance(error, MCPError) and error.code != _CLOSED:
            return RejectedError(f"the MCP server failed: {_first_line(str(error))}", reason="tool_failed")
        said = self._last_stderr_line()
        if isinstance(error, MCPError | anyio.ClosedResourceError):
            message = "the MCP server ended" + (f": {said}" if said else " without an answer")
            return ServerEndedError(message, reason="tool_failed")
        message = f"the MCP server failed: {_first_line(str(error)) or type(error).__name__}"
        message += f" ({said})" if said else ""
        return UnavailableError(message, reason="tool_failed")

    def _last_stderr_line(self) -> str:
        """Return what the server wrote last: of a traceback its message, without the lines of its stack."""
        self._stderr.seek(self._stderr_start)
        lines = [line for line in self._stderr.read().splitlines() if line.strip()]
        messages = [line for line in lines if not line.startswith((" ", "\t", "Node.js v", "Traceback"))]
        return (messages or lines or [""])[-1].strip()[:_MAX_STDERR_CHARS]

    def _build_transport(self, data: Mapping[str, Any], context: Context) -> Any:
        server = data["server"]
        if isinstance(server, list):
            return self._open_process(server, dict(context.env), context.folder)
        host = urlsplit(server).hostname or ""
        if not context.reaches(host):
            raise UnavailableError(f'cannot reach "{host}": llmctl is offline', reason="offline")
        return _open_http(server, {name: context.secret(value) for name, value in (data.get("headers") or {}).items()})

    @asynccontextmanager
    async def _open_process(self, argv: list[str], env: dict[str, str], folder: str) -> AsyncIterator[Any]:
        """Start a server and connect to its stdin and stdout; end it with all its children.

        The SDK's own transport waits for up to 4.5 s when it ends a server.
        """
        process = await anyio.open_process(argv, stderr=self._stderr, env=env, cwd=folder, start_new_session=True)
        self._process = process
        received, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, to_send = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read_messages, process, received)
            tasks.start_soon(_write_messages, process, to_send, received)
            try:
                yield read, write
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end_process(process)
                tasks.cancel_scope.cancel()
                for stream in (received, read, write, to_send):
                    stream.close()

    async def _end_process(self, process: anyio.abc.Process) -> None:
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            if process.stdin is not None:
                await process.stdin.aclose()
        if not self._is_stuck:
            with anyio.move_on_after(_EXIT_GRACE_S):
                await process.wait()
        for signum in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signum)  # children, too: npx starts the server as one
            if process.returncode is None:
                with anyio.move_on_after(_TERMINATE_GRACE_S):
                    await process.wait()


async def _read_messages(process: anyio.abc.Process, received: Any) -> None:
    """Deliver the lines of a server that are JSON-RPC messages."""
    assert process.stdout is not None
    buffer = bytearray()
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
        async with received:
            async for chunk in process.stdout:
                buffer += chunk
                while (end := buffer.find(b"\n")) >= 0:
                    line, buffer = bytes(buffer[:end]), buffer[end + 1 :]
                    with suppress(ValueError):
                        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                        await received.send(SessionMessage(message))
                if len(buffer) > _MAX_LINE_BYTES:
                    return


async def _write_messages(process: anyio.abc.Process, to_send: Any, received: Any) -> None:
    assert process.stdin is not None
    try:
        async with to_send:
            async for sent in to_send:
                line = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send((line + "\n").encode("utf-8", "replace"))
    except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        await received.aclose()  # or a request would wait for its whole time limit


@asynccontextmanager
async def _open_http(url: str, headers: dict[str, str]) -> Any:
    async with create_mcp_http_client(headers) as client, streamable_http_client(url, http_client=client) as streams:
        yield streams


@asynccontextmanager
async def _shield(transport: Any) -> AsyncIterator[Any]:
    """Pass the messages of a transport on: results in a form that the SDK takes, and no notifications."""
    async with transport as (read, write):
        send, receive = anyio.create_memory_object_stream[Any](0)

        async def forward() -> None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async with send:
                    async for message in read:
                        if isinstance(message, SessionMessage) and _keep_raw(message.message):
                            await send.send(message)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forward)
            try:
                yield receive, write
            finally:
                tasks.cancel_scope.cancel()
                receive.close()


def _keep_raw(message: Any) -> bool:
    """Move what the SDK would validate of a result into its metadata; return whether the message is needed at all."""
    if isinstance(message, types.JSONRPCNotification):
        return False
    result = getattr(message, "result", None)
    if not isinstance(result, dict) or not ("tools" in result or _RESULT_FIELDS & result.keys()):
        return True
    raw, meta = dict(result), result.get("_meta")
    for name in _RESULT_FIELDS & result.keys():
        del result[name]
    result["tools" if "tools" in raw else "content"] = []
    result["_meta"] = {**(meta if isinstance(meta, dict) else {}), _RAW_KEY: raw}
    return True


def _open_stderr_file() -> TextIO:
    return TemporaryFile("w+", encoding="utf-8", errors="replace")


def _timeout_error(timeout_s: float) -> UnavailableError:
    return UnavailableError(f"no result within {subprocess_tool.format_timeout(timeout_s)}", reason="timeout")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:_MAX_STDERR_CHARS]


def open_or_reopen(
    context: Context, key: Any, connect: Callable[[], McpConnection], broken: McpConnection | None = None
) -> McpConnection:
    """Return the connection of a turn, a new one if the server has ended since the last call, or it is ``broken``."""
    connection: McpConnection = context.sessions.get(key, connect)
    if connection.is_closed or connection is broken:
        context.sessions.drop(key, connection)
        connection = context.sessions.get(key, connect)
    return connection
