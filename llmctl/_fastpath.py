"""The door: answers what is known beforehand from generated files, opens everything else only when it is needed."""

import os
import sys

#: Exact command lines and the generated file that answers each.
ANSWERS = {
    ("--help",): "cli/static/help.txt",
    ("-h",): "cli/static/help.txt",
    ("help",): "cli/static/help.txt",
    ("help", "--all"): "cli/static/help-all.txt",
    ("--version",): "cli/static/version.txt",
    ("-V",): "cli/static/version.txt",
    ("completion", "bash"): "_completions/llmctl.bash",
    ("completion", "zsh"): "_completions/_llmctl",
    ("completion", "fish"): "_completions/llmctl.fish",
}


def main() -> None:
    """Run the command line and leave; this does not return.

    ``os._exit``: all is written by then, and taking the interpreter apart would cost 15 % of a short command.
    """
    arguments = tuple(sys.argv[1:])
    if arguments in ANSWERS and _answer(ANSWERS[arguments]):
        os._exit(0)
    try:
        if arguments[:1] == ("--complete",):
            from llmctl.cli.completions.backend import main as complete

            complete(arguments[1:])
            os._exit(0)
        from llmctl.cli.main import main as run

        run()
    except KeyboardInterrupt:  # Ctrl-C before the handlers stood
        from llmctl.cli.console import signals

        signals.leave(signals.die(2))


def _answer(name: str) -> bool:
    """Write a generated file to stdout; False where that fails, so that the long way reports it."""
    text = generated(name)
    if text is None or sys.stdout is None:
        return False
    try:
        while text:
            text = text[os.write(1, text) :]
    except OSError:
        return False
    return True


def generated(name: str) -> bytes | None:
    """Return a generated file of :data:`ANSWERS`; None where the installation lacks it."""
    package = __file__.rpartition("/")[0]
    # A checkout keeps the completion scripts beside the package, a wheel inside it.
    for path in (f"{package}/{name}", f"{package}/../{name.removeprefix('_')}"):
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError:
            continue
    return None
