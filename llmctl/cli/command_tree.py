"""Build commands lazily from the catalog: names and help need no import, and only the command that runs is built.

The inputs of a command are its signature. A parameter annotated with an :class:`~llmctl.core.options.OptionSet`
(``flags: TurnOptions``) stands for all flags of that set, and gets their values as one object; with
``Annotated[TurnOptions, ("model", "retries")]`` for these flags only.
"""

from __future__ import annotations

import os

os.environ["TYPER_USE_RICH"] = "0"  # read once, when typer is imported

import inspect
import string
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from typing import Any

from typer import Exit
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command_from_info
from typer.models import CommandInfo

from llmctl.cli import catalog
from llmctl.cli.app import App
from llmctl.cli.console.console import OUTPUT_FLAGS_ATTRIBUTE
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.options import GROUPS, Option, OptionSet, parse_option_pairs, parse_text
from llmctl.core.registry import unknown_name_error

_CONTEXT_SETTINGS: dict[str, Any] = {"max_content_width": 100}
#: Headings of the options in a command's help, in order.
_PANELS = ("Options", *GROUPS)
#: Besides lists, what these commands print can be longer than a screen.
_PAGED_VERBS = ("show", "render", "log", "tail", "diff", "help")
#: Widest name of an option that has its help on the same line.
_NAME_COLUMN = 30
#: Below this width of the terminal the help of most options is below their names.
_NARROW_WIDTH = 64
_NARROW_NAME_COLUMN = 6


