"""Commands from the catalogue: help and names cost no import, and only the command that runs is ever built."""

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
from llmctl.cli.console.output import FLAGS
from llmctl.cli.global_flags import global_options, output_options
from llmctl.cli.help import text
from llmctl.core.registry import unknown

_SETTINGS: dict[str, Any] = {"max_content_width": 100}


def execute(app: App, arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; whatever goes wrong is raised."""
    try:
        with Group().make_context("llmctl", list(arguments), obj=app) as ctx:
            ctx.command.invoke(ctx)
    except Exit as end:
        return end.exit_code
    return 0


def program() -> Typer:
    """Return llmctl as a ``typer.Typer``, for ``typer.testing.CliRunner``."""
    app = Typer(cls=Group, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    return app


class Leaf(TyperCommand):
    """A command that runs. Its docstring is its manual and is shown as it is written."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        for line in (self.help or "").splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        formatter.write(text.GLOBAL_FOOTER)


class Group(TyperGroup):
    """A group of the catalogue; the root is the one with an empty ``path``."""

    def __init__(self, path: tuple[str, ...] = (), **_: Any) -> None:
        super().__init__(
            name=path[-1] if path else "llmctl",
            context_settings=_SETTINGS,
            params=list(global_options()),
            add_help_option=False,
            invoke_without_command=True,
            rich_markup_mode=None,
        )
        self._path = path
        self._helps: Mapping[str, str] = catalog.below(path)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._helps)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self._helps:
            return None
        path = (*self._path, cmd_name)
        return Group(path) if catalog.is_group(path) else leaf(path)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self._helps and not args[0].startswith("-"):
            raise unknown(" ".join((*self._path, "command")), args[0], self._helps)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        if ctx._protected_args:
            return super().invoke(ctx)
        app: App = ctx.obj
        app.io.write(text.group(self._path) if self._path else text.short(app.state_line()))
        return None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(text.group(self._path) if self._path else text.root())

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:
        """Run like the program itself, in the streams and environment of now."""
        from llmctl.cli.main import run

        raise SystemExit(run(list(args or ()), os.environ, process_streams()))


def leaf(path: tuple[str, ...]) -> TyperCommand:
    """Import the command's module and build the command."""
    module, name = catalog.target(path)
    function = getattr(import_module(module), name)
    info = CommandInfo(name=path[-1], cls=Leaf, callback=function, context_settings=_SETTINGS, add_help_option=False)
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    if hasattr(function, "__asking__"):
        from llmctl.cli.turn.flags import asking_options

        command.params += asking_options()
    if hasattr(function, "__describing__"):
        from llmctl.cli.toolflags import tool_options

        command.params += tool_options()
    command.params += [*output_options(getattr(function, FLAGS, None)), *global_options()]
    assert isinstance(command, TyperCommand)
    return command
