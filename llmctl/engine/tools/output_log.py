"""What tools print, as pieces of text logs: written while they run, a few times a second."""

from __future__ import annotations

import time
from codecs import getincrementaldecoder

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.engine.turn.redaction import Redaction
from llmctl.store.writes import Insert, Update, Write

#: Seconds that a piece of output waits for more.
PIECE_S = 0.1

_MOST_BYTES = 1_000_000
_DECODER = getincrementaldecoder("utf-8")


class ToolLog:
    """The log of one run: of a tool, or of the row of another table that has a ``text_log_id``."""

    def __init__(
        self, id: str, redact: Redaction, *, table: str = "tool_invocations", most_bytes: int = _MOST_BYTES
    ) -> None:
        self._owner = (table, id)
        self._most_bytes = most_bytes
        self._redact = redact
        self._decoder = _DECODER("replace")
        self._waiting = bytearray()
        self._size = 0
        self._pieces = 0
        self._log_id = new_id()
        self._since = 0.0

    def add(self, data: bytes) -> None:
        """Take a piece; beyond a limit nothing more is kept."""
        room = self._most_bytes - self._size
        if room <= 0:
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._size += len(data)
        self._waiting += data[:room]
        if len(data) >= room:
            self._waiting += b"\n[the rest was not kept]\n"

    def waits(self) -> bool:
        """Tell whether something is not yet written."""
        return bool(self._waiting)

    def due(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._since >= PIECE_S

    def writes(self, *, is_end: bool = False) -> list[Write]:
        """Return the rows of what came since the last time. What may be half a secret waits for the rest."""
        wait = 0 if is_end else self._redact.unfinished(bytes(self._waiting))
        data = bytes(self._waiting[: len(self._waiting) - wait])
        del self._waiting[: len(data)]
        self._since = time.monotonic()
        text = self._redact.text(self._decoder.decode(data, is_end))
        return self._piece(text) if text else []

    def _piece(self, text: str) -> list[Write]:
        now = clock.now()
        first, self._pieces = self._pieces == 0, self._pieces + 1
        row = {"text": text, "position": self._pieces - 1, "created_at": now, "updated_at": now}
        if first:
            link = Update(*self._owner, {"text_log_id": self._log_id, "updated_at": now})
            return [Insert("text_logs", {"id": self._log_id, **row}), link]
        return [Insert("text_logs", {"id": new_id(), "series_id": self._log_id, **row})]