def execute(app: App, arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors are raised."""
    try:
        with CommandGroup().make_context("llmctl", list(arguments), obj=app) as ctx:
            ctx.command.invoke(ctx)
    except Exit as end:
        return end.exit_code
    return 0


class Command(TyperCommand):
    """A runnable command. Its docstring is its manual, shown as written; options are grouped by help panel."""

    #: Whether its output goes through the user's pager on a terminal.
    is_paged = False

    def invoke(self, ctx: Any) -> Any:
        if self.is_paged and not ctx.params.get("follow"):
            ctx.obj.console.use_pager()
        return super().invoke(ctx)

    def get_help(self, ctx: Any) -> str:
        width = _help_width(ctx.obj)
        if width < _NARROW_WIDTH:  # narrower than typer's formatter would go
            ctx.terminal_width = width
        return super().get_help(ctx)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        text = self.help or ""
        if ctx.obj.console.io.stdout_tty:  # in a pipe it stays as it is written
            from llmctl.cli.help.text import wrap_manual

            text = wrap_manual(text, formatter.width - 2)
        for line in text.splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections = self.help_sections(ctx)
        names = [len(name) for rows in sections.values() for name, _ in rows]
        column = _NAME_COLUMN if formatter.width >= _NARROW_WIDTH else _NARROW_NAME_COLUMN
        width = max((length for length in names if length <= column), default=0)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), help_text) for name, help_text in rows], column)

    def help_sections(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Return the options by their headings, each with its spellings and its help."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{panel: [] for panel in _PANELS}}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                is_argument = param.param_type_name == "argument"
                panel = getattr(param, "rich_help_panel", None) or _PANELS[0]
                sections["Arguments" if is_argument else str(panel)].append(record)
        return sections

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from llmctl.cli.help import text

        formatter.write(f"\n{text.GLOBAL_OPTIONS}")


class CommandGroup(TyperGroup):
    """A command group of the catalog; the root has an empty ``path``."""

    def __init__(self, path: tuple[str, ...] = (), **_: Any) -> None:
        super().__init__(
            name=path[-1] if path else "llmctl",
            context_settings=_CONTEXT_SETTINGS,
            params=list(global_options()),
            add_help_option=False,
            invoke_without_command=True,
            rich_markup_mode=None,
        )
        self._path = path
        self._subcommands: Mapping[str, str] = catalog.subcommands(path)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._subcommands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self._subcommands:
            return None
        path = (*self._path, cmd_name)
        return CommandGroup(path) if catalog.is_group(path) else build_command(path)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, catalog.insert_default(self._path, args))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self._subcommands and not args[0].startswith("-"):
            if not self._path and set(args[0]) & set(string.whitespace):  # no command has white space: a prompt
                return super().resolve_command(ctx, ["chat", *args])
            raise self._unknown_command(args)
        return super().resolve_command(ctx, args)

    def _unknown_command(self, args: list[str]) -> LlmctlError:
        error = unknown_name_error(" ".join((*self._path, "command")), args[0], self._subcommands)
        if not self._path:
            from llmctl.cli.help import text

            error.hint = text.suggest_command(args, self._subcommands)
        return error

    def invoke(self, ctx: Any) -> Any:
        if ctx._protected_args:
            return super().invoke(ctx)
        from llmctl.cli.help import text

        app: App = ctx.obj
        app.console.use_pager()
        app.console.io.write(
            text.group_help(self._path, _help_width(ctx.obj)) if self._path else text.short_help(app.describe_hub())
        )
        return None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from llmctl.cli.help import text

        formatter.write(text.group_help(self._path, _help_width(ctx.obj)) if self._path else text.root_help())


def _help_width(app: App) -> int:
    """Return how wide help is: 80 columns, less on a narrower terminal."""
    if not app.console.io.stdout_tty:
        return 80
    from llmctl.cli.console.terminal import terminal_width

    return min(80, terminal_width(app.env, app.console.io.stdout) - 1)


def build_command(path: tuple[str, ...]) -> TyperCommand:
    """Import the command's module and build the command with its shared flags."""
    module, name = catalog.locate_function(path)
    function = getattr(import_module(module), name)
    callback, flags = _expand_option_sets(function)
    info = CommandInfo(
        name=path[-1], cls=Command, callback=callback, context_settings=_CONTEXT_SETTINGS, add_help_option=False
    )
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    output = getattr(function, OUTPUT_FLAGS_ATTRIBUTE, None)
    command.params = [_allow_no_value(param) for param in command.params]
    command.params += [*flags, *output_options(output), *global_options()]
    assert isinstance(command, Command)
    command.is_paged = output == "listing" or path[-1] in _PAGED_VERBS
    return command


# --- flags of an option set


def _expand_option_sets(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[TyperOption]]:
    """Return a function without the parameters that are option sets, and the flags that stand for them."""
    signature = inspect.signature(function, eval_str=True)
    sets: dict[str, tuple[type[OptionSet], list[Option], Sequence[str]]] = {}
    for parameter in signature.parameters.values():
        annotation = parameter.annotation
        kind = getattr(annotation, "__origin__", annotation)
        if isinstance(kind, type) and issubclass(kind, OptionSet):
            metadata: Sequence[Sequence[str]] = getattr(annotation, "__metadata__", ())
            names = metadata[0] if metadata else ()
            taken = names or kind.OPTIONS
            options = [option for option in kind.OPTIONS.values() if option.flags and option.name in taken]
            sets[parameter.name] = kind, options, names
    if not sets:
        return function, []

    @wraps(function)
    def call(**values: Any) -> Any:
        flags = {name: {entry.name: values.pop(entry.name) for entry in own} for name, (_, own, _) in sets.items()}
        for given, (_, own, names) in zip(flags.values(), sets.values(), strict=True):
            for option in own:
                if option.several:
                    _take_several(option, given, is_allowed=option.several in names)
        return function(**values, **{name: _parse_flags(sets[name][0], given) for name, given in flags.items()})

    others = [other for other in signature.parameters.values() if other.name not in sets]
    call.__dict__["__signature__"] = signature.replace(parameters=others)
    call.__annotations__ = {other.name: other.annotation for other in others}
    return call, [_to_typer_option(option) for _, own, _ in sets.values() for option in own]


def _take_several(option: Option, flags: dict[str, Any], *, is_allowed: bool) -> None:
    """Put the value of a flag in its place: a single one under its name, several where the command takes them."""
    values: Sequence[str] = flags[option.name] or ()
    flags[option.name] = values[0] if len(values) == 1 else None
    if len(values) > 1 and not is_allowed:
        got = " and ".join(f'"{value}"' for value in values)
        raise UsageError(f"{option.flags[0]} may be given once here, got {got}")
    if len(values) > 1:
        flags[option.several] = values


def _parse_flags(kind: type[OptionSet], values: Mapping[str, Any]) -> OptionSet:
    """Return the options that flags gave, from their texts."""
    parsed = {}
    for name, value in values.items():
        option = kind.OPTIONS[name]
        if value in (None, False, (), []) and not (value is False and option.kind == "tristate"):
            continue
        match option.kind:
            case "switch" | "tristate":
                parsed[name] = value
            case "list":
                parsed[name] = tuple(value)
            case "pairs":
                parsed[name] = parse_option_pairs(option, value, option.flags[0])
            case _:
                parsed[name] = parse_text(option, value, option.flags[0])
    return kind(**parsed)


class OptionalValueOption(TyperOption):
    """An option that may stand alone: its value follows behind ``=`` only, and is empty without one."""

    def add_to_parser(self, parser: Any, ctx: Any) -> None:
        super().add_to_parser(parser, ctx)
        match_long_option = parser._match_long_opt

        def match_optional_value(name: str, value: str | None, state: Any) -> None:
            match_long_option(name, "" if value is None and name in self.opts else value, state)

        parser._match_long_opt = match_optional_value

    def get_help_record(self, ctx: Any) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f" {self.metavar}", f"[={self.metavar}]"), record[1])


