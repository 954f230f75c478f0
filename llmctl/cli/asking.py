"""The flags that ``chat``, ``run`` and ``agent run`` share, and what they mean to the engine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from typer.core import TyperOption

from llmctl.cli.app import App
from llmctl.core import clock, jsontext
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.keyshapes import mask_keys
from llmctl.core.messages import File
from llmctl.engine.asking import Keep, Manner

Command = TypeVar("Command", bound=Callable[..., Any])

#: Attribute of a command's function that says that it takes these flags.
FLAGS = "__asking__"

_EFFORTS = ("none", "low", "medium", "high")
#: More seconds than anybody waits, and fewer than the system's clocks overflow at.
_LONGEST_S = 1e9
_KINDS = ("tool-calls", "requests", "network", "streams")


def asking(command: Command) -> Command:
    """Give a command the flags of this module; their values land in ``app.asking``."""
    command.__dict__[FLAGS] = True
    return command


def asking_options() -> list[TyperOption]:
    """Return the flags as typer's own options."""
    return [
        _text("model", "-m", "REF", "Connection, CONNECTION:MODEL, alias or model."),
        _text("connection", None, "NAME", "Connection to use."),
        _many("attach", "-a", "PATH|URL|-", "File to send along."),
        _many("option", "-o", "K=V", "Option of the model, such as temperature=0.2."),
        _text("thinking", None, "EFFORT", "none, low, medium, high or a number of tokens."),
        _flag("show_thinking", None, "Print the thinking to stderr."),
        _flag("extract", "-x", "Print the first fenced block alone."),
        _flag("no_stream", None, "Ask for the whole answer at once."),
        _text("output", None, "FILE", "Write the answer to a file, whole or not at all."),
        _flag("usage", "-u", "Print tokens, cost and time to stderr."),
        _many("metadata", None, "K=V|K:=JSON", "Keep this with the chat; a custom column is filled."),
        _many("field", None, "K=V", "Fill a custom column of the chat."),
        _many("reference", None, "K=ID", "Point from the chat to another record."),
        _text("tag", None, "T", "Mark the requests of this turn."),
        _text("no_persist", None, "KINDS", "Drop at the end: tool-calls, requests, network, streams."),
        _flag("rollback", None, "Remove a broken answer even if some text came."),
        _text("history", None, "N", "Send the last N turns only.", int),
        _text("max_steps", None, "N", "Stop after so many calls to the model. [20]", int),
        _text("timeout", None, "S", "Seconds for the whole turn.", float),
        _text("retries", None, "N", "Attempts after a failed one. [2]", int),
        _many("fallback", None, "REF", "Ask this one where the other cannot be reached or paid."),
        _text("wait", None, "S", "Seconds to wait for another job on the chat.", float),
        _stdin(),
        _flag("dry_run", None, "Print the request without its key; send nothing."),
    ]


def manner(app: App, settings: Mapping[str, Any]) -> Manner:
    """Return how the model is called: the flags, then the hub's settings, then what is built in."""
    flags = app.asking
    defaults = Manner()
    return Manner(
        options=pairs(flags["option"], "-o", typed=True),
        thinking=_thinking(flags["thinking"]),
        stream=not flags["no_stream"],
        timeout_s=_positive(flags["timeout"], "--timeout") or settings.get("timeout"),
        wait_s=_positive(flags["wait"] or None, "--wait") or 0.0,
        retries=_at_least(flags["retries"], 0, "--retries", settings.get("retries", defaults.retries)),
        max_steps=_at_least(flags["max_steps"], 1, "--max-steps", settings.get("max_steps", defaults.max_steps)),
        history=None if flags["history"] is None else _at_least(flags["history"], 0, "--history", 0),
    )


def keep(
    app: App, custom: Mapping[str, str], settings: Mapping[str, Any], *, name: str | None = None, log: bool = True
) -> Keep:
    """Return what is kept of the turn: flags, then settings; ``custom`` are the hub's own columns of chats."""
    flags = app.asking
    metadata = pairs(flags["metadata"], "--metadata")
    fields = pairs(flags["field"], "--field")
    for key in fields:
        if key not in custom:
            known = ", ".join(custom) or "none yet; add one with: llmctl init --field chats.NAME:TYPE"
            raise UsageError(f'no custom field "{key}" on chats', hint=f"there are: {known}")
    fields |= {key: metadata.pop(key) for key in list(metadata) if key in custom}
    return Keep(
        log=log,
        without=_kinds(flags["no_persist"]) | (set() if settings.get("stream.keep", True) else {"streams"}),
        rollback=flags["rollback"] or settings.get("rollback", False),
        name=name,
        metadata=metadata,
        references={key: str(value) for key, value in pairs(flags["reference"], "--reference").items()},
        fields={key: _column_value(key, value, custom[key]) for key, value in fields.items()},
        tag=flags["tag"],
    )


