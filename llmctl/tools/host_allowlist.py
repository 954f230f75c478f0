"""Which hosts a tool may reach, and how an HTTP response becomes a tool result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from llmctl.core.errors import DeniedError, InvalidOutputError, RejectedError, UnavailableError
from llmctl.core.tools import Ran
from llmctl.tools import Context, HttpResult
from llmctl.tools.subprocess_tool import truncate

#: A host name or address. Percent-escapes are refused: another parser may read them differently.
_HOST = re.compile(r"[\w.:-]+")


def require_allowed_host(url: str, allowed: Iterable[str], reaches: Callable[[str], bool], tool: str) -> None:
    """Raise DeniedError if the tool may not reach the host of a URL. Rules are ``example.com`` or ``*.example.com``."""
    host = _parse_host(url)
    name = host.lower().rstrip(".")
    if not name or not any(fnmatchcase(name, rule.lower()) for rule in allowed):
        raise DeniedError(
            f'the tool may not reach the host "{host}"',
            hint=f"allow it: llmctl tool edit {tool} --host {host or 'HOST'}",
            reason="confined",
        )
    if not reaches(host):
        raise UnavailableError(f'cannot reach "{host}": llmctl is offline', reason="offline")


def _parse_host(url: str) -> str:
    """Return the host of a URL. Raises for URLs that two parsers may read differently."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _invalid_url_error(url) from None
    if not _HOST.fullmatch(host) or parts.scheme not in ("http", "https"):
        raise _invalid_url_error(url)
    if "@" in parts.netloc or set(url) & set("\\ \t\r\n"):
        raise _invalid_url_error(url)
    return host


def _invalid_url_error(url: str) -> InvalidOutputError:
    return InvalidOutputError(f'"{url[:200]}" is not an HTTP URL')


def to_tool_output(response: HttpResult, context: Context) -> Ran:
    """Return the text of a successful response. Raises for an error status."""
    text = truncate(response.body.decode("utf-8", "replace"), context.most_bytes)
    if 200 <= response.status < 300:
        return Ran(text)
    message = f"status {response.status}" + (f": {text[:2000]}" if text.strip() else "")
    kind = UnavailableError if response.status == 429 or response.status >= 500 else RejectedError
    raise kind(message, status_code=response.status)
