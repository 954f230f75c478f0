"""What every tool that is a program shares: how it is run within its limits, and what its end means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmctl.core.errors import RejectedError, UnavailableError
from llmctl.core.jsontext import dumps
from llmctl.core.tools import Ran
from llmctl.tools import Context, process

#: Bytes after which a program that goes on printing is ended.
_RUNAWAY_BYTES = 16_000_000
_MOST_ERROR_CHARACTERS = 2_000


def run(
    argv: str | Sequence[str], context: Context, *, stdin: bytes = b"", folder: str | None = None, most: int = 0
) -> process.Completed:
    """Run a program within its limits. Raises UnavailableError where its time is over, RejectedError for a flood."""
    done = process.run(
        argv,
        env=context.env,
        stdin=stdin,
        cwd=folder or context.folder,
        timeout_s=context.timeout_s,
        max_output_bytes=max(most, context.most_bytes),
        kill_beyond_bytes=_RUNAWAY_BYTES,
        on_output=context.log,
    )
    if done.timed_out:
        raise UnavailableError(f"no result within {context.timeout_s:g} s", reason="timeout")
    if done.ran_away:
        raise RejectedError(f"ended: it printed more than {_RUNAWAY_BYTES // 1_000_000} MB", reason="output")
    return done


def ran(done: process.Completed, context: Context) -> Ran:
    """Return what a program that ended gave: what it printed, or why it failed with what it printed."""
    said = cut(text_of(done.stdout), context.most_bytes)
    if not done.exit_status:
        return Ran(said, exit_status=0)
    complaint = text_of(done.stderr).strip()[-_MOST_ERROR_CHARACTERS:]
    error = f"exit status {done.exit_status}" + (f": {complaint}" if complaint else "")
    return Ran(f"{said}\n{error}" if said.strip() else error, error, done.exit_status)


def cut(text: str, most_bytes: int) -> str:
    """Return a text that is not longer than that; where something went, it says so."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most_bytes:
        return text
    return raw[:most_bytes].decode("utf-8", "ignore") + f"\n[cut after {most_bytes} bytes]"


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace").removesuffix("\n")


def as_stdin(arguments: Mapping[str, object]) -> bytes:
    return (dumps(dict(arguments)) + "\n").encode("utf-8", "replace")
