"""Parse URLs of hosts: which host a URL really names, whether it is this machine. No lookups."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from llmctl.core.errors import ConfigError

_USERINFO = re.compile(r"(//)[^/]*@")


def parse_origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port in lower case; the host is empty if the URL is ambiguous.

    ``https://api.openai.com@elsewhere.example`` and backslashes are ambiguous: a key must not be sent there.
    """
    parts = _split_url(url)
    if parts is None:
        return "", "", None
    return (
        parts.scheme.lower(),
        parse_host(url),
        parts.port or {"https": 443, "http": 80}.get(parts.scheme.lower()),
    )


def parse_host(url: str) -> str:
    """Return the lower-case host of a URL without port and final dot; empty if it is missing or ambiguous."""
    parts = _split_url(url)
    return (parts.hostname or "").rstrip(".") if parts else ""


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine, judged by its name only."""
    host = parse_host(url)
    numbers = host.split(".")
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or (len(numbers) == 4 and numbers[0] == "127" and all(number.isdecimal() for number in numbers))
    )


def host_matches(host: str, pattern: str) -> bool:
    """Return whether a host equals the pattern, or is below it if the pattern starts with a dot."""
    return host.endswith(pattern) if pattern.startswith(".") else host == pattern


def split_base_url(url: str, root_path: str = "") -> tuple[str, dict[str, str]]:
    """Split a base URL into the part before the query, to which paths can be appended, and the query.

    ``root_path`` is added if the URL has no path. Raises ConfigError for an invalid URL.
    """
    parts = _split_url(url.strip())
    if parts is None or not parts.scheme or not parts.hostname:
        # Anything before "@" or after "?" may be a key.
        shown_url = _USERINFO.sub(r"\1…@", url.partition("?")[0])
        hint = "use a URL such as https://host.example/v1"
        hint += ", and pass the key separately" if shown_url != url else ""
        raise ConfigError(f'invalid base URL "{shown_url}"', hint=hint)
    path = parts.path.rstrip("/") or root_path
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), dict(parse_qsl(parts.query))


def _split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - a property that raises for "host:port" where port is no number
    except ValueError:
        return None
    # urlsplit drops tabs and line breaks that other parsers keep, and accepts "\" in a host.
    readable = url.isprintable() and not set(parts.netloc) & set("@\\ %")
    return parts if readable else None
