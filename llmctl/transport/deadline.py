"""The end of an attempt as a whole, whatever it is waiting for."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from threading import Timer

from llmctl.core.signals import deaf


class Deadline:
    """Limits for single waits, and a timer that shuts the socket down: no read may outlast the whole."""

    def __init__(self, total: float | None) -> None:
        self._end = None if total is None else time.monotonic() + total
        self._timer: Timer | None = None
        #: The timer has shut the socket down.
        self.struck = False

    @property
    def passed(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def limit(self, seconds: float) -> float:
        """Return the seconds one wait may take."""
        return seconds if self._end is None else max(0.001, min(seconds, self._end - time.monotonic()))

    def guard(self, connected: socket.socket | None) -> None:
        """Shut the socket down when the time is over, unless disarmed."""
        if self._end is None or connected is None:
            return
        self._timer = Timer(self.limit(float("inf")), self._strike, (connected,))
        self._timer.daemon = True
        with deaf():
            self._timer.start()

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _strike(self, connected: socket.socket) -> None:
        self.struck = True
        with suppress(OSError):  # It may be closed by now.
            # Not ``connected.shutdown``: on a TLS socket that would drop its state under the reader's feet.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)
