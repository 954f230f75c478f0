"""The short form of a JSON Schema: ``name, age int, tags [str]``.

Fields are separated by commas, or by line breaks if the text (or a pair of braces) has several lines. A field is a
name, ``?`` if it is optional, a type (default ``str``) and, after a colon, a description. Types are
``str int float bool``, words in parentheses (an enum), ``[TYPE]`` for a list and ``{FIELDS}`` for an object.
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
_HINT = 'write fields such as "name, age int, tags [str]", a JSON Schema, or the name of a file'


def parse(text: str) -> dict[str, Any]:
    """Return the JSON Schema of an object with these fields. Raises UsageError that quotes the invalid text."""
    parser = _SchemaParser(text.strip())
    schema = parser.parse_fields(end="")
    if not schema["properties"]:
        raise UsageError("the schema has no fields", hint=_HINT)
    return schema


class _SchemaParser:
    """Parses from left to right; ``_at`` is the position of the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse_fields(self, end: str) -> dict[str, Any]:
        """Parse fields up to and including ``end``; an empty ``end`` is the end of the text."""
        stop = ("\n" if self._has_lines(end) else ",") + end
        properties: dict[str, Any] = {}
        required: list[str] = []
        while not self._accept_end(end):
            name, optional, schema = self._parse_field(stop, end)
            if name in properties:
                raise UsageError(f'the schema has the field "{name}" twice')
            properties[name] = schema
            if not optional:
                required.append(name)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def _parse_field(self, stop: str, end: str) -> tuple[str, bool, dict[str, Any]]:
        name = self._match(_NAME)
        if not name:
            raise self._syntax_error()
        optional = self._accept("?")
        ends = (",", "\n", end or "\0")
        schema = {"type": "string"} if self._peek(":", *ends) else self._parse_type()
        optional = self._accept("?") or optional
        if self._accept(":"):
            description = self._match(re.compile(f"[^{re.escape(stop)}]*")).strip(" \t\r,")
            schema |= {"description": description} if description else {}
        if not self._peek(*ends):
            raise self._syntax_error()
        return name, optional, schema

    def _parse_type(self) -> dict[str, Any]:
        if self._accept("["):
            self._skip_lines()
            items = {"type": "string"} if self._peek("]") else self._parse_type()
            self._skip_lines()
            self._require("]")
            return {"type": "array", "items": items}
        if self._accept("{"):
            return self.parse_fields("}")
        if self._accept("("):
            words = [word.strip() for word in re.split(r"[|,]", self._match(re.compile(r"[^()]*")))]
            self._require(")")
            return {"type": "string", "enum": words}
        start = self._at
        word = self._match(_NAME)
        if word not in _TYPES:
            self._at = start
            raise self._syntax_error()
        return {"type": _TYPES[word]}

    def _has_lines(self, end: str) -> bool:
        """Return whether line breaks separate the fields of this level: its first line ends before the level does."""
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

    def _accept_end(self, end: str) -> bool:
        """Skip separators and blank lines; return whether the level ends here."""
        while self._accept(",") or self._accept("\n"):
            pass
        if end:
            if not self._text[self._at :].strip():
                raise self._syntax_error()
            return self._accept(end)
        return not self._text[self._at :].strip()

    def _skip_lines(self) -> None:
        while self._accept("\n"):
            pass

    def _match(self, pattern: re.Pattern[str]) -> str:
        self._at = self._match_end(_BLANK)
        start, self._at = self._at, self._match_end(pattern)
        return self._text[start : self._at]

    def _match_end(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        return found.end() if found else self._at

    def _peek(self, *characters: str) -> bool:
        """Return whether one of the characters comes next; ``\\0`` is the end of the text."""
        self._at = self._match_end(_BLANK)
        return (self._text[self._at : self._at + 1] or "\0") in characters

    def _accept(self, character: str) -> bool:
        found = self._peek(character)
        self._at += found
        return found

    def _require(self, character: str) -> None:
        if not self._accept(character):
            raise self._syntax_error()

    def _syntax_error(self) -> UsageError:
        rest = self._text[self._at :].partition("\n")[0].strip()[:40]
        where = f'at "{rest}"' if rest else "at the end"
        return UsageError(f"cannot parse the schema {where}", hint=_HINT)
