"""URLs of hosts: which host a URL really names, whether it is this machine. Nothing is looked up."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from llmctl.core.errors import ConfigError

_USERINFO = re.compile(r"(//)[^/]*@")


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port, lower case; the host is empty where the URL could be read in two ways.

    ``https://api.openai.com@elsewhere.example`` and backslashes are such: a key must not follow them.
    """
    parts = _split(url)
    if parts is None:
        return "", "", None
    return (
        parts.scheme.lower(),
        host_of(url),
        parts.port or {"https": 443, "http": 80}.get(parts.scheme.lower()),
    )


def host_of(url: str) -> str:
    """Return the lower-case host of a URL without port and final dot; empty where there is none to trust."""
    parts = _split(url)
    return (parts.hostname or "").rstrip(".") if parts else ""


def is_loopback(url: str) -> bool:
    """Tell whether the host of a URL is this machine by its very name, without asking a resolver."""
    host = host_of(url)
    numbers = host.split(".")
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or (len(numbers) == 4 and numbers[0] == "127" and all(number.isdecimal() for number in numbers))
    )


def matches(host: str, pattern: str) -> bool:
    """Tell whether a host is the pattern, or below it where the pattern begins with a dot."""
    return host.endswith(pattern) if pattern.startswith(".") else host == pattern


def complete(url: str, root_path: str = "") -> tuple[str, dict[str, str]]:
    """Split a base URL into what a path can be appended to and the query that it carries.

    ``root_path`` is added where the URL names a bare host. Raises ConfigError for what is no such URL.
    """
    parts = _split(url.strip())
    if parts is None or not parts.scheme or not parts.hostname:
        # Whatever stands before an "@" or behind a "?" may be a key.
        shown = _USERINFO.sub(r"\1…@", url.partition("?")[0])
        hint = "give one such as https://host.example/v1"
        raise ConfigError(f'"{shown}" is no base URL', hint=hint + (", and the key apart" if shown != url else ""))
    path = parts.path.rstrip("/") or root_path
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), dict(parse_qsl(parts.query))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - a property that raises for "host:port" where port is no number
    except ValueError:
        return None
    # urlsplit drops tabs and line breaks that others keep, and lets "\" stand in a host.
    readable = url.isprintable() and not set(parts.netloc) & set("@\\ %")
    return parts if readable else None
