"""``llmctl message list``."""

from __future__ import annotations

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.message.common import COLUMNS
from llmctl.cli.console.output import emit_list, list_output
from llmctl.engine.inspect import transcript
from llmctl.store.records import messages


@list_output
def list_(
    ctx: typer.Context,
    chat: common_options.ChatFilterOption = None,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List messages.

    Newest first, including intermediate steps and tool results.

    Examples:
      llmctl message list --chat last --jsonl
    """
    app: App = ctx.obj
    database = app.hub()
    thread = listing_args.get_thread(database, listing_args.get_chat(database, chat)) if chat is not None else None
    rows = messages.list_(database, thread.id if thread else None, listing_args.parse_limit(limit))
    columns = listing_args.add_custom_columns(database, "messages", COLUMNS)
    emit_list(app, transcript.with_partial_answers(database, rows), columns)