def pairs(given: Iterable[str], flag: str, *, typed: bool = False) -> dict[str, Any]:
    """Read ``K=V`` and ``K:=JSON``; with ``typed`` a V that is JSON (a number, true, a list) is taken as such."""
    found: dict[str, Any] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key.strip(":"):
            raise UsageError(f'"{flag} {mask_keys(item)}" is not K=V')
        if key.endswith(":"):
            found[key[:-1]] = _json(value, f"{flag} {key}=")
        else:
            found[key] = _guessed(value) if typed else value
    return found


def files(app: App) -> tuple[tuple[str, ...], bool]:
    """Return the attachments that are named, without ``-``, and whether ``-`` is among them."""
    named = tuple(app.asking["attach"])
    return tuple(name for name in named if name != "-"), "-" in named


def read_file(name: str) -> File:
    """Return an attachment: a URL as it is, a file with its content. Raises NotFoundError."""
    if name.startswith(("https://", "http://")):
        return File(_media_type(name, b""), url=name, name=os.path.basename(name))
    try:
        with open(name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise NotFoundError(f'cannot read "{name}": {error.strerror}') from error
    shown = os.path.basename(name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return File(_media_type(shown, data), data=data, name=shown)


def file_of(data: bytes) -> File:
    """Return an attachment that came by stdin."""
    return File(_media_type("", data), data=data, name=None)


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
)


def _media_type(name: str, data: bytes) -> str:
    """Tell the type by the content, then by the name; text that is UTF-8 is text."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12], "application/octet-stream")
    import mimetypes  # only for what the content does not tell

    guessed = mimetypes.guess_type(name.partition("?")[0])[0]
    if guessed or not data:
        return guessed or "application/octet-stream"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"


def _thinking(value: str | None) -> str | int | None:
    if value is None or value in _EFFORTS:
        return value
    if value.isdecimal():
        return int(value)
    raise UsageError(f'"--thinking {value}" is neither an effort nor a number', hint=f"{', '.join(_EFFORTS)} or TOKENS")


def _kinds(value: str | None) -> frozenset[str]:
    kinds = [kind.strip() for kind in (value or "").split(",") if kind.strip()]
    for kind in kinds:
        if kind not in _KINDS:
            raise UsageError(f'"--no-persist {kind}" is unknown', hint=f"there are {', '.join(_KINDS)}")
    return frozenset(kinds)


def _positive(value: float | None, flag: str) -> float | None:
    if value is not None and not 0 < value <= _LONGEST_S:
        raise UsageError(f'"{flag} {value:g}" is no number of seconds above 0')
    return value


def _at_least(value: int | None, least: int, flag: str, default: int) -> int:
    if value is None:
        return default
    if value < least:
        raise UsageError(f'"{flag} {value}" is less than {least}')
    return value


def _guessed(value: str) -> Any:
    try:
        return _loaded(value)
    except ValueError:
        return value


def _json(text: str, where: str) -> Any:
    try:
        return _loaded(text)
    except ValueError as error:
        raise UsageError(f'"{where}" holds no JSON: {error}') from error


def _loaded(text: str) -> Any:
    """Read JSON by its standard, which knows no NaN and no Infinity. Raises ValueError."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    return value


def _container(value: Any) -> str:
    """Return an object or array as such a column holds it; SQLite would make a number of ``"7"`` there."""
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict | list):
        raise ValueError("neither object nor array")
    return jsontext.dumps(found)


def _column_value(name: str, value: Any, kind: str) -> Any:
    """Return a value for a custom column of that declared type; raises UsageError where it does not fit."""
    try:
        match kind.upper():
            case "INTEGER":
                return int(value)
            case "REAL":
                return float(value)
            case "BOOLEAN":
                return {"true": 1, "1": 1, "yes": 1, "false": 0, "0": 0, "no": 0}[str(value).lower()]
            case "JSONB":
                return _container(value)
            case "DATETIME":
                return clock.stored(clock.parsed(str(value)))
            case _:
                return value if isinstance(value, str) else json.dumps(value)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f'"{value}" is no {kind.lower()} for field "{name}"') from error


def _text(name: str, short: str | None, metavar: str, help: str, kind: type = str) -> TyperOption:
    return _option(name, short, metavar=metavar, help=help, type=kind)


def _many(name: str, short: str | None, metavar: str, help: str) -> TyperOption:
    return _option(name, short, metavar=metavar, help=help, type=str, multiple=True)


def _flag(name: str, short: str | None, help: str) -> TyperOption:
    return _option(name, short, help=help, is_flag=True, default=False)


def _stdin() -> TyperOption:
    return TyperOption(
        param_decls=["stdin", "--stdin/--no-stdin"],
        default=None,
        is_flag=True,
        expose_value=False,
        callback=_keep_value,
        help="Read standard input, or never touch it.",
    )


def _option(name: str, short: str | None, **more: Any) -> TyperOption:
    declarations = [name, f"--{name.replace('_', '-')}", *([short] if short else [])]
    return TyperOption(param_decls=declarations, expose_value=False, callback=_keep_value, **more)


def _keep_value(ctx: Any, option: Any, value: Any) -> None:
    ctx.obj.asking[option.name] = list(value) if isinstance(value, list | tuple) else value
