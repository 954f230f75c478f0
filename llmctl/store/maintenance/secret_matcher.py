"""A secret in every form it may have in a text, and how it is struck out. Pure text, no database."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from llmctl.core.errors import UsageError
from llmctl.core.stored_json import dumps

MARK = "[scrubbed]"
#: Shorter ones stand in too many innocent places.
SHORTEST = 6
#: Below this, the middle of its base64 form is too short to be told from chance.
_SHORTEST_ENCODED = 8

Found = tuple[int, int]


class Secret:
    """Finds and replaces one secret: as it is, escaped in JSON (also twice), in a URL, in base64."""

    def __init__(self, value: str, mark: str = MARK) -> None:
        if len(value) < SHORTEST:
            raise UsageError(
                f"the secret has {len(value)} characters: that would strike out too much",
                hint=f"it needs at least {SHORTEST}",
            )
        self.value = value
        self.mark = mark
        self._encoded = _encoded(value)
        #: Every form, the longest first.
        self.forms = sorted({*_forms(value), *self._encoded}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self.forms)))

    def text(self, text: str) -> str:
        """Return the text without the secret. What was JSON stays JSON."""
        found = self._pattern.sub(self._replacement, text)
        if found == text or not _is_json(text) or _is_json(found):
            return found
        return dumps(self._value(json.loads(text)))

    def data(self, data: bytes) -> bytes:
        """Return bytes without the secret; what is no text in them stays as it is."""
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def pieces(self, pieces: Sequence[str]) -> list[str]:
        """Return a text that lies in pieces without the secret, also where it begins in one and ends in another."""
        spans = [match.span() for match in self._pattern.finditer("".join(pieces))]
        if not spans:
            return list(pieces)
        starts = [0]
        for piece in pieces:
            starts.append(starts[-1] + len(piece))
        return [_without(piece, starts[i], spans, self.mark) for i, piece in enumerate(pieces)]

    def stream(self, text: str) -> str:
        """Return what a model streamed without the secret, also where each event brought a part of it."""
        lines = [_Line(line) for line in self.text(text).split("\n")]
        places: dict[tuple[Any, ...], list[tuple[_Line, Any, Any]]] = {}
        for line in lines:
            for path, holder, key in _strings(line.document):
                places.setdefault(path, []).append((line, holder, key))
        for found in places.values():
            old = [holder[key] for _, holder, key in found]
            for (line, holder, key), before, after in zip(found, old, self.pieces(old), strict=True):
                if after != before:
                    holder[key] = after
                    line.changed = True
        return "\n".join(map(str, lines))

    def _replacement(self, match: re.Match[str]) -> str:
        size = len(match[0])
        # Base64 stays base64, of the same length.
        return ("scrubbed" * size)[:size] if match[0] in self._encoded else self.mark

    def _value(self, value: Any) -> Any:
        match value:
            case dict():
                return {self._pattern.sub(self.mark, key): self._value(item) for key, item in value.items()}
            case list():
                return [self._value(item) for item in value]
            case str():
                return self._pattern.sub(self._replacement, value)
            case _:
                return self.mark if self._pattern.search(str(value)) else value


class _Line:
    """A line of a stream, with its JSON document if it has one."""

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


def _encoded(value: str) -> frozenset[str]:
    """Return what base64 makes of the secret's middle, wherever in a longer text it begins."""
    if len(value.encode()) < _SHORTEST_ENCODED:
        return frozenset()
    found = set()
    for offset in range(3):
        data = b"\0" * offset + value.encode()
        whole = len(data) // 3 * 4
        found.add(b64encode(data).decode()[-(-offset * 4 // 3) : whole])
    return frozenset(found | {form.replace("+", "-").replace("/", "_") for form in found})


def _without(piece: str, start: int, spans: Sequence[Found], mark: str) -> str:
    kept, at = "", 0
    for begin, end in spans:
        first, last = max(begin - start, 0), min(end - start, len(piece))
        if first < last:
            kept += piece[at:first] + (mark if begin >= start else "")
            at = last
    return kept + piece[at:]


def _strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield path, holder and key of every string in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(item, str):
            yield (*path, key), value, key
        else:
            yield from _strings(item, (*path, key))


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[", '"')):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
