"""Decide on pending calls: what ``tool approve`` and ``tool deny`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_record
from llmctl.cli.listing_args import resolve_last
from llmctl.core.errors import UsageError
from llmctl.store.database import Database
from llmctl.store.records import invocations
from llmctl.store.records.types import InvocationRow

CallsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="Pending calls: ids, or id prefixes.")]
ContinueTurnOption = Annotated[bool, typer.Option("--continue", "-c", help="Continue the turn.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Continue in the background; print the job id.")]


def decide_calls(
    app: App,
    refs: Sequence[str],
    decide: Callable[[Database, InvocationRow], None],
    verb: str,
    *,
    continues: bool,
    detach: bool,
) -> None:
    """Decide on each call; then continue their chats, or print the calls as they are now."""
    from llmctl.cli.turn.chat import continue_turn
    from llmctl.engine.tools import approvals

    if detach and not continues:
        raise UsageError("--detach requires --continue")
    database = app.hub("write")
    rows = [invocations.get(database, resolve_last(app, "invocation", ref)) for ref in refs]
    chats = dict.fromkeys(approvals.root_chat_of_call(database, row) for row in rows)
    for row in rows:
        decide(database, row)
        app.console.note(f"{verb} {row.name} {row.id[:8]}")
    if continues:
        for chat_id in chats:
            continue_turn(app, chat_id, detach=detach)
        return
    if app.console.format.is_json:
        for row in rows:
            emit_record(app.console, invocations.get_record(database, row.id))
    for chat_id in chats:
        app.console.note(f"continue with: llmctl chat --chat {chat_id[:8]}")
