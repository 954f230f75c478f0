"""The short form of a JSON Schema: ``name, age int, tags [str]``.

Fields are separated by commas, or by lines where the text (or a pair of braces) has more than one. A field is a
name, ``?`` where it may be missing, a type (``str`` where none is given) and, after a colon, what is said of it. Types
are ``str int float bool``, words in parentheses (one of them), ``[TYPE]`` for a list and ``{FIELDS}`` for an object.
"""

from __future__ import annotations

import re
from typing import Any

from llmctl.core.errors import UsageError

_TYPES = {
    **dict.fromkeys(("str", "string", "text"), "string"),
    **dict.fromkeys(("int", "integer"), "integer"),
    **dict.fromkeys(("float", "number"), "number"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
}
_NAME = re.compile(r"[^\W\d][\w-]*")
_BLANK = re.compile(r"[ \t\r]*")
_HINT = 'such as "name, age int, tags [str]", or JSON, or the name of a file'


def parse(text: str) -> dict[str, Any]:
    """Return the JSON Schema of an object with these fields. Raises UsageError that quotes what cannot be read."""
    reader = _Reader(text.strip())
    schema = reader.fields(end="")
    if not schema["properties"]:
        raise UsageError("the schema names no field", hint=_HINT)
    return schema


class _Reader:
    """Reads from left to right; ``_at`` is the place of the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def fields(self, end: str) -> dict[str, Any]:
        """Read fields up to ``end``, which is read too; the empty one is the end of the text."""
        stop = ("\n" if self._has_lines(end) else ",") + end
        properties: dict[str, Any] = {}
        required: list[str] = []
        while not self._takes_end(end):
            name, optional, schema = self._field(stop, end)
            if name in properties:
                raise UsageError(f'the schema names the field "{name}" twice')
            properties[name] = schema
            if not optional:
                required.append(name)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def _field(self, stop: str, end: str) -> tuple[str, bool, dict[str, Any]]:
        name = self._match(_NAME)
        if not name:
            raise self._unreadable()
        optional = self._takes("?")
        ends = (",", "\n", end or "\0")
        schema = {"type": "string"} if self._sees(":", *ends) else self._type()
        optional = self._takes("?") or optional
        if self._takes(":"):
            said = self._match(re.compile(f"[^{re.escape(stop)}]*")).strip(" \t\r,")
            schema |= {"description": said} if said else {}
        if not self._sees(*ends):
            raise self._unreadable()
        return name, optional, schema

    def _type(self) -> dict[str, Any]:
        if self._takes("["):
            self._skip_lines()
            items = {"type": "string"} if self._sees("]") else self._type()
            self._skip_lines()
            self._require("]")
            return {"type": "array", "items": items}
        if self._takes("{"):
            return self.fields("}")
        if self._takes("("):
            words = [word.strip() for word in re.split(r"[|,]", self._match(re.compile(r"[^()]*")))]
            self._require(")")
            return {"type": "string", "enum": words}
        start = self._at
        word = self._match(_NAME)
        if word not in _TYPES:
            self._at = start
            raise self._unreadable()
        return {"type": _TYPES[word]}

    def _has_lines(self, end: str) -> bool:
        """Whether lines separate the fields of this level: the first line ends before it does."""
        rest, depth = self._text[self._at :].lstrip(), 0
        if self._text[self._at :].lstrip(" \t\r").startswith("\n"):
            return True
        for character in rest:
            depth += (character in "[{(") - (character in "]})")
            if depth < 0 and end:
                return False
            if character == "\n" and depth <= 0:
                return True
        return False

    def _takes_end(self, end: str) -> bool:
        """Pass over separators and blank lines; say whether the level ends here."""
        while self._takes(",") or self._takes("\n"):
            pass
        if end:
            if not self._text[self._at :].strip():
                raise self._unreadable()
            return self._takes(end)
        return not self._text[self._at :].strip()

    def _skip_lines(self) -> None:
        while self._takes("\n"):
            pass

    def _match(self, pattern: re.Pattern[str]) -> str:
        self._at = self._after(_BLANK)
        start, self._at = self._at, self._after(pattern)
        return self._text[start : self._at]

    def _after(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        return found.end() if found else self._at

    def _sees(self, *characters: str) -> bool:
        """Whether one of these comes next; ``\\0`` stands for the end of the text."""
        self._at = self._after(_BLANK)
        return (self._text[self._at : self._at + 1] or "\0") in characters

    def _takes(self, character: str) -> bool:
        found = self._sees(character)
        self._at += found
        return found

    def _require(self, character: str) -> None:
        if not self._takes(character):
            raise self._unreadable()

    def _unreadable(self) -> UsageError:
        rest = self._text[self._at :].partition("\n")[0].strip()[:40]
        where = f'at "{rest}"' if rest else "at its end"
        return UsageError(f"the schema cannot be read {where}", hint=_HINT)
