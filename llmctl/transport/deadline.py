"""The deadline of a whole attempt, whatever it waits for."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from threading import Timer

from llmctl.core.signals import block_signals


class Deadline:
    """Limits single waits, and shuts the socket down by a timer, so that no read outlasts the attempt."""

    def __init__(self, total: float | None) -> None:
        self._end = None if total is None else time.monotonic() + total
        self._timer: Timer | None = None
        self._socket: socket.socket | None = None
        #: Whether the timer has shut the socket down.
        self.has_fired = False

    @property
    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def limit_wait(self, seconds: float) -> float:
        """Return the seconds that one wait may take."""
        return seconds if self._end is None else max(0.001, min(seconds, self._end - time.monotonic()))

    def watch_socket(self, connected: socket.socket | None) -> None:
        """Shut the socket down at the deadline, unless disarmed. A later socket (TLS) replaces an earlier one."""
        if self._end is None or connected is None:
            return
        self._socket = connected
        if self._timer is not None:
            return
        self._timer = Timer(self.limit_wait(float("inf")), self._shut_down_socket)
        self._timer.daemon = True
        with block_signals():
            self._timer.start()

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _shut_down_socket(self) -> None:
        self.has_fired = True
        connected = self._socket
        if connected is None:
            return
        with suppress(OSError):  # it may be closed already
            # Not ``connected.shutdown``: on a TLS socket that would drop its state while it is being read.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)
