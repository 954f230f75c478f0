"""Run a command line. The one place that catches every exception and turns it into stderr text and an exit status."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from signal import SIGINT, SIGPIPE
from typing import NoReturn

from llmctl.cli.app import App
from llmctl.cli.console import signals
from llmctl.cli.console.io import Streams, process_streams
from llmctl.core.errors import LlmctlError
from llmctl.core.signals import Signalled


def main() -> NoReturn:
    """Run ``sys.argv``; exit with its code, or die by the signal that interrupted it."""
    # Importing allocates thousands of objects, none of them garbage: collecting costs 7 % of start-up.
    gc.set_threshold(50_000)
    try:
        io = process_streams()
        signals.install_handlers()
        signals.exit_now(run(sys.argv[1:], os.environ, io))
    except Signalled as signalled:
        signals.exit_now(signals.die_by_signal(signalled.signum))


def run(arguments: Sequence[str], env: Mapping[str, str], io: Streams) -> int:
    """Run a command line and return its exit code. Raises only :class:`Signalled`, after everything is unwound."""
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
    return Signalled(SIGINT if isinstance(end, KeyboardInterrupt) else SIGPIPE)


def _report_error(error: BaseException, app: App, arguments: Sequence[str]) -> int:
    from llmctl.cli import errors
    from llmctl.cli.console.terminal import safe_text

    translated = errors.to_llmctl_error(error)
    failure = translated or errors.internal_error(error)
    if app.debug and (translated is None or translated is not error):
        app.io.write_stderr(errors.format_traceback(error))
    text = (errors.format_json if errors.wants_json(arguments) else errors.format_text)(failure)
    app.io.write_stderr(safe_text(text) if app.io.stderr_tty else text)
    with suppress(LlmctlError):  # output written before the failure
        app.io.flush()
    return failure.exit_code
