"""Foreign exceptions as our own family, and how a failure looks on stderr."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from llmctl.core.errors import LlmctlError, StorageError, UsageError

_EXTRA = "got unexpected extra argument(s) ("
_STORAGE = {
    "SQLITE_FULL": ("the disk is full", "free some space; the hub itself is intact"),
    "SQLITE_READONLY": ("the hub is read-only", "check its permissions and its folder's, or choose another with --db"),
    "SQLITE_CANTOPEN": ("the hub cannot be opened", "check that its folder exists and can be written to"),
    "SQLITE_CORRUPT": ("the hub is damaged", "see llmctl db check; llmctl db restore puts a backup in its place"),
    "SQLITE_NOTADB": ("the file is no SQLite database", "choose another with --db or LLMCTL_DB"),
    "SQLITE_BUSY": ("the hub is locked by another process for too long", "try again; llmctl doctor names who holds it"),
    "SQLITE_LOCKED": ("the hub is locked", "try again"),
    "SQLITE_IOERR": ("the hub's disk gives errors", "check the disk; llmctl db check tells what is still whole"),
    "SQLITE_PERM": ("the hub may not be accessed", "check its permissions"),
    "SQLITE_TOOBIG": ("a value is too large for the hub", None),
}


def as_llmctl(error: BaseException) -> LlmctlError | None:
    """Return the error of our family that says the same; None for what nobody foresaw."""
    if isinstance(error, LlmctlError):
        return error
    if isinstance(getattr(error, "sqlite_errorname", None), str):
        return _storage_error(error)
    if hasattr(error, "format_message"):
        return usage_error(error)
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return UsageError("an argument is not valid UTF-8", hint="only file names may hold such bytes")
    return None


def usage_error(error: Any) -> UsageError:
    """Return what typer's parser found, in our manner: lower case, values quoted with ``"``, a hint."""
    kind = type(error).__name__
    option = getattr(error, "option_name", "")
    command = error.ctx.command_path if getattr(error, "ctx", None) else "llmctl COMMAND"
    hint = f'see "{command} --help"'
    if kind == "NoSuchOption":
        near = ", ".join(error.possibilities or ())
        return UsageError(f'no option "{option}"', hint=f"did you mean {near}?" if near else hint)
    if kind == "BadOptionUsage":
        wrong = "takes no value" if "not take" in error.message else "needs a value"
        return UsageError(f'option "{option}" {wrong}', hint=hint)
    if kind == "MissingParameter" and error.param is not None:
        what = f"missing {error.param_type or error.param.param_type_name}"
        return UsageError(f"{what} {_name(error.param)}", hint=hint)
    message = _lowered(error.format_message())
    if message.startswith(_EXTRA):
        return UsageError(f'unexpected argument "{message[len(_EXTRA) : -1]}"', hint=hint)
    return UsageError(message, hint=hint)


def text_form(error: LlmctlError) -> str:
    """Return the lines for a person."""
    hints = (error.hint or "").splitlines()
    return "".join([f"llmctl: {error.message}\n", *(f"hint: {line}\n" for line in hints)])


def json_form(error: LlmctlError) -> str:
    """Return the line for a program."""
    from llmctl.core import stored_json

    fields = ("code", "reason", "message", "hint", "retryable", "chat_id", "request_id")
    return stored_json.dumps({"error": {name: getattr(error, name) for name in fields}}) + "\n"


def internal_error(error: BaseException) -> LlmctlError:
    """Return the error for a bug of ours, on one line."""
    detail = " ".join(str(error).split())
    name = type(error).__name__
    return LlmctlError(
        f"internal error: {name}: {detail}" if detail else f"internal error: {name}",
        hint="run it again with --debug for the traceback",
        reason="internal",
    )


def trace(error: BaseException) -> str:
    """Return the traceback for ``--debug``."""
    return "".join(traceback.format_exception(error))


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether the command line asks for JSON, whatever else is wrong with it."""
    own = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return any(argument in ("--json", "--jsonl") for argument in own)


def _storage_error(error: Any) -> StorageError:
    name: str = error.sqlite_errorname
    for known, (message, hint) in _STORAGE.items():
        if name == known or name.startswith(f"{known}_"):
            return StorageError(message, hint=hint, reason=name.lower())
    return StorageError(f"the hub cannot be used: {error}", hint="see llmctl doctor", reason=name.lower())


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper()).rstrip(".…").strip("[]")


def _lowered(message: str) -> str:
    message = message.strip().rstrip(".").replace("'", '"')
    return message[:1].lower() + message[1:]
