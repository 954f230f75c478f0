"""Signals as an exception, deferred while a block must not be interrupted.

``cli`` installs :func:`handle_signal` for SIGINT, SIGTERM and SIGHUP and turns a closed stdout into the same
:class:`Signalled`. Code that writes rows runs inside :func:`defer_signals`.
"""

from __future__ import annotations

import signal
from _thread import _local
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signalled(BaseException):
    """The process received a signal; after committing, it exits by the same signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class Interrupted(BaseException):
    """The turn was stopped from another thread; it finishes its rows, like after a signal."""


class _State(_local):
    """State of one thread: other threads that write do not defer the signals of the main thread."""

    depth = 0
    pending: int | None = None


_state = _State()


def handle_signal(signum: int, frame: FrameType | None) -> None:
    """Raise :class:`Signalled` now, or at the end of the running :func:`defer_signals` block.

    The default actions are restored first, so that a second signal ends the process at once.
    """
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    if _state.depth:
        _state.pending = signum
    else:
        raise Signalled(signum)


def is_pending() -> bool:
    """Return whether a signal waits for the end of a block: long operations should check this and stop."""
    return _state.pending is not None


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let the block finish before a signal takes effect. Blocks may be nested."""
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        if not _state.depth and _state.pending is not None:
            signum, _state.pending = _state.pending, None
            raise Signalled(signum)


@contextmanager
def block_signals() -> Iterator[None]:
    """Block signals: threads started in this block inherit the mask.

    The kernel may deliver a signal to any thread that accepts it; the main thread, blocked in a read, would not wake.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
