"""``llmctl thread unlock``."""

from __future__ import annotations

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.thread.common import ThreadArgument
from llmctl.engine.recovery import unlock_thread
from llmctl.store.records import threads


def unlock(
    ctx: typer.Context,
    ref: ThreadArgument,
    force: common_options.ForceOption = False,
) -> None:
    """Unlock a thread held by a dead process.

    The turn that the process left unfinished is finished first. A live process keeps the thread (exit 9), unless
    --force.

    Examples:
      llmctl thread unlock 5ec751b5
    """
    app: App = ctx.obj
    database = app.hub("write")
    thread = threads.get_record(database, ref)
    result = unlock_thread(database, thread["id"], force=force)
    app.note(f"thread {thread['id'][:8]} {listing_args.UNLOCK_RESULTS[result]}")
