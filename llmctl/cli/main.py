"""Run a command line. The one place that catches every exception and turns it into stderr text and an exit status."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from llmctl.cli.app import App
from llmctl.cli.console.console import Streams, process_streams
from llmctl.core.errors import LlmctlError
from llmctl.core.signals import Signalled, handle_signal


def main() -> NoReturn:
    """Run ``sys.argv``; exit with its code, or die by the signal that interrupted it."""
    # Importing allocates thousands of objects, none of them garbage: collecting costs 7 % of start-up.
    gc.set_threshold(50_000)
    try:
        io = process_streams()
        install_handlers()
        exit_now(run(sys.argv[1:], os.environ, io))
    except Signalled as signalled:
        exit_now(die_by_signal(signalled.signum))


def run(arguments: Sequence[str], env: Mapping[str, str], io: Streams) -> int:
    """Run a command line and return its exit code. Raises only :class:`Signalled`, after everything is unwound."""
    try:
        return _run(arguments, env, io)
    finally:
        io.close_pager()


def _run(arguments: Sequence[str], env: Mapping[str, str], io: Streams) -> int:
    app = App(env, io, arguments)
    try:
        with app:
            code = _execute(app, arguments)
            io.flush()
            return code
    except (Signalled, KeyboardInterrupt, BrokenPipeError) as end:
        raise _to_signalled(end) from end
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        if isinstance(error.__cause__, Signalled):  # Python wraps exceptions raised while a class is created
            raise error.__cause__ from error
        return _report_error(error, app, arguments)


def _execute(app: App, arguments: Sequence[str]) -> int:
    from llmctl.cli import command_tree  # imports typer (45 ms): after the signal handlers are installed

    return command_tree.execute(app, arguments)


def _to_signalled(end: BaseException) -> Signalled:
    if isinstance(end, Signalled):
        return end
    return Signalled(signal.SIGINT if isinstance(end, KeyboardInterrupt) else signal.SIGPIPE)


def _report_error(error: BaseException, app: App, arguments: Sequence[str]) -> int:
    from llmctl.cli import errors

    translated = errors.to_llmctl_error(error)
    failure = translated or errors.internal_error(error)
    if app.debug and (translated is None or translated is not error):
        app.console.io.write_stderr(errors.format_traceback(error))
    text = (errors.format_json if errors.wants_json(arguments) else errors.format_text)(failure)
    app.console.write_stderr_line(text.removesuffix("\n"))
    app.console.write_footer()
    with suppress(LlmctlError):  # output written before the failure
        app.console.io.flush()
    return failure.exit_code


# --- signals: they become exceptions, and the process dies by the signal it got

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install_handlers() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into :class:`Signalled`, except those the parent ignores (``nohup``, ``&``)."""
    for signum in _SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, handle_signal)
    sys.unraisablehook = _handle_unraisable


def _handle_unraisable(raised: Any) -> None:
    """Print nothing; deliver again a signal that arrived in a destructor, where an exception is dropped."""
    if isinstance(raised.exc_value, Signalled):
        signum = raised.exc_value.signum
        signal.signal(signal.SIGALRM, lambda *_: handle_signal(signum, None))
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
