"""What a shell has to know of each command: its flags, what they take, what its arguments are."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmctl.cli import catalog, command_tree
from llmctl.cli.global_flags import global_options
from llmctl.cli.help import text as help_text

#: What a word names, by the metavar of its option or argument.
_HUB = {
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
_FILES = ("PATH", "FILE", "FOLDER", "DB")
#: What ``REF`` names, by the group it stands in.
_GROUPS = {"chats": "chat"}
#: What ``ID`` names there, where that is something else.
_IDS = {"tool": "invocation"}


class Values(NamedTuple):
    """What may stand somewhere: ``words`` of a closed set, records of the ``hub``, a ``file``, or anything."""

    words: tuple[str, ...] = ()
    hub: str = ""
    file: bool = False

    def __bool__(self) -> bool:
        return bool(self.words or self.hub or self.file)


class Flag(NamedTuple):
    """An option. ``values`` is None for a switch."""

    names: tuple[str, ...]
    help: str
    metavar: str
    values: Values | None
    repeats: bool


class Spec(NamedTuple):
    """A command that can be run."""

    path: tuple[str, ...]
    flags: tuple[Flag, ...]
    #: What each argument is; the last one goes on if ``repeats``.
    arguments: tuple[tuple[str, Values], ...]
    repeats: bool


def specs() -> list[Spec]:
    """Build every command and return what a shell has to know of it."""
    return [_spec(path) for path in catalog.leaves()]


def global_flags() -> tuple[Flag, ...]:
    return tuple(_flag(option, "") for option in global_options())


def names(path: tuple[str, ...]) -> dict[str, str]:
    """Return the commands below a group (or the root) with their helps; what is plumbing stays unmentioned."""
    found = catalog.below(path)
    return {name: text for name, text in found.items() if path or catalog.CATALOG[name].panel != catalog.PLUMBING}


def _spec(path: tuple[str, ...]) -> Spec:
    params: list[Any] = list(command_tree.leaf(path).params)
    flags = tuple(_flag(p, path[0]) for p in params if p.param_type_name == "option" and not p.hidden)
    arguments = [p for p in params if p.param_type_name == "argument"]
    kinds = tuple((p.human_readable_name, _values(p, path[0])) for p in arguments)
    if path == ("help",):
        kinds = (("TOPIC", Values(words=(*names(()), *help_text.TOPICS))),)
    return Spec(path, flags, kinds, bool(arguments) and arguments[-1].nargs == -1)


def _flag(option: Any, group: str) -> Flag:
    every = tuple(sorted((*option.opts, *option.secondary_opts), key=len))
    values = None if option.is_flag or option.count else _values(option, group)
    metavar = (option.metavar or option.name.upper()).replace(":", " ")
    return Flag(every, " ".join((option.help or "").split()), metavar, values, option.multiple or option.count)


def _values(param: Any, group: str) -> Values:
    if choices := getattr(param.type, "choices", None):
        return Values(words=tuple(map(str, choices)))
    for word in (param.metavar or param.name.upper()).strip("[].…").replace("|", " ").split():
        if word in _FILES:
            return Values(file=True)
        if kind := _hub_kind(word, param, group):
            return Values(hub=kind)
    return Values()


def _hub_kind(word: str, param: Any, group: str) -> str | None:
    """Return what a metavar names; ``REF`` and ``ID`` are what their option or their group is called after."""
    if param.param_type_name == "option" and word in ("REF", "ID", "NAME"):
        return _HUB.get(param.name.upper())
    if word == "ID" and group in _IDS:
        return _IDS[group]
    if word in ("REF", "ID"):
        return _HUB.get(_GROUPS.get(group, group).upper())
    return _HUB.get(word)