def _allow_no_value(param: Any) -> Any:
    """Return the option; one whose metavar is ``[=VALUE]`` may stand without a value."""
    metavar = str(param.metavar or "")
    if not metavar.startswith("[="):
        return param
    return OptionalValueOption(
        param_decls=[param.name, *param.opts], default=None, type=str, metavar=metavar[2:-1], help=param.help
    )


def _to_typer_option(option: Option) -> TyperOption:
    """Return the flag of an option. It gets texts: :func:`_parse_flags` reads them."""
    is_flag, multiple = option.kind in ("switch", "tristate"), bool(option.several) or option.kind in ("list", "pairs")
    default = f" [{option.default}]" if option.default else ""
    return (OptionalValueOption if option.has_optional_value else TyperOption)(
        param_decls=[option.name, *option.flags],
        default=False if option.kind == "switch" else None,
        type=None if is_flag else str,
        is_flag=is_flag,
        multiple=multiple,
        metavar=option.metavar,
        help=option.help + (" Repeatable." if multiple and not option.several else default),
        rich_help_panel=option.group,
    )


# --- global flags and output flags: their values are stored on the App and its console, not passed to the command


def global_options() -> list[TyperOption]:
    """Return the flags every command accepts, before or after its name."""
    return [
        _option(["db", "--db"], _set_db, metavar="PATH", help="Hub to use; :memory: stores nothing on disk."),
        _option(["quiet", "--quiet"], _set_quiet, help="Print results only: no notes, progress or usage."),
        _option(["no_pager", "--no-pager"], _set_no_pager, is_eager=True, help="Do not use a pager."),
        _option(["debug", "--debug"], _set_debug, help="Show the traceback of an error."),
        _option(["version", "--version", "-V"], _show_version, is_eager=True, help="Show the version."),
        _option(["help", "--help", "-h"], _show_help, is_eager=True, help="Show help."),
    ]


def output_options(output: str | None) -> list[TyperOption]:
    """Return the output flags of a ``listing``, a ``record`` or an ``answer``; none for other commands."""
    if output is None:
        return []
    formats: list[TyperOption] = [
        _option(["json", "--json"], _set_format, help="Output one JSON document."),
        _option(["jsonl", "--jsonl"], _set_format, help="Output one JSON object per line."),
    ]
    if output == "answer":
        return formats
    if output == "listing":
        formats += [
            _option(["csv", "--csv"], _set_format, help="Output CSV with a header."),
            _option(["tsv", "--tsv"], _set_format, help="Output tab-separated values with a header."),
        ]
    columns = _option(
        ["columns", "--columns"], _set_columns, metavar="NAME,...", help="Columns to output, in this order."
    )
    return [*formats, columns]


def _option(names: list[str], callback: Any, *, metavar: str | None = None, **settings: Any) -> TyperOption:
    is_global = names[0] in ("db", "quiet", "no_pager", "debug", "version", "help")
    kind = {"type": str} if metavar else {"is_flag": True, "default": False}
    return TyperOption(
        param_decls=names,
        callback=callback,
        metavar=metavar,
        hidden=is_global,
        rich_help_panel=None if is_global else "Output",
        expose_value=False,
        **kind,
        **settings,
    )


def _set_db(ctx: Any, option: Any, value: str | None) -> None:
    if value is None:
        return
    if not value or value.startswith("-"):
        raise UsageError('option "--db" requires a path', hint="write a name that starts with - as ./-name")
    ctx.obj.db = value


def _set_quiet(ctx: Any, option: Any, value: bool) -> None:
    if value:
        ctx.obj.console.quiet = True


def _set_no_pager(ctx: Any, option: Any, value: bool) -> None:
    if value:
        ctx.obj.console.no_pager = True


def _set_debug(ctx: Any, option: Any, value: bool) -> None:
    if value:
        ctx.obj.debug = True


def _show_version(ctx: Any, option: Any, value: bool) -> None:
    if value:
        from llmctl import __version__

        ctx.obj.console.io.write(f"llmctl {__version__}\n")
        ctx.exit()


def _show_help(ctx: Any, option: Any, value: bool) -> None:
    if value:
        ctx.obj.console.use_pager()
        ctx.obj.console.io.write(ctx.get_help() + "\n")
        ctx.exit()


def _set_format(ctx: Any, option: Any, value: bool) -> None:
    if not value:
        return
    current = ctx.obj.console.format.kind
    if current not in ("auto", option.name):
        raise UsageError(f"--{current} and --{option.name} cannot be combined", hint="pass one of them")
    ctx.obj.console.format.kind = option.name


def _set_columns(ctx: Any, option: Any, value: str | None) -> None:
    if value is None:
        return
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names:
        raise UsageError('option "--columns" requires column names', hint="for example: --columns id,name")
    ctx.obj.console.format.columns = names
