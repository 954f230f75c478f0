"""Run a program for a tool within its limits, and turn its output and exit status into a result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmctl.core.errors import RejectedError, UnavailableError
from llmctl.core.stored_values import dumps
from llmctl.core.tools import Ran
from llmctl.tools import Context, process
from llmctl.tools.process import ForegroundOptions

#: Output size at which a program is killed.
_RUNAWAY_BYTES = 16_000_000
_MAX_ERROR_CHARS = 2_000
#: Output limit for workers: they print JSON, which is useless when truncated.
_MAX_ANSWER_BYTES = 8_000_000
#: Time between SIGTERM and SIGKILL for a worker.
_GRACE_S = 0.5


def run_program(argv: str | Sequence[str], context: Context, *, stdin: bytes = b"") -> process.CompletedProgram:
    """Run a program within its limits. Raises UnavailableError on timeout, RejectedError for too much output."""
    return _require_within_limits(
        process.run_program(
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


def run_worker(argv: Sequence[str], context: Context, arguments: Mapping[str, Any]) -> tuple[Any, str]:
    """Run a worker that calls user code; return its answer and its error output.

    The answer is the JSON on stdout, or None. What the user code prints goes to the log.
    """
    completed = _require_within_limits(
        process.run_program(
            argv,
            env=context.env,
            stdin=encode_arguments(arguments),
            cwd=context.folder,
            timeout_s=context.timeout_s,
            max_output_bytes=_MAX_ANSWER_BYTES,
            kill_beyond_bytes=_RUNAWAY_BYTES,
            foreground=ForegroundOptions(context.log, grace_s=_GRACE_S),
        ),
        context,
    )
    stderr = decode_output(completed.stderr).strip()[-_MAX_ERROR_CHARS:]
    try:
        return json.loads(completed.stdout), stderr
    except ValueError:
        return None, stderr or f"exit status {completed.exit_status}"


def worker_output(answer: tuple[Any, str], context: Context, *, may_halt: bool) -> Ran:
    """Return a worker's answer as a tool result; it has a key ``result``, ``printed``, ``halt`` or ``error``."""
    result, stderr = answer
    if not isinstance(result, dict):
        return Ran(stderr, stderr.splitlines()[-1] if stderr else "no answer")
    if "error" in result:
        return Ran(result["error"], result["error"])
    if "halt" in result:
        return Ran(str(result["halt"]), halts=True)
    value = result.get("result", result.get("printed"))
    if may_halt and isinstance(value, dict) and value.get("halt") is True:
        return Ran(str(value.get("content")), halts=True)
    text = "" if value is None else value if isinstance(value, str) else dumps(value)
    return Ran(truncate(text.removesuffix("\n"), context.most_bytes))


def _require_within_limits(completed: process.CompletedProgram, context: Context) -> process.CompletedProgram:
    if completed.timed_out:
        raise UnavailableError(f"no result within {format_timeout(context.timeout_s)}", reason="timeout")
    if completed.exceeded_output:
        raise RejectedError(f"killed: printed more than {_RUNAWAY_BYTES // 1_000_000} MB", reason="output")
    return completed


def program_output(completed: process.CompletedProgram, context: Context) -> Ran:
    """Return the output of a finished program; on failure the exit status and stderr are added."""
    stdout = truncate(decode_output(completed.stdout), context.most_bytes)
    if not completed.exit_status:
        return Ran(stdout, exit_status=0)
    stderr = decode_output(completed.stderr).strip()[-_MAX_ERROR_CHARS:]
    error = f"exit status {completed.exit_status}" + (f": {stderr}" if stderr else "")
    return Ran(f"{stdout}\n{error}" if stdout.strip() else error, error, completed.exit_status)


def truncate(text: str, max_bytes: int) -> str:
    """Return at most ``max_bytes`` of a text, with a note if something was cut."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= max_bytes:
        return text
    return raw[:max_bytes].decode("utf-8", "ignore") + f"\n[cut after {max_bytes} bytes]"


def format_timeout(timeout_s: float) -> str:
    """Format a time limit, rounded to 0.1 s: it may be what was left of a longer one."""
    return f"{max(0.1, round(timeout_s, 1)):g} s"


def decode_output(data: bytes) -> str:
    return data.decode("utf-8", "replace").removesuffix("\n")


def encode_arguments(arguments: Mapping[str, object]) -> bytes:
    return (dumps(dict(arguments)) + "\n").encode("utf-8", "replace")
