"""Death by signal as an exception, held back while something must not be cut in half.

``cli`` installs :func:`handle` as the handler of SIGINT, SIGTERM and SIGHUP and turns a closed stdout into the
same :class:`Signalled`. Code that writes rows wraps itself in :func:`uninterrupted`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signalled(BaseException):
    """The process was asked to die; after committing, it dies of the same signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class _State:
    depth = 0
    pending: int | None = None


def handle(signum: int, frame: FrameType | None) -> None:
    """Raise :class:`Signalled` now, or at the end of the running :func:`uninterrupted` block.

    Every handler falls back to the default action first, so that a second signal ends the process at once.
    """
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    if _State.depth:
        _State.pending = signum
    else:
        raise Signalled(signum)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the block finish before a signal takes effect. Blocks may nest."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if not _State.depth and _State.pending is not None:
            signum, _State.pending = _State.pending, None
            raise Signalled(signum)
