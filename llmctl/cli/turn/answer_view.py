"""Show an answer on a terminal as Markdown: finished blocks once and for all, the open block live below them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from llmctl.cli.console.console import Streams
from llmctl.cli.console.live import LiveDisplay
from llmctl.cli.console.markdown import MarkdownRenderer, break_rows
from llmctl.cli.console.terminal import safe_text
from llmctl.formats.markdown_blocks import Block, BlockSplitter

#: Rows of the terminal that the open block leaves free.
_FREE_ROWS = 2


class AnswerView:
    """The answer of one turn; its methods are those that a plain stream needs, too."""

    def __init__(self, io: Streams, display: LiveDisplay) -> None:
        self._io = io
        self._display = display
        self._splitter = BlockSplitter()
        self._renderer = MarkdownRenderer()
        display.show_open_lines(self._open_lines)

    def write(self, text: str) -> None:
        """Print the blocks that a piece of the answer finishes."""
        self._display.pause()
        self._print(self._splitter.feed(text))

    def finish(self) -> None:
        """Print what is left; what follows is another text."""
        self._display.pause()
        self._print(self._splitter.finish())
        self._splitter, self._renderer = BlockSplitter(), MarkdownRenderer()

    def _print(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            text = self._renderer.render(block, self._display.width)
            if text:
                self._io.write(text)

    def _open_lines(self, size: os.terminal_size) -> Sequence[str]:
        """Return the last rows of the open block, as it was written."""
        rows, width = max(1, size.lines - _FREE_ROWS), max(1, size.columns - 1)
        text = safe_text(self._splitter.open_tail(rows * width)).strip("\n").expandtabs(4)
        if not text.strip():
            return ()
        lines = [row for line in text.split("\n")[-rows:] for row in break_rows(line, width)]
        return (["", *lines] if self._renderer.has_gap else lines)[-rows:]
