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
        text("model", "-m", "REF", "Connection, CONNECTION:MODEL, alias or model."),
        text("connection", None, "NAME", "Connection to use."),
        many("attach", "-a", "PATH|URL|-", "File to send along."),
        many("tool", "-T", "NAME[:PERMISSION]", "Tool that the model may use: automatic, user-permitted or denied."),
        many("approve", None, "NAME", "Let this tool run without asking, for this turn."),
        many("option", "-o", "K=V", "Option of the model, such as temperature=0.2."),
        text("thinking", None, "EFFORT", "none, low, medium, high or a number of tokens."),
        flag("show_thinking", None, "Print the thinking to stderr."),
        text("schema", None, "FILE|JSON|DSL", "JSON Schema of the answer, such as 'name, age int, tags [str]'."),
        text("fix", None, "N", "Send an answer that does not meet the schema back, N times at most.", int),
        flag("extract", "-x", "Print the first fenced block alone."),
        flag("no_stream", None, "Ask for the whole answer at once."),
        text("output", None, "FILE", "Write the answer to a file, whole or not at all."),
        flag("usage", "-u", "Print tokens, cost and time to stderr."),
        many("metadata", None, "K=V|K:=JSON", "Keep this with the chat; a custom column is filled."),
        many("field", None, "K=V", "Fill a custom column of the chat."),
        many("reference", None, "K=ID", "Point from the chat to another record."),
        text("tag", None, "T", "Mark the requests of this turn."),
        text("no_persist", None, "KINDS", "Drop at the end: tool-calls, requests, network, streams."),
        flag("rollback", None, "Remove a broken answer even if some text came."),
        text("history", None, "N", "Send the last N turns only.", int),
        text("max_steps", None, "N", "Stop after so many calls to the model. [20]", int),
        text("max_cost", None, "USD", "Send nothing that may make all this cost more.", float),
        text("timeout", None, "S", "Seconds for the whole turn.", float),
        text("retries", None, "N", "Attempts after a failed one. [2]", int),
        many("fallback", None, "REF", "Ask this one where the other cannot be reached or paid."),
        text("wait", None, "S", "Seconds to wait for another job on the chat.", float),
        _stdin(),
        flag("dry_run", None, "Print the request without its key; send nothing."),
        flag("detach", None, "Leave the turn to a job of its own and print its id."),
    ]


def text(name: str, short: str | None, metavar: str, help: str, kind: type = str) -> TyperOption:
    """Return a flag with one value."""
    return _option(name, short, metavar=metavar, help=help, type=kind)


def many(name: str, short: str | None, metavar: str, help: str) -> TyperOption:
    """Return a flag that may be given again."""
    return _option(name, short, metavar=metavar, help=help, type=str, multiple=True)


def flag(name: str, short: str | None, help: str) -> TyperOption:
    """Return a flag without a value."""
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
