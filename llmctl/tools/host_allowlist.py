"""Which hosts a tool may reach, and what an answer of one means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from llmctl.core.errors import DeniedError, InvalidOutputError, RejectedError, UnavailableError
from llmctl.core.tools import Ran
from llmctl.tools import Context, Fetched
from llmctl.tools.subprocess_tool import cut

#: A name or an address; what is escaped in one may be read as something else.
_HOST = re.compile(r"[\w.:-]+")


def require_host(url: str, allowed: Iterable[str], reaches: Callable[[str], bool], tool: str) -> None:
    """Raise DeniedError where the tool may not reach a URL's host: ``example.com`` is one, ``*.example.com`` many."""
    host = _host(url)
    name = host.lower().rstrip(".")
    if not name or not any(fnmatchcase(name, rule.lower()) for rule in allowed):
        raise DeniedError(
            f'the tool may not reach the host "{host}"',
            hint=f"allow it with: llmctl tool edit {tool} --host {host or 'HOST'}",
            reason="confined",
        )
    if not reaches(host):
        raise UnavailableError(f'offline: "{host}" is beyond this machine', reason="offline")


def _host(url: str) -> str:
    """Return the host of a URL. Raises for what two readers might read in two ways."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _no_address(url) from None
    if not _HOST.fullmatch(host) or parts.scheme not in ("http", "https"):
        raise _no_address(url)
    if "@" in parts.netloc or set(url) & set("\\ \t\r\n"):
        raise _no_address(url)
    return host


def _no_address(url: str) -> InvalidOutputError:
    return InvalidOutputError(f'"{url[:200]}" is no http address')


def answered(answer: Fetched, context: Context) -> Ran:
    """Return what an answer gives: its text, or why it is none. Raises for a refusal."""
    text = cut(answer.body.decode("utf-8", "replace"), context.most_bytes)
    if 200 <= answer.status < 300:
        return Ran(text)
    said = f"status {answer.status}" + (f": {text[:2000]}" if text.strip() else "")
    kind = UnavailableError if answer.status == 429 or answer.status >= 500 else RejectedError
    raise kind(said, status_code=answer.status)
