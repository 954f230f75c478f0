"""Describe commands for completion scripts: flags, arguments and the values they take."""

from __future__ import annotations

from typing import Any

from llmctl.cli import catalog, command_tree
from llmctl.cli.command_tree import global_options
from llmctl.cli.help import text as help_text
from llmctl.core.values import Value

#: The kind of hub record, by the metavar of an option or argument.
_HUB_KINDS = {
    "CHAT": "chat",
    "CONNECTION": "connection",
    "MODEL": "model",
    "REQUEST": "request",
    "JOB": "job",
    "THREAD": "thread",
    "MESSAGE": "message",
    "AGENT": "agent",
    "SESSION": "session",
    "TOOL": "tool",
    "INVOCATION": "invocation",
}
_FILE_METAVARS = ("PATH", "FILE", "FOLDER", "DB")
#: The kind of record ``REF`` refers to, by command group; by default the group's name.
_REF_KINDS = {"chats": "chat"}
#: The kind of record ``ID`` refers to, by command group, if different from ``REF``.
_ID_KINDS = {"tool": "invocation"}


class ValueSpec(Value):
    """Values to complete: ``words`` of a closed set, records of the ``hub``, a ``file``; none of them for any value."""

    words: tuple[str, ...] = ()
    hub: str = ""
    file: bool = False

    def __bool__(self) -> bool:
        return bool(self.words or self.hub or self.file)


class FlagSpec(Value):
    """An option. ``values`` is None for a switch."""

    names: tuple[str, ...]
    help: str
    metavar: str
    values: ValueSpec | None
    repeats: bool


class CommandSpec(Value):
    """A runnable command."""

    path: tuple[str, ...]
    flags: tuple[FlagSpec, ...]
    #: Name and values of each argument; the last one is repeatable if ``repeats``.
    arguments: tuple[tuple[str, ValueSpec], ...]
    repeats: bool


def command_specs() -> list[CommandSpec]:
    """Build every command and return its spec."""
    return [_command_spec(path) for path in catalog.command_paths()]


def global_flags() -> tuple[FlagSpec, ...]:
    return tuple(_flag_spec(option, "") for option in global_options())


def visible_subcommands(path: tuple[str, ...]) -> dict[str, str]:
    """Return the subcommands of a group (or the root) with their help, without low-level commands."""
    commands = catalog.subcommands(path)
    return {name: text for name, text in commands.items() if path or catalog.CATALOG[name].panel != catalog.PLUMBING}


def _command_spec(path: tuple[str, ...]) -> CommandSpec:
    params: list[Any] = list(command_tree.build_command(path).params)
    flags = tuple(_flag_spec(p, path[0]) for p in params if p.param_type_name == "option" and not p.hidden)
    arguments = [p for p in params if p.param_type_name == "argument"]
    kinds = tuple((p.human_readable_name, _value_spec(p, path[0])) for p in arguments)
    if path == ("help",):
        kinds = (("TOPIC", ValueSpec(words=(*visible_subcommands(()), *help_text.TOPICS))),)
    return CommandSpec(path, flags, kinds, bool(arguments) and arguments[-1].nargs == -1)


def _flag_spec(option: Any, group: str) -> FlagSpec:
    names = tuple(sorted((*option.opts, *option.secondary_opts), key=len))
    values = None if option.is_flag or option.count else _value_spec(option, group)
    metavar = (option.metavar or option.name.upper()).replace(":", " ")
    return FlagSpec(names, " ".join((option.help or "").split()), metavar, values, option.multiple or option.count)


def _value_spec(param: Any, group: str) -> ValueSpec:
    if choices := getattr(param.type, "choices", None):
        return ValueSpec(words=tuple(map(str, choices)))
    for word in (param.metavar or param.name.upper()).strip("[].…").replace("|", " ").split():
        if word in _FILE_METAVARS:
            return ValueSpec(file=True)
        if kind := _hub_kind(word, param, group):
            return ValueSpec(hub=kind)
    return ValueSpec()


def _hub_kind(word: str, param: Any, group: str) -> str | None:
    """Return the record kind of a metavar; ``REF`` and ``ID`` take it from the option's or the group's name."""
    if param.param_type_name == "option" and word in ("REF", "ID", "NAME"):
        return _HUB_KINDS.get(param.name.upper())
    if word == "ID" and group in _ID_KINDS:
        return _ID_KINDS[group]
    if word in ("REF", "ID"):
        return _HUB_KINDS.get(_REF_KINDS.get(group, group).upper())
    return _HUB_KINDS.get(word)
