"""Tools of type ``http``: a request whose URL, query, headers and body have ``{slots}`` for arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from llmctl.core.errors import InvalidOutputError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, ToolType, templates
from llmctl.tools.host_allowlist import require_allowed_host, to_tool_output

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
_BODYLESS_METHODS = ("GET", "HEAD", "DELETE")


def validate_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data to store, with the method and the hosts it may reach: by default that of the URL."""
    url = data.get("url")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise UsageError("a tool of type http requires a URL", hint="pass --url 'https://api.example.com/v1/{city}'")
    method = str(data.get("method") or ("POST" if "body" in data else "GET")).upper()
    if method not in _METHODS:
        raise UsageError(f'"method" must be one of {", ".join(_METHODS)}, got "{method}"')
    host = urlsplit(url).netloc.rpartition("@")[2]
    hosts = list(data.get("hosts") or ())
    if "{" not in host:
        hosts = hosts or [urlsplit(url).hostname or ""]
    elif not hosts:
        raise UsageError(
            "the host of the URL must not be an argument", hint="name the allowed hosts: --host '*.example.com'"
        )
    return {**data, "method": method, "hosts": hosts}


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    data = tool.data
    url = templates.fill(data["url"], arguments, _quote_segment)
    require_allowed_host(url, data.get("hosts") or (), context.reaches, tool.name)
    used = set(templates.list_slots(data["url"]))
    query = _build_query(data.get("query") or {}, arguments)
    headers = {
        name.lower(): _build_header(value, arguments, context) for name, value in (data.get("headers") or {}).items()
    }
    body = b""
    rest = {name: value for name, value in arguments.items() if name not in used}
    if "body" in data:
        body = dumps(_fill_body(data["body"], arguments)).encode("utf-8", "replace")
    elif data["method"] not in _BODYLESS_METHODS:
        body = dumps(rest).encode("utf-8", "replace")
    elif "query" not in data:
        query = [(name, templates.to_text(value)) for name, value in rest.items() if value is not None]
    if body:
        headers.setdefault("content-type", "application/json")
    if query:
        url += ("&" if "?" in url else "?") + urlencode(query)
    request = HttpRequest(data["method"], url, headers, body)
    return to_tool_output(context.fetch(request, timeout_s=context.timeout_s, most_bytes=context.most_bytes), context)


def preview(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Return the method and URL of a call."""
    return f"{tool.data.get('method') or 'GET'} {templates.fill(tool.data['url'], arguments, _quote_segment)}"


def _quote_segment(text: str) -> str:
    """Quote an argument for a URL: it stays one path segment and cannot be ``..``."""
    if text.strip(".") == "" and text:
        raise InvalidOutputError(f'"{text}" cannot be part of a URL')
    return quote(text, safe="")


def _build_query(template: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    filled = [(name, templates.fill(str(value), arguments)) for name, value in template.items()]
    return [(name, value) for name, value in filled if value]


def _build_header(value: str, arguments: Mapping[str, Any], context: Context) -> str:
    """Return the value of a header: a resolved key reference, or a filled template."""
    if templates.list_slots(value):
        header = templates.fill(value, arguments)
    else:
        header = context.secret(value)
    if not header.isprintable() or not header.isascii():
        raise InvalidOutputError("a header contains a character that HTTP does not allow")
    return header


def _fill_body(template: Any, arguments: Mapping[str, Any]) -> Any:
    """Fill a JSON body. A string that is a single slot becomes the argument itself, so a number stays a number."""
    if isinstance(template, str):
        names = templates.list_slots(template)
        if names and template == f"{{{names[0]}}}":
            return arguments.get(names[0])
        return templates.fill(template, arguments)
    if isinstance(template, dict):
        return {name: _fill_body(value, arguments) for name, value in template.items()}
    return [_fill_body(value, arguments) for value in template] if isinstance(template, list) else template


TYPE = ToolType(run, validate_data, preview=preview)
