"""Read an answer as models write it: thinking between tags, fenced blocks of Markdown, JSON with words around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from llmctl.core.values import Value

#: Opening and closing tags around thinking that a host leaves in the text.
_TAGS = (
    *((rf"<{name}(?:\s[^<>]*)?>", rf"</{name}\s*>") for name in ("think", "thinking", "thought", "reasoning")),
    (r"\[THINK\]", r"\[/THINK\]"),
    ("◁think▷", "◁/think▷"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
)
_MARKS = ("<think", "</think", "<Think", "<THINK", "<thought", "<reasoning", "THINK]", "think▷", "_THINKING|>")
#: Quote marks, list markers and white space before a fence.
_CONTAINER = r"[ \t]*(?:(?:>|[-*+][ \t]|\d{1,9}[.)][ \t])[ \t]*)*"
_FENCE = rf"(?m)^(?P<lead>{_CONTAINER})(?P<fence>`{{3,}}(?=[^`\n]*$)|~{{3,}})[^\n]*$"
_LINE_END = r"\r\n?|\n"


class _Fenced(Value):
    content: str
    #: Offsets of the whole block, fences included.
    start: int
    end: int
    is_closed: bool


def strip_thinking(text: str) -> str:
    """Return an answer without the thinking that a model wrote into it between tags.

    A closing tag on its own is the end of thinking whose opening tag the host's template wrote. Thinking at the start
    that is not closed is the whole answer. Tags inside fenced blocks, and those within a line, are the answer's own.
    """
    if not any(mark in text for mark in _MARKS):
        return text
    text = _drop_unopened_thinking(text)
    kept: list[str] = []
    position = 0
    while found := _find_next_thinking(text, position):
        start, end = found
        kept.append(text[position:start])
        position = end
    return "".join((*kept, text[position:])).lstrip("\ufeff\r\n") if position else text


def find_fenced_block(text: str) -> str | None:
    """Return the content of the first fenced block of an answer, without the fences; None if there is none.

    Fences may be indented, quoted or part of a list. An open block counts if no other is closed.
    """
    blocks = list(iterate_fenced_blocks(strip_thinking(text)))
    return blocks[0] if blocks else None


def iterate_fenced_blocks(text: str) -> Iterator[str]:
    """Yield the content of all fenced blocks that are closed, or else of the open one."""
    found = list(_iterate_fences(_normalize_lines(text)))
    closed = [block.content for block in found if block.is_closed]
    yield from closed or [block.content for block in found]


class JsonDocuments(Value):
    """The JSON values that an answer may mean, in order."""

    values: list[Any]
    #: They stand in the text without fences: more than one is no answer.
    are_bare: bool


def find_json_documents(text: str) -> JsonDocuments:
    """Return the JSON value of an answer: all of it, else those in its fenced blocks, else those in its text.

    Raises ValueError where there are none.
    """
    answer = strip_thinking(text).strip("\ufeff \t\r\n")
    try:
        return JsonDocuments([_load_json(answer)], False)
    except ValueError:
        if fenced := list(_load_all(iterate_fenced_blocks(answer))):
            return JsonDocuments(fenced, False)
        if bare := list(_iterate_bare(answer)):
            return JsonDocuments(bare, True)
        raise


def _normalize_lines(text: str) -> str:
    text = text.removeprefix("\ufeff")
    return re.sub(_LINE_END, "\n", text) if "\r" in text else text


def _drop_unopened_thinking(text: str) -> str:
    for opening, closing in _TAGS:
        end = re.search(rf"(?im)(?:^[ \t]*{closing}|{closing}[ \t]*(?=[\r\n]|\Z))", text)
        if end and not re.search(f"(?i){opening}", text[: end.start()]) and not _is_in_fence(text, end.start()):
            return text[end.end() :].lstrip("\r\n")
    return text


def _is_in_fence(text: str, position: int) -> bool:
    return any(block.start < position < block.end for block in _iterate_fences(text))


def _find_next_thinking(text: str, position: int) -> tuple[int, int] | None:
    """Return start and end of the next thinking outside of fenced blocks; None if there is none."""
    for opening, closing in _TAGS:
        for start in re.compile(rf"(?im)^[ \t\ufeff]*{opening}").finditer(text, position):
            if any(block.start < start.start() < block.end for block in _iterate_fences(text, position)):
                continue
            if end := re.compile(f"(?i){closing}").search(text, start.end()):
                return start.start(), end.end()
            if not text[: start.start()].strip("\ufeff \t\r\n"):
                return start.start(), len(text)
    return None


def _iterate_fences(text: str, position: int = 0) -> Iterator[_Fenced]:
    opening = re.compile(_FENCE)
    while start := opening.search(text, position):
        block = _read_block(text, start)
        yield block
        position = block.end


def _read_block(text: str, start: re.Match[str]) -> _Fenced:
    fence, quotes = start["fence"], start["lead"].count(">")
    width = len(start["lead"].rpartition(">")[2].expandtabs(4))
    closing = re.compile(rf"[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t\r]*$")
    lines: list[str] = []
    position = start.end() + 1
    while position < len(text):
        end = text.find("\n", position)
        line = text[position : end + 1] if end >= 0 else text[position:]
        inner = _strip_quotes(line, quotes)
        if inner is None:  # the quote ends, and its block with it
            return _Fenced("".join(lines), start.start(), position, True)
        position += len(line)
        if closing.match(inner.rstrip("\n")):
            return _Fenced("".join(lines), start.start(), position, True)
        lines.append(_strip_indent(inner, width))
    return _Fenced("".join(lines), start.start(), len(text), False)


def _strip_quotes(line: str, count: int) -> str | None:
    """Return a line without that many quote marks; None if it has fewer."""
    for _ in range(count):
        marked = line.lstrip(" \t")
        if not marked.startswith(">"):
            return None
        line = marked[1:].removeprefix(" ")
    return line


def _strip_indent(line: str, width: int) -> str:
    """Return a line without at most ``width`` columns of white space."""
    column = 0
    for index, character in enumerate(line):
        if column >= width or character not in " \t":
            return line[index:]
        column += 4 - column % 4 if character == "\t" else 1
    return line


def _load_all(texts: Iterator[str]) -> Iterator[Any]:
    for text in texts:
        try:
            yield _load_json(text)
        except ValueError:
            continue


def _iterate_bare(text: str) -> Iterator[Any]:
    """Yield the objects in a text, and the arrays that begin a line; nothing from within a broken document."""
    decoder = json.JSONDecoder(parse_constant=_reject_constant)
    starts = re.compile(r"(?m)\{|^[ \t]*\[")
    position = 0
    while start := starts.search(text, position):
        try:
            value, position = decoder.raw_decode(text, start.end() - 1)
        except (ValueError, RecursionError):
            if re.compile(r"\s*[\"\[{]").match(text, start.end()):
                return
            position = start.end()
        else:
            yield value


def _load_json(text: str) -> Any:
    try:
        return json.loads(text.strip("\ufeff \t\r\n"), parse_constant=_reject_constant)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _reject_constant(word: str) -> Any:
    raise ValueError(f"{word} is not valid JSON")
