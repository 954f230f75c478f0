"""Text that comes in over stdin piece by piece, and a log that is printed as it grows."""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Iterator

from llmctl.cli.app import App
from llmctl.cli.console.terminal import safe_text
from llmctl.store.database import Database
from llmctl.store.records import text_logs

#: Bytes of a piece at most.
_PIECE = 1 << 16
#: Seconds between two looks at a log that grows.
_PAUSE_S = 0.2


def pieces(app: App) -> Iterator[str]:
    """Yield what stdin has as soon as it comes. What is no UTF-8 becomes U+FFFD, and so does NUL."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := _read(app):
        if text := decoder.decode(data).replace("\0", "\ufffd"):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest


def follow(app: App, database: Database, log_id: str, lines: int, *, grow: bool) -> None:
    """Write the last lines of a log; with ``grow`` also what comes, until the user leaves."""
    text, position, length = text_logs.ending(database, log_id, lines)
    write(app, text)
    while grow:
        app.io.flush()
        time.sleep(_PAUSE_S)
        for piece in text_logs.pieces(database, log_id, after=position - 1):
            # The piece that was the last one may have grown.
            write(app, piece["text"][length if piece["position"] == position else 0 :])
            position, length = piece["position"], len(piece["text"])


def write(app: App, text: str) -> None:
    app.io.write(safe_text(text) if app.io.stdout_tty else text)


def _read(app: App) -> bytes:
    if app.io.stdin_fd is not None:
        return os.read(app.io.stdin_fd, _PIECE)
    data: bytes = app.io.stdin.buffer.read(_PIECE)
    return data
