"""The output of a tool or command as a text log, written a few times a second while it runs."""

from __future__ import annotations

import time
from codecs import getincrementaldecoder

from llmctl.core import clock
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import new_id
from llmctl.store.database import Insert, Update, Write

#: How long output is collected before it is written.
FLUSH_INTERVAL_S = 0.1

_MAX_BYTES = 1_000_000
_DECODER = getincrementaldecoder("utf-8")


class OutputLog:
    """The log of one run; ``table`` and ``id`` name the row that gets its ``text_log_id``."""

    def __init__(
        self, id: str, redact: Redaction, *, table: str = "tool_invocations", max_bytes: int = _MAX_BYTES
    ) -> None:
        self._owner = (table, id)
        self._max_bytes = max_bytes
        self._redact = redact
        self._decoder = _DECODER("replace")
        self._buffer = bytearray()
        self._size = 0
        self._pieces = 0
        self._log_id = new_id()
        self._since = 0.0

    def add(self, data: bytes) -> None:
        """Add output; beyond ``max_bytes`` it is dropped."""
        room = self._max_bytes - self._size
        if room <= 0:
            return
        if not self._buffer:
            self._since = time.monotonic()
        self._size += len(data)
        self._buffer += data[:room]
        if len(data) >= room:
            self._buffer += b"\n[the rest was dropped]\n"

    def has_unwritten_output(self) -> bool:
        """Whether some output is not written yet."""
        return bool(self._buffer)

    def is_due(self) -> bool:
        return bool(self._buffer) and time.monotonic() - self._since >= FLUSH_INTERVAL_S

    def take_writes(self, *, is_end: bool = False) -> list[Write]:
        """Return the rows for the output since the last call. A possible beginning of a secret is held back."""
        wait = 0 if is_end else self._redact.partial_secret_bytes(bytes(self._buffer))
        data = bytes(self._buffer[: len(self._buffer) - wait])
        del self._buffer[: len(data)]
        self._since = time.monotonic()
        text = self._redact.text(self._decoder.decode(data, is_end))
        return self._piece_writes(text) if text else []

    def _piece_writes(self, text: str) -> list[Write]:
        now = clock.now()
        first, self._pieces = self._pieces == 0, self._pieces + 1
        row = {"text": text, "position": self._pieces - 1, "created_at": now, "updated_at": now}
        if first:
            link = Update(*self._owner, {"text_log_id": self._log_id, "updated_at": now})
            return [Insert("text_logs", {"id": self._log_id, **row}), link]
        return [Insert("text_logs", {"id": new_id(), "series_id": self._log_id, **row})]
