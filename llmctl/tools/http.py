"""Tools that are HTTP requests: a URL, query, headers and body with slots for arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from llmctl.core.errors import InvalidOutputError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.stored_json import dumps
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, ToolType, templates
from llmctl.tools.host_allowlist import answered, require_host

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
_WITHOUT_BODY = ("GET", "HEAD", "DELETE")


def checked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with a method and the hosts it may reach; the URL's own host is one."""
    url = data.get("url")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise UsageError("a tool of type http needs a URL", hint="--url 'https://api.example.com/v1/{city}'")
    method = str(data.get("method") or ("POST" if "body" in data else "GET")).upper()
    if method not in _METHODS:
        raise UsageError(f'no method "{method}"', hint=f"there are {', '.join(_METHODS)}")
    host = urlsplit(url).netloc.rpartition("@")[2]
    hosts = list(data.get("hosts") or ())
    if "{" not in host:
        hosts = hosts or [urlsplit(url).hostname or ""]
    elif not hosts:
        raise UsageError("the host of the URL is an argument", hint="say which ones it may be: --host '*.example.com'")
    return {**data, "method": method, "hosts": hosts}


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    data = tool.data
    url = templates.fill(data["url"], arguments, _in_url)
    require_host(url, data.get("hosts") or (), context.reaches, tool.name)
    used = set(templates.slots(data["url"]))
    query = _query(data.get("query") or {}, arguments)
    headers = {name.lower(): _header(value, arguments, context) for name, value in (data.get("headers") or {}).items()}
    body = b""
    rest = {name: value for name, value in arguments.items() if name not in used}
    if "body" in data:
        body = dumps(_filled(data["body"], arguments)).encode("utf-8", "replace")
    elif data["method"] not in _WITHOUT_BODY:
        body = dumps(rest).encode("utf-8", "replace")
    elif "query" not in data:
        query = [(name, templates.plain(value)) for name, value in rest.items() if value is not None]
    if body:
        headers.setdefault("content-type", "application/json")
    if query:
        url += ("&" if "?" in url else "?") + urlencode(query)
    request = HttpRequest(data["method"], url, headers, body)
    return answered(context.fetch(request, timeout_s=context.timeout_s, most_bytes=context.most_bytes), context)


def _in_url(text: str) -> str:
    """Write an argument into a URL: it stays one segment, and no step up."""
    if text.strip(".") == "" and text:
        raise InvalidOutputError(f'"{text}" is no segment of a URL')
    return quote(text, safe="")


def _query(template: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    filled = [(name, templates.fill(str(value), arguments)) for name, value in template.items()]
    return [(name, value) for name, value in filled if value]


def _header(value: str, arguments: Mapping[str, Any], context: Context) -> str:
    """Return a header's value: a secret by reference, or text with arguments in it."""
    if templates.slots(value):
        found = templates.fill(value, arguments)
    else:
        found = context.secret(value)
    if not found.isprintable() or not found.isascii():
        raise InvalidOutputError("a header holds a character that http does not allow")
    return found


def _filled(template: Any, arguments: Mapping[str, Any]) -> Any:
    """Fill a JSON body; a text that is one slot alone becomes the argument itself, a number a number."""
    if isinstance(template, str):
        names = templates.slots(template)
        if names and template == f"{{{names[0]}}}":
            return arguments.get(names[0])
        return templates.fill(template, arguments)
    if isinstance(template, dict):
        return {name: _filled(value, arguments) for name, value in template.items()}
    return [_filled(value, arguments) for value in template] if isinstance(template, list) else template


TYPE = ToolType(run, checked)
