"""The flags that ``chat``, ``run`` and ``agent run`` share, as typer's own options. Their values land in the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from typer.core import TyperOption

Command = TypeVar("Command", bound=Callable[..., Any])

#: Attribute of a command's function that says that it takes these flags.
FLAGS = "__asking__"


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
        _many("tool", "-T", "NAME[:PERMISSION]", "Tool that the model may use: automatic, user-permitted or denied."),
        _many("approve", None, "NAME", "Let this tool run without asking, for this turn."),
        _many("option", "-o", "K=V", "Option of the model, such as temperature=0.2."),
        _text("thinking", None, "EFFORT", "none, low, medium, high or a number of tokens."),
        _flag("show_thinking", None, "Print the thinking to stderr."),
        _text("schema", None, "FILE|JSON|DSL", "JSON Schema of the answer, such as 'name, age int, tags [str]'."),
        _text("fix", None, "N", "Send an answer that does not meet the schema back, N times at most.", int),
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
        _flag("detach", None, "Leave the turn to a job of its own and print its id."),
    ]


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


def defaults() -> dict[str, Any]:
    """Return the values of these flags where none is given."""
    return {
        str(option.name): [] if option.multiple else False if option.is_flag and option.name != "stdin" else None
        for option in asking_options()
    }
