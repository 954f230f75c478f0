"""Cut Markdown into blocks while it arrives, so that each can be rendered once, when it is finished.

Block structure is decided line by line (https://spec.commonmark.org/0.31.2/#appendix-a-parsing-strategy): once a line
has begun the next block, nothing changes the one before. Where a line may begin a block, markdown-it reads the open
lines and tells; finished lines are not read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, pairwise
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from llmctl.core.values import Value

#: Lines of a fenced block that are finished together: a long one is not held back until its end.
_CODE_LINES = 16

_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*$)|~{3,})")
#: A line that may begin a block within or after another one, or turn a paragraph into a heading.
_MAY_BEGIN = re.compile(
    r" {0,3}(?:>|#{1,6}(?:[ \t]|$)|```|~~~|(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)|=+[ \t]*$|-+[ \t]*$|"
    r"([-*_])[ \t]*(?:\1[ \t]*){2,}$)"
)
#: The line below the header of a table.
_TABLE_RULE = re.compile(r"[ |:\t-]*-[ |:\t-]*$")
_ITEM = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])(?: {1,4}(?=[^ ])| |$)")

_LISTS = ("bullet_list", "ordered_list")
_ENDED_BY_EMPTY_LINE = ("paragraph", "table", "blockquote")
_ENDED_BY_THEIR_LINE = ("heading", "hr")


class Block(Value):
    """A finished block: a top-level one, an item of a top-level list, or lines of a fenced block.

    The texts of all blocks together are the whole text.
    """

    text: str
    #: What must stand before the text for it to mean the same on its own: the opening fence.
    lead: str = ""
    #: It continues the list or the fenced block of the block before.
    continues: bool = False

    @property
    def source(self) -> str:
        """The block as a document of its own."""
        return self.lead + self.text


def build_parser() -> MarkdownIt:
    """Return a parser of Markdown as models write it: CommonMark, tables and strikethrough; HTML is text."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


#: A block or a piece of text as markdown-it has read it; its types are those of markdown-it's tokens.
MarkdownNode = SyntaxTreeNode


class MarkdownReader:
    """Reads the blocks of one text, in order; definitions of links hold for those that follow."""

    def __init__(self) -> None:
        self._parser = build_parser()
        self._env: dict[str, Any] = {}

    def read(self, block: Block) -> list[MarkdownNode]:
        """Return what a block holds."""
        return SyntaxTreeNode(self._parser.parse(block.source, self._env)).children


def render_html(text: str) -> str:
    """Return Markdown as HTML. HTML in it is text, and so are links that run code; images are links: none loads."""
    return str(_html_parser().render(text))


