"""``llmctl chats pick``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated

import typer

from llmctl.cli.app import App
from llmctl.core.errors import DeniedError, UsageError
from llmctl.core.humanize import format_age, format_dollars, format_title, pluralize
from llmctl.store import search
from llmctl.store.database import Database
from llmctl.store.records import chat_summaries

if TYPE_CHECKING:
    from llmctl.cli.console.picker import Picked

#: Enough for a fuzzy match in Python within a key press; texts of all chats are searched in any case.
_MAX_TITLES = 100_000
_MAX_FOUND = 200
_UNSAFE_IN_FILES = re.compile(r"[^\w.-]+")


def pick(
    ctx: typer.Context,
    query: Annotated[list[str] | None, typer.Argument(metavar="[QUERY...]", help="What to look for at first.")] = None,
) -> None:
    """Find a conversation by title and text, and continue it.

    What you type is matched fuzzily with titles, and by its words with texts, which the preview shows. Enter continues
    the chat, Ctrl-S shows it, Ctrl-E exports it as Markdown into the current folder, Ctrl-X deletes it after a
    question, Esc leaves. Shift-Up and Shift-Down scroll the preview. In a script: llmctl chats search.

    Examples:
      llmctl chats pick
      llmctl chats pick sourdough
    """
    app: App = ctx.obj
    io = app.console.io
    if not (io.stdin_tty and io.stdout_tty) or app.env.get("TERM", "dumb") == "dumb":
        raise UsageError("chats pick needs a terminal", hint="in a script: llmctl chats list, llmctl chats search")
    text = " ".join(query or ())
    while (picked := _run_picker(app, text)) is not None:
        if picked.action != "delete":
            _DO[picked.action](app, picked.id)
            return
        text = picked.query
        try:
            _delete(app, picked.id)
        except DeniedError:
            continue


def _run_picker(app: App, query: str) -> Picked | None:
    from llmctl.cli.console import picker  # prompt_toolkit: only here

    database = app.hub()
    titles = chat_summaries.list_titles(database, _MAX_TITLES)
    if not titles:
        app.console.note("no chats yet")
        return None
    sources = picker.PickerSources(
        [picker.Choice(id, title) for id, title in titles],
        lambda text: search.find_chat_ids(database, text, search.SearchFilter(), _MAX_FOUND),
        lambda id: _describe(database, id),
        lambda id, text: _preview(database, id, text),
    )
    return picker.pick(app.console.io, app.env, sources, query)


def _describe(database: Database, id: str) -> tuple[str, str]:
    row = chat_summaries.get(database, id)
    cost = format_dollars(row["cost"]) if row["cost"] else ""
    age = format_age(row["last_turn_at"] or row["created_at"])
    return row["state"] or "", f"{cost:>7}  {age:>10}"


def _preview(database: Database, id: str, query: str) -> list[str]:
    """Return the head of a chat and its messages, from the first one on that has the first word of the query."""
    row = chat_summaries.get(database, id)
    model, count = row["model"] or row["agent"] or "", pluralize(row["message_count"], "message")
    title = format_title(row["name"], row["preview"], id, max_chars=200)
    lines = [title, "  ".join(part for part in (id[:8], model, count, row["state"]) if part), ""]
    messages = chat_summaries.list_texts(database, id)
    word = next(iter(query.lower().split()), "")
    first = next((at for at, (_, text) in enumerate(messages) if word and word in text.lower()), 0)
    for role, text in messages[first:]:
        lines += [f"{role}:", *text.splitlines(), ""]
    return lines


def _continue(app: App, id: str) -> None:
    from llmctl.cli.turn.chat import ChatCommand
    from llmctl.cli.turn.input import ChatArgs
    from llmctl.core.options import TurnOptions

    ChatCommand(app, ChatArgs(chat=id, interactive=True), TurnOptions()).run()


def _show(app: App, id: str) -> None:
    _run_command(app, "chats", "show", id)


def _export(app: App, id: str) -> None:
    row = chat_summaries.get(app.hub(), id)
    stem = _UNSAFE_IN_FILES.sub("-", row["title"]).strip("-.")[:60] or id[:8]
    path = next(name for name in (f"{stem}.md", f"{stem}-{id[:8]}.md", f"{id}.md") if not os.path.exists(name))
    _run_command(app, "export", "--chat", id, "--format", "markdown", "--output", path)


def _delete(app: App, id: str) -> None:
    from llmctl.cli.commands.shared.delete_chats import delete_chats

    delete_chats(app, [id], with_usage=False, yes=False)


def _run_command(app: App, *words: str) -> None:
    from llmctl.cli import command_tree

    command_tree.execute(app, words)


_DO = {"continue": _continue, "show": _show, "export": _export}
