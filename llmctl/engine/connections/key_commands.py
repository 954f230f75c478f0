"""Keys from commands, such as those of password managers. Run as git runs its credential helpers: by the shell."""

from __future__ import annotations

from collections.abc import Mapping

from llmctl.core.errors import ConfigError
from llmctl.tools import process

TIMEOUT_S = 30.0


def read(command: str, env: Mapping[str, str], home: str) -> tuple[str, str | None]:
    """Return the first line that a command prints. What it says on stderr is in the error if it fails."""
    done = process.run(command, env=env, timeout_s=TIMEOUT_S, max_output_bytes=65536)
    if done.timed_out:
        raise ConfigError(f'the key command "{command}" took longer than {TIMEOUT_S:g} s', reason="no_key")
    if done.exit_status:
        said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
        raise ConfigError(
            f'the key command "{command}" failed with status {done.exit_status}' + (f": {said}" if said else ""),
            reason="no_key",
        )
    line, _, _ = done.stdout.partition(b"\n")
    return line.decode(errors="replace").strip(), None
