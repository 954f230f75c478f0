"""How the process ends: which signals are held back, and how it dies of them."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from llmctl.core import signals

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into :class:`Signalled`, save those we are made to ignore (``nohup``, ``&``)."""
    for signum in _SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, signals.handle)
    sys.unraisablehook = _unraisable


def _unraisable(raised: Any) -> None:
    """Stay silent, but have a signal again that came while a destructor ran, where raising leads nowhere."""
    if isinstance(raised.exc_value, signals.Signalled):
        signum = raised.exc_value.signum
        signal.signal(signal.SIGALRM, lambda *_: signals.handle(signum, None))
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # raised here it would be ignored once more


def die(signum: int) -> int:
    """End the process by that signal, so that the shell sees 129, 130, 141 or 143 and loops stop."""
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    os.kill(os.getpid(), signum)
    return 128 + signum  # where the signal cannot kill (pid 1 of a container)


def leave(code: int) -> NoReturn:
    """End the process at once: what matters is committed, closed and flushed by now.

    Taking the interpreter apart would cost 15 % of a short command, and may print what went wrong meanwhile.
    """
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