@cache
def _html_parser() -> MarkdownIt:
    parser = build_parser()
    parser.add_render_rule("link_open", _render_link_start)
    parser.add_render_rule("image", _render_image)
    parser.add_render_rule("fence", _render_code)
    parser.add_render_rule("code_block", _render_code)
    parser.add_render_rule("table_open", lambda *_: '<div class="scroll" tabindex="0"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("th_open", _render_cell)
    parser.add_render_rule("td_open", _render_cell)
    parser.add_render_rule("heading_open", lambda _, tokens, index, *__: f"<h{_level(tokens[index])}>")
    parser.add_render_rule("heading_close", lambda _, tokens, index, *__: f"</h{_level(tokens[index])}>\n")
    return parser


def _level(token: Token) -> int:
    """Return the level of a heading below those of the page: its chat and its message."""
    return min(6, int(token.tag[1]) + 2)


def _render_link_start(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    return f'<a href="{escapeHtml(str(tokens[index].attrs.get("href", "")))}" rel="noopener noreferrer nofollow">'


def _render_image(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    address = escapeHtml(str(tokens[index].attrs.get("src", "")))
    label = escapeHtml(tokens[index].content) or address
    if not address.startswith(("http://", "https://")):
        return label
    return f'<a href="{address}" rel="noopener noreferrer nofollow">{label}</a>'


def _render_cell(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    """Return the start of a cell; its alignment is a class, because the page allows no style of an element."""
    align = str(tokens[index].attrs.get("style", "")).removeprefix("text-align:")
    return f'<{tokens[index].tag} class="{align}">' if align in ("right", "center") else f"<{tokens[index].tag}>"


def _render_code(self: RendererHTML, tokens: Sequence[Token], index: int, *_: Any) -> str:
    return f'<pre tabindex="0"><code>{escapeHtml(tokens[index].content.rstrip())}</code></pre>\n'


def split_blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a whole text."""
    splitter = BlockSplitter()
    yield from splitter.feed(text)
    yield from splitter.finish()


class BlockSplitter:
    """Takes Markdown in pieces of any size and returns the blocks that are finished."""

    def __init__(self) -> None:
        #: Complete lines of the open block, and pieces of the line after them.
        self._lines: list[str] = []
        self._pieces: list[str] = []
        #: The type of the open block, as markdown-it names it; empty while it is unknown.
        self._kind = ""
        self._continues = False
        self._fence: _Fence | None = None
        #: How many lines there are when they are read next, and whether one that may begin a block was not read.
        self._next_read = 0
        self._is_read_due = False

    def open_tail(self, length: int) -> str:
        """Return what has arrived of the open block: about its last ``length`` characters, if it is longer."""
        tail: list[str] = []
        for piece in chain(reversed(self._pieces), reversed(self._lines)):
            tail.append(piece)
            length -= len(piece)
            if length < 0:
                break
        return "".join(reversed(tail))

    def feed(self, text: str) -> Iterator[Block]:
        """Yield the blocks that a piece of text finishes."""
        if self._pieces and self._pieces[-1].endswith("\r"):
            text = self._pieces.pop() + text
        text, end = (text[:-1], "\r") if text.endswith("\r") else (text, "")  # half of "\r\n", perhaps
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines:
            yield from self._end_line(f"{line}\n")
        self._pieces += filter(None, (rest, end))

    def finish(self) -> Iterator[Block]:
        """Yield what is left, at the end of the text."""
        yield from self.feed("\n" if self._pieces and self._pieces[-1] == "\r" else "")
        if self._pieces:
            yield from self._end_line("")
        if self._lines:
            yield self._cut(len(self._lines))

    def _end_line(self, end: str) -> Iterator[Block]:
        line = "".join((*self._pieces, end))
        self._pieces.clear()
        self._lines.append(line)
        if self._fence:
            yield from self._add_code_line(self._fence, line)
        elif not line.strip(" \t\n"):
            yield from self._end_by_empty_line()
        elif self._may_begin_block(line.rstrip("\n")):
            self._is_read_due = True
            if len(self._lines) >= self._next_read:
                yield from self._cut_finished()

    def _add_code_line(self, fence: _Fence, line: str) -> Iterator[Block]:
        """Read a fenced block without a parser: a long one costs no more than its length."""
        if fence.closing.match(line):
            yield self._cut(len(self._lines))
        elif len(self._lines) >= _CODE_LINES:
            yield self._cut(len(self._lines))
            self._fence, self._continues = fence.replace(is_cut=True), True

    def _may_begin_block(self, line: str) -> bool:
        """Return whether this line may begin a block; wrong only in saying yes."""
        if not self._kind:
            return True
        if self._kind in _LISTS:
            is_inside = not line[: self._item_indent()].strip(" ")
            return not is_inside and bool(_MAY_BEGIN.match(line) or not self._lines[-2].strip())
        if self._kind == "blockquote":
            return not line.lstrip(" ").startswith(">")
        if self._kind == "code_block":
            return not line.startswith(("    ", "\t"))
        return bool(_MAY_BEGIN.match(line) or (self._kind != "table" and _TABLE_RULE.match(line)))

    def _item_indent(self) -> int:
        """Return the column at which the text of the open item begins: lines that reach it are part of the item."""
        first = next((line for line in self._lines if line.strip()), "")
        marker = _ITEM.match(first.rstrip("\n"))
        return max(1, marker.end()) if marker else 1

    def _end_by_empty_line(self) -> Iterator[Block]:
        if self._is_read_due:
            yield from self._cut_finished()
        if self._lines and self._kind in ("", *_ENDED_BY_EMPTY_LINE):
            yield self._cut(len(self._lines))

    def _cut_finished(self) -> Iterator[Block]:
        """Cut off all blocks and items but the last one, which may still change."""
        units = _read_units("".join(self._lines))
        self._is_read_due = False
        count = 0
        for unit, following in pairwise(units):
            yield self._cut(unit.end - count)
            self._continues = following.continues
            count = unit.end
        if units:
            last = units[-1]
            yield from self._open(last.kind, last.start - count, last.end - count)
        else:  # definitions of links: what begins a paragraph, until it ends
            self._kind = "paragraph"
        self._next_read = len(self._lines) * 9 // 8  # a block that grows is read again, but not at each of its lines

    def _open(self, kind: str, start: int, end: int) -> Iterator[Block]:
        """Note what the last block is. Nothing that precedes a fence or a complete line can change."""
        opening = _FENCE.match(self._lines[start].rstrip("\n")) if kind == "fence" else None
        if start and (opening or kind in _ENDED_BY_THEIR_LINE):
            yield self._cut(start)
            end -= start
        self._kind = kind
        if opening:
            mark = opening["fence"]
            closing = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
            self._fence = _Fence(self._lines[0], closing)
            if any(map(closing.match, self._lines[1:])):
                yield self._cut(end)
        elif kind in _ENDED_BY_THEIR_LINE:
            yield self._cut(end)
        if self._lines and not self._kind:
            self._kind = "paragraph"

    def _cut(self, count: int) -> Block:
        lead = self._fence.opening if self._fence and self._fence.is_cut else ""
        block = Block("".join(self._lines[:count]), lead, self._continues)
        del self._lines[:count]
        self._kind, self._continues, self._fence, self._next_read = "", False, None, 0
        return block


class _Fence(Value):
    """The open fenced block: its first line, what closes it, and whether its first lines were cut off."""

    opening: str
    closing: re.Pattern[str]
    is_cut: bool = False


class _Unit(NamedTuple):
    """A top-level block or item: its type, its first line and the one after its last, and whether it is a next item."""

    kind: str
    start: int
    end: int
    continues: bool = False


def _read_units(text: str) -> list[_Unit]:
    units: list[_Unit] = []
    is_first = True
    for token in _block_parser().parse(text):
        if token.nesting < 0 or token.map is None:
            continue
        start, end = token.map
        if token.level == 0:
            kind = token.type.removesuffix("_open")
            is_first = True
            if kind not in _LISTS:
                units.append(_Unit(kind, start, end))
        elif token.level == 1 and token.type == "list_item_open":
            units.append(_Unit(kind, start, end, continues=not is_first))
            is_first = False
    return units


@cache
def _block_parser() -> MarkdownIt:
    parser = build_parser()
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
