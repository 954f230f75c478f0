"""``llmctl help``: the help of a command, or a topic."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.catalog import CATALOG
from llmctl.cli.help import text, topics
from llmctl.core.registry import unknown_name_error


def help_(
    ctx: typer.Context,
    topic: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND [SUBCOMMAND] | TOPIC]", help="A command, or a topic.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="List all commands, including plumbing.")] = False,
) -> None:
    """Show help on a command or a topic.

    The topics are exit-codes, environment, sql, prompt-files, permissions, echo and many-prompts.

    Examples:
      llmctl help chats list
      llmctl help exit-codes
    """
    app: App = ctx.obj
    words = tuple(topic or ())
    if not words:
        app.console.io.write(text.root_help(everything=everything))
    elif len(words) == 1 and words[0] in text.TOPICS:
        app.console.io.write(topics.topic_text(words[0]))
    elif words[0] not in CATALOG:
        raise unknown_name_error("command or topic", " ".join(words), [*CATALOG, *text.TOPICS])
    else:
        from llmctl.cli import command_tree

        command_tree.execute(app, [*words, "--help"])
