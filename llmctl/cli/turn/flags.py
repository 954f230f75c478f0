"""The flags shared by ``chat``, ``run`` and ``agent run``, as typer options. Their values go to ``app.turn_flags``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from typer.core import TyperOption

from llmctl.cli.app import App
from llmctl.cli.global_flags import HelpPanel

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])

#: Attribute of a command function that takes these flags.
TURN_FLAGS_ATTRIBUTE = "__turn_flags__"


def with_turn_flags(command: CommandFunction) -> CommandFunction:
    """Add the flags of this module to a command; their values go to ``app.turn_flags``."""
    command.__dict__[TURN_FLAGS_ATTRIBUTE] = True
    return command


def turn_options() -> list[TyperOption]:
    """Return the flags as typer options, grouped by help panel."""
    panels = {
        HelpPanel.INPUT: _input_options(),
        HelpPanel.MODEL: _model_options(),
        HelpPanel.OUTPUT: _output_options(),
        HelpPanel.TOOLS: _tool_options(),
        HelpPanel.CONVERSATION: _conversation_options(),
        HelpPanel.LIMITS: _limit_options(),
        HelpPanel.STORAGE: _storage_options(),
    }
    for panel, options in panels.items():
        for option in options:
            option.rich_help_panel = panel
    return [option for options in panels.values() for option in options]


def _input_options() -> list[TyperOption]:
    return [
        repeatable_option("attach", "-a", "PATH|URL|-", "File or URL to attach; - attaches stdin. Repeatable."),
        _stdin_option(),
    ]


def _model_options() -> list[TyperOption]:
    return [
        value_option("model", "-m", "REF", "Model to use: MODEL, CONNECTION:MODEL, a connection or an alias."),
        value_option("connection", None, "NAME", "Connection to use."),
        repeatable_option("option", "-o", "K=V", "Model option, such as temperature=0.2. Repeatable."),
        value_option("thinking", None, "EFFORT", "Thinking effort: none, low, medium, high or a number of tokens."),
        repeatable_option("fallback", None, "REF", "Model to try if this one is unavailable or unpaid. Repeatable."),
    ]


def _output_options() -> list[TyperOption]:
    return [
        value_option("schema", None, "FILE|JSON|DSL", "Require JSON of this schema, such as 'name, age int'."),
        value_option("fix", None, "N", "Ask the model up to N times to correct invalid JSON.", int),
        switch_option("extract", "-x", "Print only the first fenced code block."),
        switch_option("show_thinking", None, "Print the model's thinking to stderr."),
        switch_option("no_stream", None, "Request the whole answer at once."),
        value_option("output", None, "FILE", "Write the answer to FILE when it is complete."),
        switch_option("usage", "-u", "Print tokens, cost and time to stderr."),
        switch_option("dry_run", None, "Print the request without the API key; send nothing."),
        switch_option("detach", None, "Run in the background; print the job id."),
    ]


def _tool_options() -> list[TyperOption]:
    return [
        repeatable_option(
            "tool", "-T", "NAME[:PERMISSION]", "Tool to offer: automatic, user-permitted or denied. Repeatable."
        ),
        repeatable_option("approve", None, "NAME", "Run this tool without asking, in this command. Repeatable."),
    ]


def _conversation_options() -> list[TyperOption]:
    return [value_option("history", None, "N", "Send only the last N turns.", int)]


def _limit_options() -> list[TyperOption]:
    return [
        value_option("max_steps", None, "N", "Maximum number of model calls in this turn. [20]", int),
        value_option("max_cost", None, "USD", "Refuse any request that could push the total above USD.", float),
        value_option("timeout", None, "SECONDS", "Time limit for the whole turn.", float),
        value_option("retries", None, "N", "Retries after a failed attempt. [2]", int),
        value_option("wait", None, "SECONDS", "How long to wait for another process to release the chat.", float),
    ]


def _storage_options() -> list[TyperOption]:
    return [
        repeatable_option("metadata", None, "K=V|K:=JSON", "Attach metadata to the chat, or fill that custom column."),
        repeatable_option("field", None, "K=V", "Fill a custom column of the chat. Repeatable."),
        repeatable_option("reference", None, "K=ID", "Link the chat to another record. Repeatable."),
        value_option("tag", None, "TEXT", "Tag the requests of this turn."),
        value_option("no_persist", None, "KINDS", "Delete afterwards: tool-calls, requests, network, streams."),
        switch_option("rollback", None, "Discard an incomplete answer instead of keeping its text."),
    ]


def value_option(name: str, short: str | None, metavar: str, help: str, kind: type = str) -> TyperOption:
    """Return a flag with one value."""
    return _option(name, short, metavar=metavar, help=help, type=kind)


def repeatable_option(name: str, short: str | None, metavar: str, help: str) -> TyperOption:
    """Return a flag that may be repeated."""
    return _option(name, short, metavar=metavar, help=help, type=str, multiple=True)


def switch_option(name: str, short: str | None, help: str) -> TyperOption:
    """Return a flag without a value."""
    return _option(name, short, help=help, is_flag=True, default=False)


def _stdin_option() -> TyperOption:
    return TyperOption(
        param_decls=["stdin", "--stdin/--no-stdin"],
        default=None,
        is_flag=True,
        expose_value=False,
        callback=_store_value,
        help="Read stdin, or never read it. [automatic]",
    )


def _option(name: str, short: str | None, **more: Any) -> TyperOption:
    declarations = [name, f"--{name.replace('_', '-')}", *([short] if short else [])]
    return TyperOption(param_decls=declarations, expose_value=False, callback=_store_value, **more)


def _store_value(ctx: Any, option: Any, value: Any) -> None:
    ctx.obj.turn_flags[option.name] = list(value) if isinstance(value, list | tuple) else value


def default_turn_flags() -> dict[str, Any]:
    """Return the values of these flags when none is given."""
    return {
        str(option.name): [] if option.multiple else False if option.is_flag and option.name != "stdin" else None
        for option in turn_options()
    }


def continue_turn(app: App, chat_id: str, *, detach: bool = False) -> None:
    """Resume the unfinished turn of a chat, like ``llmctl chat --chat REF``; ``detach`` runs it as a background job."""
    if detach:
        from llmctl.cli import background

        words = [*background.SELF_COMMAND, "--db", app.hub_path, "chat", "--chat", chat_id, "--no-stdin"]
        background.start_job(app, background.parse_command(app, words, "chat"))
        return
    app.turn_flags = {**default_turn_flags(), "stdin": False}
    app.run_chat(chat=chat_id)
