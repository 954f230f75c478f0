"""Global and output flags as typer options. Their values are stored on the App, not passed to the command."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from typer.core import TyperOption

from llmctl.core.errors import UsageError


class HelpPanel(StrEnum):
    """A heading of the options in a command's help, in this order."""

    GENERAL = "Options"
    INPUT = "Input"
    MODEL = "Model"
    OUTPUT = "Output"
    TOOLS = "Tools"
    CONVERSATION = "Conversation"
    LIMITS = "Limits"
    STORAGE = "Storage"


def global_options() -> list[TyperOption]:
    """Return the flags every command accepts, before or after its name."""
    return [
        _option(["db", "--db"], _set_db, metavar="PATH", help="Hub to use; :memory: stores nothing on disk."),
        _option(["quiet", "--quiet"], _set_switch, help="Print results only: no notes, progress or usage."),
        _option(["debug", "--debug"], _set_switch, help="Show the traceback of an error."),
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
    is_global = names[0] in ("db", "quiet", "debug", "version", "help")
    kind = {"type": str} if metavar else {"is_flag": True, "default": False}
    return TyperOption(
        param_decls=names,
        callback=callback,
        metavar=metavar,
        hidden=is_global,
        rich_help_panel=None if is_global else HelpPanel.OUTPUT,
        expose_value=False,
        **kind,
        **settings,
    )


def _set_db(ctx: Any, option: Any, value: str | None) -> None:
    if value is None:
        return
    if not value or value.startswith("-"):
        raise UsageError('option "--db" needs a path', hint="write a name that starts with - as ./-name")
    ctx.obj.db = value


def _set_switch(ctx: Any, option: Any, value: bool) -> None:
    if value:
        setattr(ctx.obj, option.name, True)


def _show_version(ctx: Any, option: Any, value: bool) -> None:
    if value:
        from llmctl import __version__

        ctx.obj.io.write(f"llmctl {__version__}\n")
        ctx.exit()


def _show_help(ctx: Any, option: Any, value: bool) -> None:
    if value:
        ctx.obj.io.write(ctx.get_help() + "\n")
        ctx.exit()


def _set_format(ctx: Any, option: Any, value: bool) -> None:
    if not value:
        return
    current = ctx.obj.format.kind
    if current not in ("auto", option.name):
        raise UsageError(f"--{current} and --{option.name} cannot be combined", hint="pass one of them")
    ctx.obj.format.kind = option.name


def _set_columns(ctx: Any, option: Any, value: str | None) -> None:
    if value is None:
        return
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names:
        raise UsageError('option "--columns" needs names', hint="for example: --columns id,name")
    ctx.obj.format.columns = names
