"""Render Markdown for a terminal with rich, one finished block at a time.

Words wrap at their ends; code is neither wrapped nor boxed, so that what is copied is what was written. The sixteen
colors of the terminal are used, which its owner chose for the background. Nothing but text of this module's own styles
reaches the terminal: control characters are made visible, also those that Markdown writes as entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token
from pygments.util import ClassNotFound
from rich import box
from rich.cells import cell_len, chop_cells
from rich.color import ColorSystem
from rich.console import Console as RichConsole
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from llmctl.cli.console.terminal import safe_line, safe_text
from llmctl.formats.markdown_blocks import Block, MarkdownNode, MarkdownReader, split_blocks

#: Narrower columns than this make a table unreadable: its rows are shown as records.
_MIN_COLUMN_CELLS = 8
#: Lines longer than this are not colored: some lexers take very long for them.
_MAX_COLORED_LINE = 1000
#: Lines of code before a piece that are read again, to know in which string or comment it begins.
_CONTEXT_LINES = 48

#: Where a line may be broken: after white space, and around characters of scripts written without spaces.
_WIDE = r"\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60"
_WORDS = re.compile(rf"[{_WIDE}]\s*|[^\s{_WIDE}]+\s*|\s+")
_LINKED = re.compile(r"(?:https?://|mailto:)[\x21-\x7e]+")
_LOOKS_LIKE_URL = re.compile(r"\w+://|www\.|\w@\w")

_STARTS_EMPTY = re.compile(r"[ \t]*\n")
_ENDS_EMPTY = re.compile(r"\n[ \t]*\n\Z")

_HEADINGS = {"h1": "bold underline", "h2": "bold", "h3": "bold italic"}
_INLINE_STYLES = {"strong": "bold", "em": "italic", "s": "strike", "code_inline": "cyan"}
#: ANSI codes of code, by pygments' token types; types without one inherit that of their parent.
_CODE_COLORS: Mapping[Any, str] = {
    Token.Comment: "2",
    Token.Keyword: "35",
    Token.Name.Builtin: "36",
    Token.Name.Class: "1",
    Token.Name.Decorator: "36",
    Token.Name.Function: "1",
    Token.Name.Tag: "35",
    Token.Literal.String: "32",
    Token.Literal.Number: "36",
    Token.Generic.Deleted: "31",
    Token.Generic.Inserted: "32",
    Token.Generic.Heading: "1",
    Token.Generic.Subheading: "35",
    Token.Generic.Prompt: "2",
}
_PLAIN_CODE = "36"


def render_markdown(text: str, width: int) -> str:
    """Return a whole text as it looks on a terminal of this width."""
    renderer = MarkdownRenderer()
    return "".join(renderer.render(block, width) for block in split_blocks(safe_text(text)))


def wrap_words(text: str, width: int) -> list[int]:
    """Return the offsets at which a line of text is broken. A word wider than the line is left to the terminal."""
    if len(text) * 2 <= width or (text.isascii() and len(text) <= width):
        return []
    offsets: list[int] = []
    cells = 0
    for word in _WORDS.finditer(text):
        size = cell_len(word[0].rstrip())
        if cells and cells + size > width:
            offsets.append(word.start())
            cells = 0
        cells += cell_len(word[0])
    return offsets


def break_rows(line: str, width: int) -> list[str]:
    """Return a line of text as rows, none of them wider than the terminal."""
    offsets = [0, *wrap_words(line, width), len(line)]
    pieces = [line[start:end].rstrip() for start, end in pairwise(offsets)]
    return [row for piece in pieces for row in (chop_cells(piece, width) or [""])]


class MarkdownRenderer:
    """Renders the blocks of one text, in order."""

    def __init__(self) -> None:
        self._reader = MarkdownReader()
        self._rich = RichConsole(force_terminal=True, color_system="standard", legacy_windows=False, width=80)
        self._has_output = False
        #: The next block stands apart from what was rendered.
        self.has_gap = False
        #: The number of the last list item, and the last lines of the open fenced block.
        self._number: int | None = None
        self._code: list[str] = []

    def render(self, block: Block, width: int) -> str:
        """Return the lines of a block, in ANSI escapes; empty lines stand where the source has some."""
        if not block.continues:
            self._number, self._code = None, []
        nodes = self._reader.read(block)
        lines = list(self._render_blocks(nodes, block.source.split("\n"), max(width, 1)))
        is_apart = self._has_output and not block.lead and (self.has_gap or bool(_STARTS_EMPTY.match(block.text)))
        if lines:
            self._has_output = True
            self.has_gap = False
        self.has_gap = self._has_output and (self.has_gap or bool(_ENDS_EMPTY.search(f"\n{block.text}")))
        return "".join(f"{line}\n" for line in (["", *lines] if lines and is_apart else lines))

    def _render_blocks(self, nodes: Iterable[MarkdownNode], source: Sequence[str], width: int) -> Iterator[str]:
        is_first = True
        for node in nodes:
            if not is_first and _follows_empty_line(node, source):
                yield ""
            is_first = False
            yield from self._render_block(node, source, width)

    def _render_block(self, node: MarkdownNode, source: Sequence[str], width: int) -> Iterator[str]:
        match node.type:
            case "heading":
                yield from self._wrap(self._inline(node), width, _HEADINGS.get(node.tag, "bold italic"))
            case "bullet_list" | "ordered_list":
                yield from self._render_list(node, source, width)
            case "blockquote":
                for line in self._render_blocks(node.children, source, max(width - 2, 1)):
                    yield _paint("│ ", "2") + line
            case "fence" | "code_block":
                yield from self._render_code(node)
            case "hr":
                yield _paint("─" * min(width, 60), "2")
            case "table":
                yield from self._render_table(node, width)
            case _:
                yield from self._wrap(self._inline(node), width)

    def _render_list(self, node: MarkdownNode, source: Sequence[str], width: int) -> Iterator[str]:
        is_ordered = node.type == "ordered_list"
        number = int(node.attrs.get("start", 1)) if is_ordered else None
        if node.level == 0 and is_ordered:
            number = number if self._number is None else self._number + 1
        for item in node.children:
            if item is not node.children[0] and _follows_empty_line(item, source):
                yield ""
            marker = "• " if number is None else f"{number}. "
            lines = self._render_blocks(item.children, source, max(width - len(marker), 1))
            yield _paint(marker, "2") + next(lines, "")
            for line in lines:
                yield " " * len(marker) + line if line else ""
            if number is not None:
                self._number = number if node.level == 0 else self._number
                number += 1

    def _render_code(self, node: MarkdownNode) -> Iterator[str]:
        code = safe_text(node.content).removesuffix("\n")
        if not node.content:
            return
        lines = code.split("\n")
        lexer = _find_lexer(node.info.split(maxsplit=1)[0]) if node.info.strip() else None
        if lexer is None or max(map(len, lines)) > _MAX_COLORED_LINE:
            yield from (_paint(line, _PLAIN_CODE) for line in lines)
        else:
            yield from _color_code(lexer, [*self._code, *lines])[len(self._code) :]
        self._code = [*self._code, *lines][-_CONTEXT_LINES:] if node.level == 0 else self._code

    def _render_table(self, node: MarkdownNode, width: int) -> Iterator[str]:
        rows = [[self._inline(cell) for cell in row.children] for part in node.children for row in part.children]
        header, *rest = rows
        if width < len(header) * _MIN_COLUMN_CELLS:
            yield from self._render_records(header, rest, width)
            return
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", border_style="dim")
        for title, cell in zip(header, node.children[0].children[0].children, strict=True):
            table.add_column(title, justify=_justify(cell), overflow="fold")
        for row in rest:
            table.add_row(*row)
        for line in self._rich.render_lines(table, self._rich.options.update(width=width), pad=False):
            yield self._to_ansi(line)

    def _render_records(self, header: Sequence[Text], rows: Iterable[Sequence[Text]], width: int) -> Iterator[str]:
        """Render a table that is too wide for columns: a line for each cell, with its title."""
        is_first = True
        for row in rows:
            if not is_first:
                yield ""
            is_first = False
            for title, cell in zip(header, row, strict=False):
                yield from self._wrap(Text.assemble(title.copy(), ": ", cell), width)

    def _inline(self, node: MarkdownNode) -> Text:
        text = Text()
        for child in node.children:
            self._add_inline(text, child, Style.null())
        return text

    def _add_inline(self, text: Text, node: MarkdownNode, style: Style) -> None:
        match node.type:
            case "softbreak" | "hardbreak":
                text.append("\n")
            case "link":
                self._add_link(text, node, str(node.attrs.get("href", "")), style)
            case "image":
                alt = safe_text(node.content) or "image"
                url = safe_line(str(node.attrs.get("src", "")))
                text.append(alt, style)
                text.append(f" ({url})", style + Style(dim=True))
            case "text" | "code_inline":
                text.append(safe_text(node.content), style + _style(node.type))
            case _:
                for child in node.children:
                    self._add_inline(text, child, style + _style(node.type))

    def _add_link(self, text: Text, node: MarkdownNode, href: str, style: Style) -> None:
        """Add a link; where it leads is written out if the terminal cannot show it, or its text says otherwise."""
        is_linked = _LINKED.fullmatch(href) is not None
        start = len(text.plain)
        for child in node.children:
            self._add_inline(text, child, style + Style(underline=is_linked, link=href if is_linked else None))
        shown = text.plain[start:]
        is_same = shown in (href, href.removeprefix("mailto:"))
        if not is_same and (not is_linked or _LOOKS_LIKE_URL.search(shown)):
            text.append(f" ({safe_line(href)})", style + Style(dim=True))

    def _wrap(self, text: Text, width: int, style: str = "") -> Iterator[str]:
        text.expand_tabs(4)
        for line in text.split("\n", allow_blank=True):
            if style:
                line.stylize(style)
            for piece in line.divide(wrap_words(line.plain, width)):
                piece.rstrip()
                yield self._to_ansi(piece.render(self._rich))

    def _to_ansi(self, segments: Iterable[Segment]) -> str:
        parts = [
            segment.style.render(segment.text, color_system=ColorSystem.STANDARD) if segment.style else segment.text
            for segment in segments
        ]
        return "".join(parts).rstrip(" ")


def _style(kind: str) -> Style:
    return Style.parse(_INLINE_STYLES.get(kind, ""))


def _follows_empty_line(node: MarkdownNode, source: Sequence[str]) -> bool:
    start = node.map[0] if node.map else 0
    return start > 0 and not source[start - 1].strip(" \t>")


def _justify(cell: MarkdownNode) -> Any:
    return str(cell.attrs.get("style", "text-align:left")).removeprefix("text-align:")


def _paint(text: str, codes: str) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m" if text and codes else text


@cache
def _find_lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language.lower(), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@cache
def _code_color(kind: Any) -> str:
    while kind not in _CODE_COLORS and kind.parent is not None:
        kind = kind.parent
    return _CODE_COLORS.get(kind, "")


def _color_code(lexer: Lexer, lines: Sequence[str]) -> list[str]:
    colored = [""]
    for kind, text in lexer.get_tokens("\n".join(lines)):
        first, *rest = text.split("\n")
        colored[-1] += _paint(first, _code_color(kind))
        colored += (_paint(piece, _code_color(kind)) for piece in rest)
    return colored[: len(lines)]
