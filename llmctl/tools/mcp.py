"""Tools of MCP servers, over stdio or HTTP: https://modelcontextprotocol.io.

A server is started (or connected to) at the first call of a turn and kept until the turn ends; one that ends before
is started again by the next call. Requests from servers are not answered: no sampling, no roots, no elicitation.
"""

from __future__ import annotations

import binascii
import shlex
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from llmctl.core.chat import File
from llmctl.core.errors import ConfigError, RejectedError, UsageError
from llmctl.core.plugins import install_command
from llmctl.core.stored_values import dumps
from llmctl.core.tools import Ran, Tool
from llmctl.tools import SERVER_NAME_KEY, Context, Discovered, ToolType, subprocess_tool

try:
    from llmctl.tools.mcp_connection import McpConnection, ServerEndedError, open_or_reopen
except ImportError:
    raise ConfigError('the "mcp" package is not installed', hint=install_command("mcp"), reason="no_mcp") from None

_MAX_NAME_CHARS = 64
#: Key of the data of a tool whose calls may be made twice.
_REPEATABLE = "repeatable"
#: Limit for a part of a result whose type is not known.
_MAX_PART_CHARS = 2_000


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
    """Return the tools of a server, named ``NAME_tool``, or as on the server if there is no NAME.

    Names that would be the same get a number. What cannot be used has a ``problem``.
    """
    listed = _get_connection(data, context).list_tools(context.timeout_s)
    if not listed:
        raise RejectedError("the server offers no tools", reason="tool_failed")
    taken: set[str] = set()
    return [_describe(name, tool, data, taken) for tool in listed]


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    connection = _get_connection(tool.data, context)
    name = tool.data.get("tool") or tool.name
    try:
        result = connection.call_tool(name, dict(arguments), context.timeout_s)
    except ServerEndedError as error:
        if not tool.data.get(_REPEATABLE):
            error.message += "; it may have done what it was asked before it ended"
            raise
        connection = _get_connection(tool.data, context, broken=connection)
        result = connection.call_tool(name, dict(arguments), context.timeout_s)
    return read_result(result, context.most_bytes)


def preview(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Return the server of a call, and the name of the tool there."""
    server = tool.data["server"]
    return f"{server if isinstance(server, str) else shlex.join(server)}: {tool.data.get('tool') or tool.name}"


def read_result(result: Mapping[str, Any], max_bytes: int) -> Ran:
    """Return the result of a call, whatever a server put into it; unknown parts become text."""
    if result.get("resultType") == "input_required":
        raise RejectedError("the MCP server asks for input, which tools cannot give", reason="tool_failed")
    text, files = _read_parts(result)
    text = subprocess_tool.truncate(text, max_bytes)
    return Ran(text, (text or "the server reported an error") if _is_error(result) else None, files=files)


def _get_connection(data: Mapping[str, Any], context: Context, broken: McpConnection | None = None) -> McpConnection:
    server = {name: value for name, value in data.items() if name not in ("tool", SERVER_NAME_KEY, _REPEATABLE)}
    key = ("mcp", dumps(server), context.folder)
    return open_or_reopen(context, key, lambda: McpConnection(data, context), broken)


def _describe(prefix: str, tool: Any, data: Mapping[str, Any], taken: set[str]) -> Discovered:
    own_name = tool.get("name") if isinstance(tool, dict) else None
    if not isinstance(own_name, str) or not own_name:
        return Discovered(dumps(tool)[:80], "", {}, {}, "it has no name")
    name = _unique_name(f"{prefix}_{own_name}" if prefix else own_name, taken)
    schema, description = tool.get("inputSchema"), tool.get("description")
    if schema is None:
        schema = {}
    if not isinstance(schema, dict):
        return Discovered(name, "", {}, {}, "its schema is not an object")
    described = {**data, "tool": own_name} | ({SERVER_NAME_KEY: prefix} if prefix else {})
    if _is_repeatable(tool.get("annotations")):
        described[_REPEATABLE] = True
    return Discovered(
        name, description if isinstance(description, str) else "", {"type": "object", **schema}, described
    )


def _is_repeatable(annotations: Any) -> bool:
    """Return whether a server says that a call that is made twice has no more effect than one.

    https://modelcontextprotocol.io/specification/2025-06-18/schema#toolannotations
    """
    hints = annotations if isinstance(annotations, dict) else {}
    return hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True


def _unique_name(name: str, taken: set[str]) -> str:
    """Return a valid tool name that is not taken: other characters become ``_``."""
    valid = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)
    unique, number = valid[:_MAX_NAME_CHARS], 1
    while unique in taken:
        number += 1
        suffix = f"_{number}"
        unique = valid[: _MAX_NAME_CHARS - len(suffix)] + suffix
    taken.add(unique)
    return unique


def _is_error(result: Mapping[str, Any]) -> bool:
    return result.get("isError") not in (None, False, 0, "", "false")


def _read_parts(result: Mapping[str, Any]) -> tuple[str, tuple[File, ...]]:
    """Return a result as text and files; the text names each file."""
    content = result.get("content")
    parts = content if isinstance(content, list) else [] if content is None else [content]
    texts: list[str] = []
    files: list[File] = []
    for part in parts:
        text, file = _read_part(part)
        texts.append(text)
        files += [file] if file else []
    structured = result.get("structuredContent")
    if structured is not None and not _contains(texts, structured):
        texts.append(dumps(structured))
    return "\n".join(texts), tuple(files)


def _contains(texts: Iterable[str], structured: Any) -> bool:
    """Whether a text has all values of the structured content: servers send it in both forms."""
    text = "\n".join(texts)
    return bool(text) and all(value in text or dumps(value)[1:-1] in text for value in _list_values(structured))


def _list_values(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in _list_values(item)]
    return [value if isinstance(value, str) else dumps(value)]


def _read_part(part: Any) -> tuple[str, File | None]:
    """Return a content block as text, and its file if it has one."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else dumps(part), None
    kind = part.get("type")
    match part:
        case {"type": "text", "text": str(text)}:
            return text, None
        case {"type": "image" | "audio", "data": str(data)}:
            return _decode_file(str(kind), part.get("mimeType"), data, None)
        case {"type": "resource", "resource": {"text": str(text)}}:
            return text, None
        case {"type": "resource", "resource": {"blob": str(data), **resource}}:
            uri = str(resource.get("uri") or "")
            return _decode_file(f"resource {uri}".strip(), resource.get("mimeType"), data, uri)
        case {"type": "resource_link", "uri": str(uri)}:
            return f"[{part.get('name') or 'resource'}: {uri}]", None
    text = dumps(part)
    return f"[{kind or 'content'} of an unknown type] {text[:_MAX_PART_CHARS]}", None


def _decode_file(what: str, media_type: Any, data: str, uri: str | None) -> tuple[str, File | None]:
    media_type = media_type if isinstance(media_type, str) and "/" in media_type else "application/octet-stream"
    try:
        content = b64decode(data)
    except (binascii.Error, ValueError):
        return f"[{what}, {media_type}, not readable]", None
    if not content:
        return f"[{what}, {media_type}, empty]", None
    name = unquote(urlsplit(uri).path.rpartition("/")[2]) if uri else ""
    if not name:
        name = f"{what.split()[0]}.{media_type.rpartition('/')[2].partition('+')[0].partition(';')[0]}"
    return f"[{what}, {media_type}, {len(content)} bytes]", File(media_type, data=content, name=name)


TYPE = ToolType(run, validate_data, discover, preview)
