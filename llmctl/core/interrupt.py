"""Stop a turn that runs in another thread, which no signal reaches."""

from __future__ import annotations

from contextlib import suppress
from socket import SHUT_RDWR, socket
from threading import Event, Lock

from llmctl.core.signals import Interrupted


class Interrupt:
    """Set by one thread, noticed by the one that runs the turn: its sleeps end, and its socket is shut down."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._socket: socket | None = None

    def set(self) -> None:
        """Stop the turn. A read of the socket that is watched returns at once."""
        self._event.set()
        with self._lock:
            self._shut_down()

    def raise_if_set(self) -> None:
        """Raise :class:`Interrupted` if the turn was stopped."""
        if self._event.is_set():
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        """Sleep; raise :class:`Interrupted` once the turn is stopped."""
        if self._event.wait(seconds):
            raise Interrupted

    def watch_socket(self, connected: socket | None) -> None:
        """Shut this socket down when the turn is stopped, instead of the one watched before."""
        with self._lock:
            self._socket = connected
            if self._event.is_set():
                self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it may be closed already
                # Not ``self._socket.shutdown``: on a TLS socket that would drop its state while it is being read.
                socket.shutdown(self._socket, SHUT_RDWR)
