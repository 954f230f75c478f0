"""Put text on the clipboard: through the terminal (OSC 52), which also works over ssh, and through the desktop."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from shutil import which
from typing import TYPE_CHECKING

from llmctl.core.errors import ConfigError
from llmctl.engine.runtime import run_program

if TYPE_CHECKING:
    from llmctl.cli.console.console import Streams

#: Limit of what terminals accept in one sequence: https://github.com/tmux/tmux/wiki/Clipboard
_MAX_SEQUENCE_BYTES = 100_000
#: A variable that is set where a program reaches a clipboard, and the program; None: macOS, which needs no variable.
_PROGRAMS: tuple[tuple[str | None, tuple[str, ...]], ...] = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("DISPLAY", ("xsel", "--clipboard", "--input")),
    (None, ("pbcopy",)),
)


def copy_text(io: Streams, env: Mapping[str, str], text: str) -> None:
    """Put a text on the clipboard; raise ConfigError where there is no way to.

    Whether a terminal knows OSC 52 cannot be asked, so a program of the desktop is used as well, where there is one.
    tmux drops the sequences of programs unless it is configured otherwise, but takes its own buffer.
    """
    command = find_program(env)
    if env.get("TMUX") and which("tmux", path=env.get("PATH")):
        command = command or ("tmux", "load-buffer", "-w", "-")
    sequence = build_sequence(env, text) if io.stdout_tty and env.get("TERM", "dumb") != "dumb" else ""
    if not (command or sequence):
        raise ConfigError(
            "no way to the clipboard", hint="write the text to a file instead: /save answer.md, or /code > code.txt"
        )
    if sequence:
        io.write(sequence)
        io.flush()
    if command:
        run_program(command, env=env, stdin=text.encode("utf-8", "replace"), timeout_s=10)


def find_program(env: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the program that puts its input on the clipboard of this desktop, or None."""
    for variable, command in _PROGRAMS:
        if (variable is None or env.get(variable)) and which(command[0], path=env.get("PATH")):
            return command
    return None


def build_sequence(env: Mapping[str, str], text: str) -> str:
    """Return the sequence that asks a terminal to take a text; empty if the text is too large for it."""
    data = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(data) > _MAX_SEQUENCE_BYTES:
        return ""
    sequence = f"\x1b]52;c;{data}\x07"
    if env.get("TMUX"):  # passed on to the terminal around it, where tmux allows that
        return f"\x1bPtmux;{sequence.replace(chr(27), chr(27) * 2)}\x1b\\"
    return sequence
