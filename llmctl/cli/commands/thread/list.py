"""``llmctl thread list``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.store.records import threads

_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("chat_id", "id"),
    OutputColumn("chat"),
    OutputColumn("message_count", "number", header="messages"),
    OutputColumn("locking_job_id", "id", header="locked by"),
    OutputColumn("created_at", "time"),
    OutputColumn("last_seq", "number", is_default=False),
    OutputColumn("lock_status", "status", is_default=False),
    OutputColumn("parent_id", "id", is_default=False),
    OutputColumn("parent_seq", "number", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]


@list_output
def list_(
    ctx: typer.Context,
    locked: Annotated[bool, typer.Option("--locked", help="Only threads that a job holds.")] = False,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """List threads.

    Examples:
      llmctl thread list --locked
    """
    app: App = ctx.obj
    emit_list(app, threads.list_(app.hub(), listing_args.parse_limit(limit), locked=locked), _COLUMNS)
