"""``llmctl chats unlock``."""

from __future__ import annotations

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.engine import recovery


def unlock(
    ctx: typer.Context,
    ref: common_options.ChatArgument,
    force: common_options.ForceOption = False,
) -> None:
    """Unlock a conversation held by a dead process.

    The turn that the process left unfinished is finished first. A live process keeps the chat (exit 9), unless
    --force.

    Examples:
      llmctl chats unlock fix-42
    """
    app: App = ctx.obj
    database = app.hub("write")
    chat = listing_args.get_chat(app, ref)
    freed = recovery.unlock_thread(database, listing_args.get_thread(database, chat).id, force=force)
    app.console.note(f'chat "{listing_args.display_name(chat)}" {listing_args.UNLOCK_RESULTS[freed]}')
