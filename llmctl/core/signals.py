"""Death by signal as an exception, held back while something must not be cut in half.

``cli`` installs :func:`handle` as the handler of SIGINT, SIGTERM and SIGHUP and turns a closed stdout into the
same :class:`Signalled`. Code that writes rows wraps itself in :func:`uninterrupted`.
"""

from __future__ import annotations

import signal
from _thread import _local
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signalled(BaseException):
    """The process was asked to die; after committing, it dies of the same signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class _State(_local):
    """Of one thread: what another one writes holds no signal back from the main thread, which gets them all."""

    depth = 0
    pending: int | None = None


_state = _State()


def handle(signum: int, frame: FrameType | None) -> None:
    """Raise :class:`Signalled` now, or at the end of the running :func:`uninterrupted` block.

    Every handler falls back to the default action first, so that a second signal ends the process at once.
    """
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    if _state.depth:
        _state.pending = signum
    else:
        raise Signalled(signum)


def is_pending() -> bool:
    """Tell whether a signal waits for the end of a block: what takes long in it should stop by itself."""
    return _state.pending is not None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the block finish before a signal takes effect. Blocks may nest."""
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        if not _state.depth and _state.pending is not None:
            signum, _state.pending = _state.pending, None
            raise Signalled(signum)


@contextmanager
def deaf() -> Iterator[None]:
    """Start threads in this block: they inherit that signals pass them by.

    The kernel may give a signal to any thread that takes it; the main one, asleep in a read, would not wake up.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
