"""What every tool that is a program shares: how it is run within its limits, and what its end means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmctl.core.errors import RejectedError, UnavailableError
from llmctl.core.stored_json import dumps
from llmctl.core.tools import Ran
from llmctl.tools import Context, process
from llmctl.tools.process_io import Guest

#: Bytes after which a program that goes on printing is ended.
_RUNAWAY_BYTES = 16_000_000
_MOST_ERROR_CHARACTERS = 2_000


#: Bytes of an answer that a child of ours gives, which is JSON and so of no use when it is cut.
_MOST_ANSWER_BYTES = 8_000_000
#: Seconds that a child gets to end by itself when its time is over.
_GRACE_S = 0.5


def run(argv: str | Sequence[str], context: Context, *, stdin: bytes = b"") -> process.Completed:
    """Run a program within its limits. Raises UnavailableError where its time is over, RejectedError for a flood."""
    return _in_bounds(
        process.run(
            argv,
            env=context.env,
            stdin=stdin,
            cwd=context.folder,
            timeout_s=context.timeout_s,
            max_output_bytes=context.most_bytes + 1,
            kill_beyond_bytes=_RUNAWAY_BYTES,
            on_output=context.log,
        ),
        context,
    )


def run_child(argv: Sequence[str], context: Context, arguments: Mapping[str, Any]) -> tuple[Any, str]:
    """Run a program of ours that calls code of the user's; return what it answers and what it complains of.

    The answer is the JSON on stdout, None where it gave none; what the code prints goes to the log.
    """
    done = _in_bounds(
        process.run(
            argv,
            env=context.env,
            stdin=as_stdin(arguments),
            cwd=context.folder,
            timeout_s=context.timeout_s,
            max_output_bytes=_MOST_ANSWER_BYTES,
            kill_beyond_bytes=_RUNAWAY_BYTES,
            guest=Guest(context.log, grace_s=_GRACE_S),
        ),
        context,
    )
    complaint = text_of(done.stderr).strip()[-_MOST_ERROR_CHARACTERS:]
    try:
        return json.loads(done.stdout), complaint
    except ValueError:
        return None, complaint or f"exit status {done.exit_status}"


def returned(answer: tuple[Any, str], context: Context, *, may_halt: bool) -> Ran:
    """Return what the answer of such a program gives: ``result``, ``printed``, ``halt`` or ``error``."""
    found, complaint = answer
    if not isinstance(found, dict):
        return Ran(complaint, complaint.splitlines()[-1] if complaint else "it gave no answer")
    if "error" in found:
        return Ran(found["error"], found["error"])
    if "halt" in found:
        return Ran(str(found["halt"]), halts=True)
    value = found.get("result", found.get("printed"))
    if may_halt and isinstance(value, dict) and value.get("halt") is True:
        return Ran(str(value.get("content")), halts=True)
    text = "" if value is None else value if isinstance(value, str) else dumps(value)
    return Ran(cut(text.removesuffix("\n"), context.most_bytes))


def _in_bounds(done: process.Completed, context: Context) -> process.Completed:
    if done.timed_out:
        raise UnavailableError(f"no result within {seconds(context.timeout_s)}", reason="timeout")
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


def seconds(number: float) -> str:
    """Return a time as people say it: ``60 s``, ``0.5 s``."""
    return f"{max(0.1, round(number, 1)):g} s"


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace").removesuffix("\n")


def as_stdin(arguments: Mapping[str, object]) -> bytes:
    return (dumps(dict(arguments)) + "\n").encode("utf-8", "replace")
