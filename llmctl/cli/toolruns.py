"""Running a tool at the command line, looking at a run, deciding on calls that wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_json, emit_record
from llmctl.cli.console.terminal import safe_text
from llmctl.cli.toolwishes import json_of
from llmctl.cli.turn.resume import go_on
from llmctl.cli.values import pairs
from llmctl.core.errors import UsageError
from llmctl.core.stored_json import dumps
from llmctl.engine.tools import approvals
from llmctl.store.database import Database, Row
from llmctl.store.records import invocations, job_log
from llmctl.store.serialize import Shape


def run(app: App, ref: str, args: str | None, arg: list[str], timeout_s: float | None) -> None:
    """Run a tool; its result goes to stdout, whatever went wrong is raised."""
    from llmctl.engine.tools.invoke import invoke
    from llmctl.engine.tools.toolset import tool_of

    if timeout_s is not None and timeout_s <= 0:
        raise UsageError(f'"--timeout {timeout_s:g}" is no number of seconds above 0')
    arguments = _arguments(app, args, arg)
    database = app.hub("create")
    tool = tool_of(database, ref)
    row, problem = invoke(database, tool, dumps(arguments), app.surroundings(), timeout_s=timeout_s)
    if app.format.is_json:
        emit_json(app, invocations.record(Shape(database, "tool_invocations"), row))
    elif problem is None:
        text = str(row["result"] or "")
        app.io.write((safe_text(text) if app.io.stdout_tty else text) + ("\n" if text else ""))
    if problem is not None:
        raise problem


def shown(app: App, ref: str) -> Row:
    """Return a run as a record, with what it printed."""
    database = app.hub()
    row = invocations.get(database, ref)
    pieces = job_log.pieces(database, row["text_log_id"]) if row["text_log_id"] else []
    return invocations.record(Shape(database, "tool_invocations"), row) | {
        "log": "".join(piece["text"] for piece in pieces)
    }


def approve(app: App, refs: list[str], because: str | None, *, always: bool, continues: bool, detach: bool) -> None:
    def decide(database: Database, row: Row) -> None:
        approvals.approve(database, row, because=because, always=always)

    _decide(app, refs, decide, "approved", continues=continues, detach=detach)


def deny(app: App, refs: list[str], because: str | None, *, never: bool, continues: bool, detach: bool) -> None:
    def decide(database: Database, row: Row) -> None:
        approvals.deny(database, row, because=because, never=never)

    _decide(app, refs, decide, "denied", continues=continues, detach=detach)


def _decide(
    app: App,
    refs: list[str],
    decide: Callable[[Database, Row], None],
    word: str,
    *,
    continues: bool,
    detach: bool,
) -> None:
    """Decide on each; then go on with their chats, or show the calls as they are now."""
    if detach and not continues:
        raise UsageError('"--detach" needs "--continue"')
    database = app.hub("write")
    rows = [invocations.get(database, ref) for ref in refs]
    chats = dict.fromkeys(approvals.root_of(database, row) for row in rows)
    for row in rows:
        decide(database, row)
        app.note(f"{word} {row['name']} {row['id'][:8]}")
    if continues:
        for chat_id in chats:
            go_on(app, chat_id, detach=detach)
        return
    for row in rows:
        now = invocations.record(Shape(database, "tool_invocations"), invocations.get(database, row["id"]))
        if app.format.is_json:
            emit_record(app, now)
    for chat_id in chats:
        app.note(f"go on with: llmctl chat --chat {chat_id[:8]}")


def _arguments(app: App, args: str | None, arg: list[str]) -> Any:
    if args is None:
        return pairs(arg, "--arg")
    if args == "-":
        from llmctl.cli.stdin import read_text

        args = read_text(app.io, app.note)
    found = json_of(args, "--args")
    if arg and not isinstance(found, dict):
        raise UsageError('"--args" is no object that "--arg" could add to')
    return {**found, **pairs(arg, "--arg")} if arg else found
