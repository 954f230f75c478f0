"""``llmctl import``: conversations and whole hubs in."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import answer


@answer
def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="What to read; - is standard input.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="F",
            help="jsonl, hub, llm, node-llm, chatgpt, claude or openai: not to be found out.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would come of it.")] = False,
) -> None:
    """Take in conversations: of another hub, llm, ChatGPT, Claude, @node-llm/orm or OpenAI.

    Reads what llmctl export wrote, another hub (a SQLite file), llm's logs.db, the export of ChatGPT and of Claude
    (conversations.json, or the .zip around it), a SQLite database of @node-llm/orm, and JSON Lines of
    {"messages": [...]}. What was imported before is not doubled: where theirs is newer it is brought up to date. A
    line that cannot be read costs that line only; what is no known format is refused as a whole. Each conversation
    comes in whole or not at all; an export that breaks off is said to (exit 12).

    Examples:
      llmctl import hub.jsonl --dry-run
      llmctl import "$(llm logs path)"
      llmctl import chatgpt-export.zip
    """
    from llmctl.cli import transferring

    app: App = ctx.obj
    transferring.import_(app, file, format, dry_run=dry_run)
