"""``llmctl help``: the help of a command, or a topic."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import helptext, helptopics
from llmctl.cli.app import App
from llmctl.cli.catalog import CATALOG
from llmctl.core.registry import unknown


def help_(
    ctx: typer.Context,
    topic: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND [SUBCOMMAND] | TOPIC]", help="A command, or a topic.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every command, plumbing too.")] = False,
) -> None:
    """Show help on a command or a topic.

    The topics are exit-codes, environment, sql, prompt-files, permissions and echo.

    Examples:
      llmctl help chats list
      llmctl help exit-codes
    """
    app: App = ctx.obj
    words = tuple(topic or ())
    if not words:
        app.io.write(helptext.root(everything=everything))
    elif len(words) == 1 and words[0] in helptext.TOPICS:
        app.io.write(helptopics.text(words[0]))
    elif words[0] not in CATALOG:
        raise unknown("command or topic", " ".join(words), [*CATALOG, *helptext.TOPICS])
    else:
        from llmctl.cli import lazy

        lazy.execute(app, [*words, "--help"])
