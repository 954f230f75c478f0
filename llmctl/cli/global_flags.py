"""The flags that many commands share, as typer's own options. Their values land in the app, not in the command."""

from __future__ import annotations

from typing import Any

from typer.core import TyperOption

from llmctl.core.errors import UsageError


def global_options() -> list[TyperOption]:
    """Return the flags that every command takes, before and after its name."""
    return [
        _option(["db", "--db"], _set_db, metavar="PATH", help="The hub to use."),
        _option(["quiet", "--quiet"], _switch, help="No notes, progress or usage; ids alone."),
        _option(["debug", "--debug"], _switch, help="Show the traceback of an error."),
        _option(["version", "--version", "-V"], _show_version, is_eager=True, help="Show the version."),
        _option(["help", "--help", "-h"], _show_help, is_eager=True, help="Show help."),
    ]


def output_options(kind: str | None) -> list[TyperOption]:
    """Return the flags of a ``listing``, a ``record`` or an ``answer``; none for what is neither."""
    if kind is None:
        return []
    formats: list[TyperOption] = [
        _option(["json", "--json"], _set_format, help="One JSON document."),
        _option(["jsonl", "--jsonl"], _set_format, help="One JSON object a line."),
    ]
    if kind == "answer":
        return formats
    if kind == "listing":
        formats += [
            _option(["csv", "--csv"], _set_format, help="CSV with a header."),
            _option(["tsv", "--tsv"], _set_format, help="Tab-separated, with a header."),
        ]
    columns = _option(["columns", "--columns"], _set_columns, metavar="A,B", help="These columns, in this order.")
    return [*formats, columns]


def _option(declaration: list[str], callback: Any, *, metavar: str | None = None, **more: Any) -> TyperOption:
    shared = declaration[0] in ("db", "quiet", "debug", "version", "help")
    kind = {"type": str} if metavar else {"is_flag": True, "default": False}
    return TyperOption(
        param_decls=declaration,
        callback=callback,
        metavar=metavar,
        hidden=shared,
        expose_value=False,
        **kind,
        **more,
    )


def _set_db(ctx: Any, option: Any, value: str | None) -> None:
    if value is None:
        return
    if not value or value.startswith("-"):
        raise UsageError('option "--db" needs a path', hint="a file that begins with - is written ./-name")
    ctx.obj.db = value


def _switch(ctx: Any, option: Any, value: bool) -> None:
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
    chosen = ctx.obj.format.kind
    if chosen not in ("auto", option.name):
        raise UsageError(f'"--{chosen}" and "--{option.name}" exclude each other', hint="choose one")
    ctx.obj.format.kind = option.name


def _set_columns(ctx: Any, option: Any, value: str | None) -> None:
    if value is None:
        return
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names:
        raise UsageError('option "--columns" needs names', hint="such as --columns id,name")
    ctx.obj.format.columns = names
