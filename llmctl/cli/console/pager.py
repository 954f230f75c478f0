"""Show long output in a pager, as git does: ``$LLMCTL_PAGER``, ``$PAGER``, else ``less -FRX``; on a terminal only.

The pager starts with the first write. Notes and errors wait until it has ended: less keeps drawing meanwhile.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from shutil import which
from typing import Any, TextIO

#: As git sets it where the user has not: less ends at once if all fits on the screen, shows colors, and stays visible.
_LESS = "FRX"
#: What the shell returns for a command that it cannot find or run.
_NOT_RUN = (126, 127)
#: Limit of what is written again, if the shell could not run the pager.
_MAX_KEPT_BYTES = 1 << 20
_ESCAPE = re.compile(rb"\x1b\[[0-9;]*m")


class Pager:
    """The user's pager. With the ``size`` of a screen it starts when more than that is written."""

    def __init__(self, command: str, env: Mapping[str, str], size: os.terminal_size | None) -> None:
        self._command, self._env, self._size = command, env, size
        self._process: Any = None
        self._kept: list[bytes] = []
        self._kept_bytes = self._kept_rows = 0

    def write(self, data: bytes) -> bool:
        """Write to the pager; return False if the user has left it."""
        if self._kept_bytes < _MAX_KEPT_BYTES:
            self._kept.append(data)
            self._kept_bytes += len(data)
        if self._process is not None:
            return bool(self._process.write(data))
        self._kept_rows += _count_rows(data, self._size.columns) if self._size else 0
        if self._size and self._kept_rows < self._size.lines:
            return True
        from llmctl.engine.runtime import start_filter

        self._process = start_filter(self._command, {"LESS": _LESS, "LV": "-c", **self._env})
        return bool(self._process.write(b"".join(self._kept)))

    def close(self) -> bytes:
        """Wait until the user leaves the pager; return what the terminal must still get, if there was none to leave."""
        if self._process is None or self._process.finish() in _NOT_RUN:
            return b"".join(self._kept)
        return b""


def find_pager(env: Mapping[str, str], stdout: TextIO) -> Callable[[], Pager] | None:
    """Return what makes the user's pager; None for ``cat``, an empty one, and one that is not installed."""
    chosen = next((env[name] for name in ("LLMCTL_PAGER", "PAGER") if name in env), None)
    command = "less" if chosen is None else chosen.strip()
    if command in ("", "cat") or env.get("TERM", "dumb") == "dumb":
        return None
    try:
        program = shlex.split(command)[0]
    except (ValueError, IndexError):
        return None
    if which(program, path=env.get("PATH")) is None and "=" not in program:
        return None
    size = _measure_screen(stdout) if chosen is None and "LESS" not in env else None
    return partial(Pager, command, env, size)


def _measure_screen(stdout: TextIO) -> os.terminal_size:
    columns, lines = os.get_terminal_size(stdout.fileno())
    return os.terminal_size((columns or 80, lines or 24))


def _count_rows(data: bytes, columns: int) -> int:
    """Return how many rows of a screen the text takes at most."""
    lines = _ESCAPE.sub(b"", data).split(b"\n")
    return sum(1 + max(0, len(line.decode("utf-8", "replace")) - 1) // columns for line in lines[:-1]) + bool(lines[-1])
