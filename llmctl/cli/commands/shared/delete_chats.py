"""Delete chats: what ``chats delete`` and ``agent session delete`` do after finding them."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.cli.app import App
from llmctl.cli.console.progress import Progress
from llmctl.cli.console.prompts import confirm
from llmctl.cli.listing_args import display_name, get_chat
from llmctl.core.humanize import pluralize
from llmctl.engine.maintenance import delete as maintenance_delete
from llmctl.store.database import Database
from llmctl.store.records import chat_summaries
from llmctl.store.records.types import ChatRow


def delete_chats(app: App, refs: Sequence[str], *, with_usage: bool, yes: bool) -> None:
    """Delete chats after one question for all of them; print their ids and report what still holds the text."""
    database = app.hub("write")
    selected = list({chat.id: chat for chat in (get_chat(app, ref) for ref in refs)}.values())
    confirm(app.console, _question(database, selected, with_usage), yes=yes)
    with Progress(app.console, "deleting") as progress:
        ids = [chat.id for chat in selected]
        report = maintenance_delete.delete_chats(database, ids, with_usage=with_usage, progress=progress.update)
    for chat in selected:
        if app.console.quiet or not app.console.io.stdout_tty:
            app.console.io.write(f"{chat.id}\n")
        app.console.note(f'deleted chat "{display_name(chat)}"')
    for fork in report.forks:
        app.console.note(f"fork {fork[:8]} keeps the messages it copied")
    if report.in_log:
        app.console.note("another process is reading the hub: deleted text stays in the write-ahead log until it ends")
    if report.in_gaps:
        app.console.note("unused parts of the file may still hold some of the text; to rewrite it: llmctl db vacuum")


def _question(database: Database, selected: Sequence[ChatRow], with_usage: bool) -> str:
    counts = {chat.id: chat_summaries.get(database, chat.id)["message_count"] for chat in selected}
    names = ", ".join(f'"{display_name(chat)}" ({pluralize(counts[chat.id], "message")})' for chat in selected)
    usage = " and their usage" if with_usage else ""
    return f"delete {'chats' if len(selected) > 1 else 'chat'} {names} and every copy of the text{usage}"
