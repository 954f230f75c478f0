"""Find and replace one secret in every form it may take in text. Pure: no database."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps

MARK = "[scrubbed]"
#: A shorter secret would match too much ordinary text.
MIN_SECRET_LENGTH = 6
#: Below this the middle of the base64 form is too short to rule out chance matches.
_MIN_BASE64_BYTES = 8

CharSpan = tuple[int, int]


class SecretMatcher:
    """Finds and replaces one secret: verbatim, JSON-escaped (also twice), URL-encoded and in base64."""

    def __init__(self, value: str, mark: str = MARK) -> None:
        if len(value) < MIN_SECRET_LENGTH:
            raise UsageError(
                f"the secret is too short: it has {len(value)} characters",
                hint=f"use at least {MIN_SECRET_LENGTH} characters",
            )
        self.value = value
        self.mark = mark
        self._base64_forms = _base64_forms(value)
        #: Every form, longest first.
        self.forms = sorted({*_forms(value), *self._base64_forms}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self.forms)))

    def scrub_text(self, text: str) -> str:
        """Return the text without the secret; valid JSON stays valid."""
        found = self._pattern.sub(self._replacement, text)
        if found == text or not _is_json(text) or _is_json(found):
            return found
        return dumps(self._scrub_json(json.loads(text)))

    def scrub_bytes(self, data: bytes) -> bytes:
        """Return the bytes without the secret; bytes that are not UTF-8 are left alone."""
        return self.scrub_text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def scrub_pieces(self, pieces: Sequence[str]) -> list[str]:
        """Return a text split into pieces without the secret, even where the secret spans two pieces."""
        spans = [match.span() for match in self._pattern.finditer("".join(pieces))]
        if not spans:
            return list(pieces)
        starts = [0]
        for piece in pieces:
            starts.append(starts[-1] + len(piece))
        return [_cut_spans(piece, starts[i], spans, self.mark) for i, piece in enumerate(pieces)]

    def scrub_stream(self, text: str) -> str:
        """Return a recorded stream without the secret, even where it is spread over several events."""
        lines = [_StreamLine(line) for line in self.scrub_text(text).split("\n")]
        places: dict[tuple[Any, ...], list[tuple[_StreamLine, Any, Any]]] = {}
        for line in lines:
            for path, holder, key in _json_strings(line.document):
                places.setdefault(path, []).append((line, holder, key))
        for found in places.values():
            old = [holder[key] for _, holder, key in found]
            for (line, holder, key), before, after in zip(found, old, self.scrub_pieces(old), strict=True):
                if after != before:
                    holder[key] = after
                    line.changed = True
        return "\n".join(map(str, lines))

    def _replacement(self, match: re.Match[str]) -> str:
        size = len(match[0])
        # Base64 stays base64 of the same length.
        return ("scrubbed" * size)[:size] if match[0] in self._base64_forms else self.mark

    def _scrub_json(self, value: Any) -> Any:
        match value:
            case dict():
                return {self._pattern.sub(self.mark, key): self._scrub_json(item) for key, item in value.items()}
            case list():
                return [self._scrub_json(item) for item in value]
            case str():
                return self._pattern.sub(self._replacement, value)
            case _:
                return self.mark if self._pattern.search(str(value)) else value


class _StreamLine:
    """A line of a recorded stream, with its JSON document if it has one."""

    def __init__(self, text: str) -> None:
        self.changed = False
        self.document: Any = None
        self._text = text
        lead = re.match(r"(?:data:\s*)?(?=[\[{])", text)
        if lead:
            self._lead = lead[0]
            try:
                self.document = json.loads(text[lead.end() :])
            except (ValueError, RecursionError):
                return

    def __str__(self) -> str:
        return self._lead + dumps(self.document) if self.changed else self._text


def _forms(value: str) -> Iterator[str]:
    once = {json.dumps(value, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)}
    once |= {form.replace("/", "\\/") for form in once}
    yield value
    yield from once
    yield from (json.dumps(form, ensure_ascii=False)[1:-1] for form in once)
    yield from (quote(value, safe=""), quote(value), quote_plus(value))


def _base64_forms(value: str) -> frozenset[str]:
    """Return the base64 forms of the secret's middle, for each alignment inside a longer text."""
    if len(value.encode()) < _MIN_BASE64_BYTES:
        return frozenset()
    found = set()
    for offset in range(3):
        data = b"\0" * offset + value.encode()
        whole = len(data) // 3 * 4
        found.add(b64encode(data).decode()[-(-offset * 4 // 3) : whole])
    return frozenset(found | {form.replace("+", "-").replace("/", "_") for form in found})


def _cut_spans(piece: str, start: int, spans: Sequence[CharSpan], mark: str) -> str:
    result, position = "", 0
    for begin, end in spans:
        first, last = max(begin - start, 0), min(end - start, len(piece))
        if first < last:
            result += piece[position:first] + (mark if begin >= start else "")
            position = last
    return result + piece[position:]


def _json_strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield path, container and key of every string in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(item, str):
            yield (*path, key), value, key
        else:
            yield from _json_strings(item, (*path, key))


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[", '"')):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
