"""Build commands lazily from the catalog: names and help need no import, and only the command that runs is built."""

from __future__ import annotations

import os

os.environ["TYPER_USE_RICH"] = "0"  # read once, when typer is imported

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from typer import Exit, Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from llmctl.cli import catalog
from llmctl.cli.app import App
from llmctl.cli.console.io import process_streams
from llmctl.cli.console.output import OUTPUT_FLAGS_ATTRIBUTE
from llmctl.cli.global_flags import HelpPanel, global_options, output_options
from llmctl.cli.help import text
from llmctl.core.registry import unknown_name_error

_CONTEXT_SETTINGS: dict[str, Any] = {"max_content_width": 100}
#: Widest name of an option that has its help on the same line.
_NAME_COLUMN = 30


def execute(app: App, arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors are raised."""
    try:
        with CommandGroup().make_context("llmctl", list(arguments), obj=app) as ctx:
            ctx.command.invoke(ctx)
    except Exit as end:
        return end.exit_code
    return 0


def typer_app() -> Typer:
    """Return llmctl as a ``typer.Typer``, for ``typer.testing.CliRunner``."""
    app = Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    return app


class Command(TyperCommand):
    """A runnable command. Its docstring is its manual, shown as written; options are grouped by help panel."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        for line in (self.help or "").splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{panel.value: [] for panel in HelpPanel}}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                is_argument = param.param_type_name == "argument"
                panel = getattr(param, "rich_help_panel", None) or HelpPanel.GENERAL
                sections["Arguments" if is_argument else str(panel)].append(record)
        names = [len(name) for rows in sections.values() for name, _ in rows]
        width = max((length for length in names if length <= _NAME_COLUMN), default=0)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), help_text) for name, help_text in rows], _NAME_COLUMN)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
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

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self._subcommands and not args[0].startswith("-"):
            raise unknown_name_error(" ".join((*self._path, "command")), args[0], self._subcommands)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        if ctx._protected_args:
            return super().invoke(ctx)
        app: App = ctx.obj
        app.io.write(text.group_help(self._path) if self._path else text.short_help(app.describe_hub()))
        return None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(text.group_help(self._path) if self._path else text.root_help())

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:
        """Run like the program itself, with the current streams and environment."""
        from llmctl.cli.main import run

        raise SystemExit(run(list(args or ()), os.environ, process_streams()))


def build_command(path: tuple[str, ...]) -> TyperCommand:
    """Import the command's module and build the command with its shared flags."""
    module, name = catalog.locate_function(path)
    function = getattr(import_module(module), name)
    info = CommandInfo(
        name=path[-1], cls=Command, callback=function, context_settings=_CONTEXT_SETTINGS, add_help_option=False
    )
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    if hasattr(function, "__turn_flags__"):
        from llmctl.cli.turn.flags import turn_options

        command.params += turn_options()
    if hasattr(function, "__tool_flags__"):
        from llmctl.cli.tool_flags import tool_options

        command.params += tool_options()
    command.params += [*output_options(getattr(function, OUTPUT_FLAGS_ATTRIBUTE, None)), *global_options()]
    assert isinstance(command, TyperCommand)
    return command
