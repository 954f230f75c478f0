"""Translate foreign exceptions to LlmctlError and format errors for stderr."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from llmctl.core.errors import LlmctlError, StorageError, UsageError

_EXTRA_ARGUMENTS = "got unexpected extra argument(s) ("
_STORAGE_ERRORS = {
    "SQLITE_FULL": ("the disk is full", "free some space; the hub itself is intact"),
    "SQLITE_READONLY": (
        "the hub is read-only",
        "check the permissions of the file and its folder, or pass another with --db",
    ),
    "SQLITE_CANTOPEN": ("the hub cannot be opened", "check that its folder exists and is writable"),
    "SQLITE_CORRUPT": ("the hub is damaged", "check it with llmctl db check; restore a backup with llmctl db restore"),
    "SQLITE_NOTADB": ("the file is not an SQLite database", "pass another with --db or LLMCTL_DB"),
    "SQLITE_BUSY": (
        "timed out waiting for another process to unlock the hub",
        "try again; llmctl doctor shows who holds it",
    ),
    "SQLITE_LOCKED": ("the hub is locked", "try again"),
    "SQLITE_IOERR": ("I/O error on the hub's disk", "check the disk, then run llmctl db check"),
    "SQLITE_PERM": ("permission denied for the hub", "check its permissions"),
    "SQLITE_TOOBIG": ("a value is too large for the hub", None),
}


def to_llmctl_error(error: BaseException) -> LlmctlError | None:
    """Return the matching LlmctlError; None for an unexpected exception."""
    if isinstance(error, LlmctlError):
        return error
    if isinstance(getattr(error, "sqlite_errorname", None), str):
        return _storage_error(error)
    if hasattr(error, "format_message"):
        return from_parser_error(error)
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return UsageError("an argument is not valid UTF-8", hint="only file names may contain such bytes")
    return None


def from_parser_error(error: Any) -> UsageError:
    """Return a parser error of typer in house style: lower case, values in double quotes, a hint."""
    error_name = type(error).__name__
    option = getattr(error, "option_name", "")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "llmctl"
    hint = f'see "{command} --help"'
    if error_name == "NoSuchOption":
        similar = ", ".join(_find_similar_options(error, option))
        return UsageError(f'no option "{option}"', hint=f"did you mean {similar}?" if similar else hint)
    if error_name == "BadOptionUsage":
        problem = "takes no value" if "not take" in error.message else "requires a value"
        return UsageError(f'option "{option}" {problem}', hint=hint)
    if error_name == "MissingParameter" and error.param is not None:
        kind = error.param_type or error.param.param_type_name
        return UsageError(f"missing {kind} {_parameter_name(error.param)}", hint=hint)
    message = _normalize_message(error.format_message())
    if message.startswith(_EXTRA_ARGUMENTS):
        return UsageError(f'unexpected argument "{message[len(_EXTRA_ARGUMENTS) : -1]}"', hint=hint)
    return UsageError(message, hint=hint)


def _find_similar_options(error: Any, option: str) -> list[str]:
    """Return the options that a misspelled one may mean: similar names, or the same letter in the other case."""
    near = [name for name in error.possibilities or () if name not in ("--help", "--version")]
    params = error.ctx.command.params if getattr(error, "ctx", None) else []
    letters = [name for param in params for name in param.opts if name == option.swapcase()]
    return near or letters


def format_text(error: LlmctlError) -> str:
    """Return the error and its hints as lines for people."""
    hints = (error.hint or "").splitlines()
    return "".join([f"llmctl: {error.message}\n", *(f"hint: {line}\n" for line in hints)])


def format_json(error: LlmctlError) -> str:
    """Return the error as one JSON line for programs."""
    from llmctl.core import stored_values

    return stored_values.dumps(error_object(error)) + "\n"


def error_object(error: LlmctlError) -> dict[str, Any]:
    """Return the error as a JSON object."""
    fields = ("code", "reason", "message", "hint", "retryable", "chat_id", "request_id")
    return {"error": {name: getattr(error, name) for name in fields}}


def internal_error(error: BaseException) -> LlmctlError:
    """Return a one-line error for an unexpected exception."""
    detail = " ".join(str(error).split())
    name = type(error).__name__
    return LlmctlError(
        f"internal error: {name}: {detail}" if detail else f"internal error: {name}",
        hint="run again with --debug to see the traceback",
        reason="internal",
    )


def format_traceback(error: BaseException) -> str:
    """Return the traceback for ``--debug``."""
    return "".join(traceback.format_exception(error))


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether the command line has ``--json`` or ``--jsonl``; it may be invalid otherwise."""
    flags = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return any(argument in ("--json", "--jsonl") for argument in flags)


def _storage_error(error: Any) -> StorageError:
    name: str = error.sqlite_errorname
    for code, (message, hint) in _STORAGE_ERRORS.items():
        if name == code or name.startswith(f"{code}_"):
            return StorageError(message, hint=hint, reason=name.lower())
    return StorageError(f"cannot use the hub: {error}", hint="run: llmctl doctor", reason=name.lower())


def _parameter_name(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper()).rstrip(".…").strip("[]")


def _normalize_message(message: str) -> str:
    message = message.strip().rstrip(".").replace("'", '"')
    return message[:1].lower() + message[1:]
