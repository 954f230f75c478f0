"""Reads what PRAGMAs do not tell from the text of ``CREATE`` statements: comments, and closed sets of values."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\W\d]\w*)
      | (?P<newline>\n)
      | (?P<space>[^\S\n]+)
      | .""",
    re.VERBOSE | re.DOTALL,
)
_VALUES = re.compile(
    r"CHECK\s*\(\s*\w+\s+IN\s*\(\s*('(?:[^']|'')*'(?:\s*,\s*'(?:[^']|'')*')*)\s*\)\s*\)", re.IGNORECASE
)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s+TABLE\b", re.IGNORECASE)


class ColumnText(NamedTuple):
    """What the text says of a column."""

    comment: str = ""
    values: tuple[str, ...] = ()


def makes_virtual(sql: str) -> bool:
    return bool(_VIRTUAL.match(sql))


def columns(sql: str) -> dict[str, ColumnText]:
    """Return what a ``CREATE TABLE`` says of each column, by the column's name in lower case."""
    found: dict[str, ColumnText] = {}
    items = _items(sql)
    for item, comments in zip(items, _comments(items), strict=True):
        written = [token for token in item if token.lastgroup not in ("comment", "newline", "space")]
        if written:
            # Constraints come last: a column keeps its place whatever it is called.
            text = " ".join(token[0] for token in written)
            found.setdefault(_unquoted(written[0][0]).lower(), ColumnText("\n".join(comments), _allowed(text)))
    return found


def leading_comment(statement: str) -> str:
    """Return the comment right above a statement; what an empty line parts from it belongs to something else."""
    lines: list[str] = []
    for line in statement.splitlines():
        if line.startswith("--"):
            lines.append(_plain(line))
        elif line.strip():
            break
        else:
            lines.clear()
    return "\n".join(lines)


def _allowed(text: str) -> tuple[str, ...]:
    found = _VALUES.search(text)
    return tuple(value.replace("''", "'") for value in _STRING.findall(found[1])) if found else ()


def _items(sql: str) -> list[list[re.Match[str]]]:
    """Cut what stands in the statement's parentheses at its commas."""
    items: list[list[re.Match[str]]] = [[]]
    depth = 0
    for token in _TOKEN.finditer(sql):
        depth -= token[0] == ")"
        if depth == 1 and token[0] == ",":
            items.append([])
        elif depth:
            items[-1].append(token)
        depth += token[0] == "("
    return items


def _comments(items: list[list[re.Match[str]]]) -> list[list[str]]:
    """Give each comment to the item below it; one that follows an item on its line, even after the comma, to that."""
    found: list[list[str]] = [[] for _ in items]
    for place, item in enumerate(items):
        owner = max(place - 1, 0)
        for token in item:
            if token.lastgroup == "comment":
                found[owner].append(_plain(token[0]))
            elif token.lastgroup != "space":
                owner = place
    return found


def _plain(comment: str) -> str:
    if comment.startswith("--"):
        return comment[2:].strip()
    return comment[2:].removesuffix("*/").strip()


def _unquoted(name: str) -> str:
    if name[0] == "[":
        return name[1:-1]
    return name[1:-1].replace(name[0] * 2, name[0]) if name[0] in "\"'`" else name
