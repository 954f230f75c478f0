"""``llmctl chats delete``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.commands.shared.delete_chats import delete_chats


def delete(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="Chats to delete.")],
    with_usage: Annotated[bool, typer.Option("--with-usage", help="Also delete their usage and cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete conversations and every copy of their text.

    Text is removed from messages, streams, HTTP bodies, tool calls, logs, snapshots, the search index and files that
    no other chat uses; freed pages are overwritten. Usage and cost are kept, unless --with-usage. Forks and backups
    keep what they copied.

    Examples:
      llmctl chats delete fix-42
      llmctl chats delete 3f2a9c1e 77b0aa12 --yes
    """
    delete_chats(ctx.obj, refs, with_usage=with_usage, yes=yes)
