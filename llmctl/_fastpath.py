"""Entry point: answers ``--help``, ``--version`` and completion scripts from generated files, without imports."""

import os
import sys

#: Exact command lines and the generated file with the answer.
STATIC_ANSWERS = {
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
    """Run the command line and exit; does not return.

    ``os._exit``: all output is written, and finalizing the interpreter costs 15 % of a short command.
    """
    arguments = tuple(sys.argv[1:])
    if arguments in STATIC_ANSWERS and _write_static(STATIC_ANSWERS[arguments]):
        os._exit(0)
    if sys.platform == "win32":
        from llmctl import UNSUPPORTED_SYSTEM

        sys.exit(f"{UNSUPPORTED_SYSTEM}\nhint: run it in WSL: https://learn.microsoft.com/windows/wsl")
    try:
        if arguments[:1] == ("--complete",):
            from llmctl.cli.completions.backend import main as complete

            complete(arguments[1:])
            os._exit(0)
        from llmctl.cli.main import main as run

        run()
    except KeyboardInterrupt:  # Ctrl-C before the signal handlers are installed
        from llmctl.cli.main import die_by_signal, exit_now

        exit_now(die_by_signal(2))


def _write_static(name: str) -> bool:
    """Write a generated file to stdout; False on failure, so that the regular path reports it."""
    text = read_static(name)
    if text is None or sys.stdout is None:
        return False
    try:
        if os.isatty(1) and text.count(b"\n") >= os.get_terminal_size(1).lines > 0:
            return False  # needs a pager
        while text:
            text = text[os.write(1, text) :]
    except OSError:
        return False
    return True


def read_static(name: str) -> bytes | None:
    """Return a generated file of :data:`STATIC_ANSWERS`; None if it is not installed."""
    package = __file__.rpartition("/")[0]
    # In a checkout the completion scripts are next to the package, in a wheel inside it.
    for path in (f"{package}/{name}", f"{package}/../{name.removeprefix('_')}"):
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError:
            continue
    return None
