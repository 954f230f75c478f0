"""A thread as it stands now: written out in a format, or kept as a snapshot."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmctl.cli import looking
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_json, emit_list, emit_made
from llmctl.cli.looking import harmless
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.engine.inspect.transcript import conversation
from llmctl.formats import conversations
from llmctl.store.database import Database
from llmctl.store.records import snapshots

_COLUMNS = [
    Column("id", "id"),
    Column("message_count", "number", header="messages"),
    Column("created_at", "time", header="when"),
    Column("reason"),
    Column("upto_seq", "number", shown=False),
    Column("thread_id", "id", shown=False),
    Column("messages", "json", shown=False),
    Column("references", "json", shown=False),
    Column("updated_at", "time", shown=False),
]


class Wishes(NamedTuple):
    """The flags of ``chats render``."""

    format: str
    save: bool
    reason: str | None
    list: bool
    snapshot: str | None
    diff: str | None


def render(app: App, ref: str, wishes: Wishes) -> None:
    """Write a chat's thread as it is now or was kept, keep it, list what was kept, or compare."""
    if wishes.reason is not None and not wishes.save:
        raise UsageError('"--reason" needs "--save"')
    if [wishes.save, wishes.list, wishes.snapshot is not None, wishes.diff is not None].count(True) > 1:
        raise UsageError('"--save", "--list", "--snapshot" and "--diff" exclude each other')
    database = app.hub("write" if wishes.save else "read")
    thread_id = looking.thread_of(database, looking.chat(database, ref))["id"]
    if wishes.save:
        kept = keep(database, thread_id, wishes.reason)
        emit_made(app, kept, f"kept {len(kept['messages'])} messages as {kept['id'][:8]}")
    elif wishes.list:
        rows = snapshots.of_thread(database, thread_id)
        emit_list(app, [row | {"message_count": len(row["messages"])} for row in rows], _COLUMNS)
    elif wishes.snapshot is not None:
        _write_kept(app, snapshots.get(database, wishes.snapshot, thread_id)["messages"])
    elif wishes.diff is not None:
        _write_diff(app, database, thread_id, wishes.diff.split(","))
    else:
        write(app, database, thread_id, "json" if app.format.is_json else wishes.format)


def write(app: App, database: Database, thread_id: str, format: str) -> None:
    """Write every message of a thread, in order, in the format of that name."""
    render = conversations.RENDERINGS.load(format)
    for piece in render(harmless(app, conversation(database, thread_id, steps=True))):
        app.io.write(piece)


def keep(database: Database, thread_id: str, reason: str | None) -> dict[str, Any]:
    """Keep a snapshot of a thread; return its record."""
    found = conversation(database, thread_id, steps=True)
    if not found:
        raise NotFoundError("there is nothing to keep: nothing has been said yet")
    shown = conversations.plain(found)
    return snapshots.keep(database, thread_id, shown, upto_seq=found[-1]["seq"], reason=reason)


def _write_kept(app: App, messages: list[dict[str, str]]) -> None:
    if app.format.is_json:
        emit_json(app, messages)
        return
    app.io.write("\n".join(harmless(app, _lines(messages))) + "\n")


def _write_diff(app: App, database: Database, thread_id: str, ids: list[str]) -> None:
    """Write how two snapshots differ, or one and the thread as it is now, like ``diff -u``."""
    from difflib import unified_diff  # only to compare

    if len(ids) > 2:
        raise UsageError(f'"--diff {",".join(ids)}" names more than two snapshots')
    sides = [(id[:8], snapshots.get(database, id, thread_id)["messages"]) for id in ids]
    if len(sides) == 1:
        sides.append(("now", conversations.plain(conversation(database, thread_id, steps=True))))
    (old, before), (new, after) = sides
    for line in unified_diff(_lines(before), _lines(after), old, new, lineterm=""):
        app.io.write(f"{harmless(app, line)}\n")


def _lines(messages: list[dict[str, str]]) -> list[str]:
    """Return messages as lines, each under who said it."""
    return [line for one in messages for line in (f"{one['type']}:", *one["content"].splitlines(), "")]
