"""``chats delete``, from the question to the last copy."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.cli.app import App
from llmctl.cli.console.progress import Progress
from llmctl.cli.console.prompts import confirm
from llmctl.cli.looking import called, chat
from llmctl.engine.maintenance import delete as maintenance_delete
from llmctl.store.database import Row


def delete(app: App, refs: Sequence[str], *, with_usage: bool, yes: bool) -> None:
    """Delete the chats after asking for all of them at once, and say what went."""
    database = app.hub("write")
    rows = list({row["id"]: row for row in (chat(database, ref) for ref in refs)}.values())
    confirm(app, _question(rows, with_usage), yes=yes)
    with Progress(app, "deleting") as progress:
        ids = [row["id"] for row in rows]
        erased = maintenance_delete.erase(database, ids, with_usage=with_usage, progress=progress.word)
    for row in rows:
        if app.quiet or not app.io.stdout_tty:
            app.io.write(f"{row['id']}\n")
        app.note(f'deleted the chat "{called(row)}"')
    for fork in erased.forks:
        app.note(f"the fork {fork[:8]} keeps what it copied")
    if erased.in_log:
        app.note("another process is reading the hub: deleted text leaves the write-ahead log when it ends")
    if erased.in_gaps:
        app.note("unused parts of the file may still hold pieces of the text: llmctl db vacuum writes it anew")


def _question(rows: Sequence[Row], with_usage: bool) -> str:
    names = ", ".join(f'"{called(row)}" ({row["message_count"]} messages)' for row in rows)
    costs = " and what they cost" if with_usage else ""
    return f"delete {'chats' if len(rows) > 1 else 'the chat'} {names} with every copy of the text{costs}"
