"""Handle signals and exit: signals become exceptions, and the process dies by the signal it got."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from llmctl.core import signals

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install_handlers() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into :class:`Signalled`, except those the parent ignores (``nohup``, ``&``)."""
    for signum in _SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, signals.handle_signal)
    sys.unraisablehook = _handle_unraisable


def _handle_unraisable(raised: Any) -> None:
    """Print nothing; deliver again a signal that arrived in a destructor, where an exception is dropped."""
    if isinstance(raised.exc_value, signals.Signalled):
        signum = raised.exc_value.signum
        signal.signal(signal.SIGALRM, lambda *_: signals.handle_signal(signum, None))
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # an exception raised here would be dropped again


def die_by_signal(signum: int) -> int:
    """Kill this process with the signal, so that the shell sees 129, 130, 141 or 143 and loops stop."""
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    os.kill(os.getpid(), signum)
    return 128 + signum  # if the signal does not kill (pid 1 of a container)


def exit_now(code: int) -> NoReturn:
    """Exit immediately; everything is committed, closed and flushed by now.

    Finalizing the interpreter costs 15 % of a short command and may print unrelated errors.
    """
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
