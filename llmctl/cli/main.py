"""The only catcher: runs a command line and turns whatever happens into stderr lines, an exit code or a death."""

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
    """Run ``sys.argv`` and leave with the exit code, or die of the signal that ended it."""
    # Thousands of objects are made while modules load, none of them garbage: looking costs 7 % of the start-up.
    gc.set_threshold(50_000)
    try:
        io = process_streams()
        signals.install()
        signals.leave(run(sys.argv[1:], os.environ, io))
    except Signalled as signalled:
        signals.leave(signals.die(signalled.signum))


def run(arguments: Sequence[str], env: Mapping[str, str], io: Streams) -> int:
    """Run a command line; return its exit code. Raises nothing but :class:`Signalled`, when all is unwound."""
    app = App(env, io, arguments)
    try:
        with app:
            code = _execute(app, arguments)
            io.flush()
            return code
    except (Signalled, KeyboardInterrupt, BrokenPipeError) as end:
        raise _signalled(end) from end
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        if isinstance(error.__cause__, Signalled):  # Python wraps what is raised while a class is made
            raise error.__cause__ from error
        return _report(error, app, arguments)


def _execute(app: App, arguments: Sequence[str]) -> int:
    from llmctl.cli import command_tree  # typer: 45 ms, after the signal handlers stand

    return command_tree.execute(app, arguments)


def _signalled(end: BaseException) -> Signalled:
    if isinstance(end, Signalled):
        return end
    return Signalled(SIGINT if isinstance(end, KeyboardInterrupt) else SIGPIPE)


def _report(error: BaseException, app: App, arguments: Sequence[str]) -> int:
    from llmctl.cli import errors
    from llmctl.cli.console.terminal import safe_text

    known = errors.as_llmctl(error)
    failure = known or errors.internal_error(error)
    if app.debug and (known is None or known is not error):
        app.io.say(errors.trace(error))
    text = (errors.json_form if errors.wants_json(arguments) else errors.text_form)(failure)
    app.io.say(safe_text(text) if app.io.stderr_tty else text)
    with suppress(LlmctlError):  # what was printed before the failure
        app.io.flush()
    return failure.exit_code
