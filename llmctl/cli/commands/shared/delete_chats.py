"""Delete chats: what ``chats delete`` and ``agent session delete`` do after finding them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmctl.cli.app import App
from llmctl.cli.console.progress import Progress
from llmctl.cli.console.prompts import confirm
from llmctl.cli.listing_args import get_chat
from llmctl.core.humanize import pluralize
from llmctl.engine.maintenance import delete as maintenance_delete
from llmctl.store.database import Database
from llmctl.store.records import chat_summaries, chats


def delete_chats(app: App, refs: Sequence[str], *, with_usage: bool, yes: bool) -> None:
    """Delete chats after one question for all of them; print their ids and report what still holds the text."""
    database = app.hub("write")
    selected = list({chat.id: chat for chat in (get_chat(app, ref) for ref in refs)}.values())
    titles = {chat.id: chats.get_title(database, chat) for chat in selected}
    confirm(app.console, _question(database, titles, with_usage), yes=yes)
    with Progress(app.console, "deleting") as progress:
        ids = [chat.id for chat in selected]
        report = maintenance_delete.delete_chats(database, ids, with_usage=with_usage, progress=progress.update)
    for chat in selected:
        if app.console.quiet or not app.console.io.stdout_tty:
            app.console.io.write(f"{chat.id}\n")
        app.console.note(f'deleted chat "{titles[chat.id]}"')
    for fork in report.forks:
        app.console.note(f"fork {fork[:8]} keeps the messages it copied")
    if report.in_log:
        app.console.note("another process is reading the hub: deleted text stays in the write-ahead log until it ends")
    if report.in_gaps:
        app.console.note("unused parts of the file may still hold some of the text; to rewrite it: llmctl db vacuum")


def _question(database: Database, titles: Mapping[str, str], with_usage: bool) -> str:
    counts = {id: chat_summaries.get(database, id)["message_count"] for id in titles}
    names = ", ".join(f'"{title}" ({pluralize(counts[id], "message")})' for id, title in titles.items())
    usage = " and their usage" if with_usage else ""
    return f"delete {'chats' if len(titles) > 1 else 'chat'} {names} and every copy of the text{usage}"
