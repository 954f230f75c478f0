"""What can be completed, for every shell: the flags and arguments of each command, and the values they take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from llmctl.cli import catalog, command_tree
from llmctl.cli.command_tree import global_options
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.help import text as help_text
from llmctl.core.options import EFFORTS, ROW_KINDS, SETTINGS
from llmctl.core.registry import load_all
from llmctl.core.values import Value
from llmctl.engine.transfer.import_ import NAMES as IMPORT_FORMATS
from llmctl.formats.conversations import RENDERINGS
from llmctl.formats.exports import EXPORTS
from llmctl.providers import PROVIDERS
from llmctl.store.emit import EMITTERS
from llmctl.store.records import invocations, jobs, requests
from llmctl.store.stats import group_by


class ValueSpec(Value):
    """Values to complete: any of ``words`` with their descriptions, records of the ``hub``, and files.

    ``hub`` is a kind of :mod:`llmctl.cli.completions.backend`. ``is_list``: words joined by commas. None of them: any
    value.
    """

    words: tuple[tuple[str, str], ...] = ()
    hub: str = ""
    file: bool = False
    is_list: bool = False

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


def _words(words: Iterable[str] | Mapping[str, str], **more: Any) -> ValueSpec:
    pairs = words.items() if isinstance(words, Mapping) else ((word, "") for word in words)
    return ValueSpec(words=tuple(pairs), **more)


def _provider_words() -> dict[str, str]:
    providers = load_all(PROVIDERS).items()
    return {name: provider.base_url or provider.base_example for name, provider in providers}


_TIMES = _words(
    {
        "today": "since midnight UTC",
        "yesterday": "",
        "1h": "the last hour",
        "24h": "the last 24 hours",
        "7d": "the last 7 days",
        "30d": "the last 30 days",
    }
)
_PERIODS = _words(
    ("today", "yesterday", "this-week", "last-week", "this-month", "last-month", "this-year", "last-year")
)
_PROVIDERS = _words(_provider_words())
_BUILTIN_TOOLS = {
    "time": "tell the time",
    "read_file": "read a text file",
    "list_files": "list the files of a folder",
    "fetch_url": "fetch a web page",
    "run_command": "run a program",
}
_TOOLS = _words(_BUILTIN_TOOLS, hub="tool")
_GRANTS = _words(_BUILTIN_TOOLS, hub="grant")
_PROMPTS = ValueSpec(hub="prompt")
_LAST = {"last": "the newest one from here"}

#: Values by the long name of a flag, or its metavar, where neither says it in any command.
_BY_FLAG = {
    "--approve": _TOOLS,
    "--builtin": _words(_BUILTIN_TOOLS),
    "--fallback": ValueSpec(hub="model"),
    "--group-by": _words(group_by.KEYS, is_list=True),
    "--in": _PERIODS,
    "--key-env": ValueSpec(hub="variable"),
    "--no-persist": _words((*ROW_KINDS, "none"), is_list=True),
    "--older-than": _words(("30d", "90d", "1y")),
    "--once-per": _words(("hour", "day", "week", "month", "year")),
    "--permission": _words(("automatic", "user-permitted", "denied")),
    "--provider": _PROVIDERS,
    "--role": _words(("system", "user", "assistant", "tool")),
    "--save": _PROMPTS,
    "--since": _TIMES,
    "--template": ValueSpec(hub="prompt", file=True),
    "--thinking": _words(EFFORTS),
    "--tool": _GRANTS,
    "--tz": _words({"local": "the zone of this machine", "UTC": ""}),
    "--until": _TIMES,
    "--wire": _words(dict.fromkeys(sorted({provider.wire for provider in load_all(PROVIDERS).values()}), "")),
}
#: Values by command and flag or argument, where they differ from those of other commands.
_BY_COMMAND = {
    ("agent attach", "TOOL"): _GRANTS,
    ("agent run", "REF"): ValueSpec(hub="agent", file=True),
    ("agent session new", "REF"): ValueSpec(hub="agent", file=True),
    ("agent session delete", "SESSION"): ValueSpec(hub="session"),
    ("chats render", "--format"): _words(RENDERINGS.names()),
    ("connection add", "NAME"): _PROVIDERS,
    ("export", "--format"): _words(EXPORTS.names()),
    ("import", "--format"): _words(IMPORT_FORMATS),
    ("job list", "--status"): _words(jobs.STATUSES),
    ("prompts edit", "NAME"): _PROMPTS,
    ("prompts path", "NAME"): _PROMPTS,
    ("prompts save", "NAME"): _PROMPTS,
    ("prompts show", "NAME"): _PROMPTS,
    ("request list", "--status"): _words(requests.STATUSES),
    ("run", "NAME"): ValueSpec(hub="prompt", file=True),
    ("schema emit", "FORMAT"): _words(EMITTERS.names()),
    ("settings get", "NAME"): _words({name: setting.help for name, setting in SETTINGS.items()}),
    ("settings set", "NAME"): _words({name: setting.help for name, setting in SETTINGS.items()}),
    ("settings set", "VALUE"): ValueSpec(hub="setting-value"),
    ("settings unset", "NAME"): _words({name: setting.help for name, setting in SETTINGS.items()}),
    ("tool approve", "ID"): ValueSpec(hub="pending"),
    ("tool deny", "ID"): ValueSpec(hub="pending"),
    ("tool invocations", "--status"): _words(invocations.STATUSES),
    ("tool invocations", "--tool"): _TOOLS,
    ("tool invoke", "REF"): _TOOLS,
    ("tool edit", "REF"): _TOOLS,
}
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
#: Kinds of records of which ``last`` is one.
_HAVE_LAST = ("chat", "request", "job", "session")
_FILE_METAVARS = ("PATH", "FILE", "FOLDER", "DB")
#: The kind of record ``REF`` refers to, by command group; by default the group's name.
_REF_KINDS = {"chats": "chat"}
#: The kind of record ``ID`` refers to, by command group, if different from ``REF``.
_ID_KINDS = {"tool": "invocation"}


def command_specs() -> list[CommandSpec]:
    """Build every command and return its spec."""
    return [_command_spec(path) for path in catalog.command_paths()]


def global_flags() -> tuple[FlagSpec, ...]:
    return tuple(_flag_spec(option, ("",)) for option in global_options())


def visible_subcommands(path: tuple[str, ...]) -> dict[str, str]:
    """Return the subcommands of a group (or the root) with their help, without low-level commands."""
    commands = catalog.subcommands(path)
    return {name: text for name, text in commands.items() if path or catalog.CATALOG[name].panel != catalog.PLUMBING}


def _command_spec(path: tuple[str, ...]) -> CommandSpec:
    params: list[Any] = list(command_tree.build_command(path).params)
    flags = tuple(_flag_spec(p, path) for p in params if p.param_type_name == "option" and not p.hidden)
    arguments = [p for p in params if p.param_type_name == "argument"]
    kinds = tuple((p.human_readable_name, _value_spec(p, path)) for p in arguments)
    if path == ("help",):
        kinds = (("TOPIC", _words(visible_subcommands(()) | dict.fromkeys(help_text.TOPICS, "topic"))),)
    return CommandSpec(path, flags, kinds, bool(arguments) and arguments[-1].nargs == -1)


def _flag_spec(option: Any, path: tuple[str, ...]) -> FlagSpec:
    names = tuple(sorted((*option.opts, *option.secondary_opts), key=len))
    takes_value = not (option.is_flag or option.count or isinstance(option, command_tree.OptionalValueOption))
    values = _value_spec(option, path) if takes_value else None
    metavar = (option.metavar or option.name.upper()).replace(":", " ")
    return FlagSpec(names, " ".join((option.help or "").split()), metavar, values, option.multiple or option.count)


def _value_spec(param: Any, path: tuple[str, ...]) -> ValueSpec:
    """Return the values of a parameter: of this command, of its flag, of its type, or of the words of its metavar."""
    is_option = param.param_type_name == "option"
    words = (param.metavar or param.name.upper()).strip("[].…").replace("|", " ").replace("[:", " ").split()
    names = [max(param.opts, key=len)] if is_option else words
    for name in names:
        if found := _BY_COMMAND.get((" ".join(path), name)):
            return found
    if is_option and names[0] == "--columns":
        return _words(_column_names(path), is_list=True)
    if choices := getattr(param.type, "choices", None):
        return _words(map(str, choices))
    if is_option and names[0] in _BY_FLAG:
        return _BY_FLAG[names[0]]
    for word in words:
        if word in _FILE_METAVARS:
            return ValueSpec(file=True)
        if kind := _hub_kind(word, param, path[0]):
            return _words(_LAST if kind in _HAVE_LAST else (), hub=kind)
    return ValueSpec()


def _column_names(path: tuple[str, ...]) -> list[str]:
    """Return the columns that a command prints: of the tables that its function names, its module or its group has."""
    module, name = catalog.locate_function(path)
    code = getattr(import_module(module), name).__code__
    own, group = vars(import_module(module)), vars(import_module(module.rpartition(".")[0]))
    for places in ([own.get(name) for name in code.co_names], own.values(), group.values()):
        columns = [column for table in places if isinstance(table, list) for column in table]
        if found := [column.name for column in columns if isinstance(column, OutputColumn)]:
            return list(dict.fromkeys(found))
    return []


def _hub_kind(word: str, param: Any, group: str) -> str | None:
    """Return the record kind of a metavar; ``REF`` and ``ID`` take it from the option's or the group's name."""
    if param.param_type_name == "option" and word in ("REF", "ID", "NAME"):
        return _HUB_KINDS.get(param.name.upper())
    if word == "ID" and group in _ID_KINDS:
        return _ID_KINDS[group]
    if word in ("REF", "ID"):
        return _HUB_KINDS.get(_REF_KINDS.get(group, group).upper())
    return _HUB_KINDS.get(word)
