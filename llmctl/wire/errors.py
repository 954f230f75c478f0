"""What an error body says, whatever its shape: a message, codes, a status, how long to wait."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from llmctl.core.redaction.secret_patterns import mask_keys

_LONGEST = 500
# Patterns are text: compiled when something went wrong, not at start-up.
_TITLE = r"(?i)<(title|h1)[^>]*>([^<]{1,200})"
# Control characters, line ends, and marks that turn the direction of writing: a terminal would obey them.
_UNSAFE = "[\x00-\x20\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
_WAIT = r"(?i)(?:retry|try again) in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)(ms|s))?"
_MESSAGES = ("message", "msg", "detail", "details", "error_description")
_CODES = ("code", "type", "status", "error_type", "reason")


class Fault(NamedTuple):
    """``code`` is the status the body or the answer names, 200 where an error in a 200 names none."""

    status: int
    code: int
    message: str
    words: frozenset[str]
    retry_after: float | None = None
    #: The input was refused by a moderation that says why.
    flagged: bool = False

    @property
    def unnumbered(self) -> bool:
        return self.code < 400

    def names(self, words: set[str]) -> bool:
        return not words.isdisjoint(self.words)

    def says(self, pattern: str) -> bool:
        return re.search(pattern, self.message.lower()) is not None


def fault_of_body(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """Read the body of an answer that is no success; text that is no JSON is its own message."""
    text = body[: 1 << 20].decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        payload = _title(text) or text
    kind = headers.get("x-amzn-errortype", "").partition(":")[0]
    message = _message(payload) or f"the provider answered {status}" + ("" if text.strip() else " without a word")
    return Fault(
        status=status,
        code=status,
        message=clean(message),
        words=frozenset({*_words(payload), *([kind.lower()] if kind else [])}),
        retry_after=_retry_after(headers, payload, message),
        flagged=_flagged(payload),
    )


def fault_of_payload(payload: Any) -> Fault:
    """Read an error that came with a 200."""
    error = payload.get("error", payload) if isinstance(payload, dict) else payload
    error = error if isinstance(error, dict) else {}
    numbers = (str(error.get(name)) for name in ("status_code", "code", "status"))
    named = next((int(number) for number in numbers if re.fullmatch("[45][0-9][0-9]", number)), 200)
    message = _message(payload) or "the provider broke the answer off with an error"
    wait = _retry_after({}, payload, message)
    return Fault(named, named, clean(message), frozenset(_words(payload)), wait, _flagged(payload))


def is_page(body: bytes) -> bool:
    """Return whether the body is HTML or XML instead of JSON."""
    return body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def clean(text: str) -> str:
    """Return one harmless line of at most 500 characters, without anything that looks like a key."""
    line = re.sub(_UNSAFE, " ", mask_keys(text[: 8 * _LONGEST])).strip()
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _title(text: str) -> str:
    found = re.search(_TITLE, text[:65536]) if text.lstrip()[:1] == "<" else None
    return found[2].strip() if found else ""


def _message(payload: Any, depth: int = 0) -> str:
    """Return the text of an error in any of its shapes; OpenRouter's cause is below ``metadata.raw``."""
    if isinstance(payload, str):
        return payload
    if isinstance(payload, list) and depth < 6:
        return "; ".join(text for item in payload[:20] if (text := _message(item, depth + 1)))
    if not isinstance(payload, dict) or depth > 5:
        return ""
    inner = payload.get("error") or payload.get("errors")
    found = next((text for name in _MESSAGES if (text := _message(payload.get(name), depth + 1))), "")
    message = _message(inner, depth + 1) or found
    where = payload.get("loc")
    if message and isinstance(where, list):  # FastAPI's list of faults in the request.
        message = f"{'.'.join(map(str, where))}: {message}"
    return " ".join(filter(None, (message, _cause(payload.get("metadata"), message))))


def _cause(metadata: Any, message: str) -> str:
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str):
        return ""
    with suppress(ValueError, RecursionError):
        raw = _message(json.loads(raw)) or raw
    return "" if raw in message else f"({raw})"


def _objects(payload: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the objects in which codes may stand: the body, its error, that one's details and inner error."""
    if isinstance(payload, list):
        for item in payload[:20]:
            yield from _objects(item, depth)
    elif isinstance(payload, dict) and depth < 4:
        yield payload
        for name in ("error", "errors", "details", "innererror", "metadata"):
            yield from _objects(payload.get(name), depth + 1)


def _words(payload: Any) -> Iterator[str]:
    for item in _objects(payload):
        for name in _CODES:
            if isinstance(word := item.get(name), str):
                yield word.lower()


def _flagged(payload: Any) -> bool:
    metadata = (item.get("metadata") for item in _objects(payload))
    return any(isinstance(item, dict) and bool(item.get("reasons")) for item in metadata)


def _retry_after(headers: Mapping[str, str], payload: Any, message: str) -> float | None:
    """Return the longest wait any of the places asks for: Azure says 1 s in one header and 0 ms in the other."""
    waits = [
        _seconds(headers.get("retry-after-ms", ""), 0.001),
        _seconds(headers.get("retry-after", "")) or _until(headers),
        *(_seconds(str(item.get("retryDelay", "")).removesuffix("s")) for item in _objects(payload)),
        _wait(message),
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _seconds(text: str, unit: float = 1.0) -> float | None:
    try:
        value = float(text) * unit
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _until(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until an HTTP date (RFC 9110, 10.2.3), by the server's own clock where it shows it."""
    from email.utils import mktime_tz, parsedate_tz  # An error path; slow to import.

    moment = parsedate_tz(headers.get("retry-after", ""))
    if moment is None:
        return None
    present = parsedate_tz(headers.get("date", ""))
    return max(0.0, mktime_tz(moment) - (mktime_tz(present) if present else time.time()))


def _wait(message: str) -> float | None:
    found = re.search(_WAIT, message)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, amount, unit = found.groups()
    seconds = (_seconds(amount or "") or 0.0) * (0.001 if unit == "ms" else 1)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds
