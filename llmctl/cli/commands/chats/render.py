"""``llmctl chats render``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.shared.messages import PlainOption, write_messages
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import Extent, emit_change, emit_json, emit_list
from llmctl.cli.listing_args import sanitize
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.exported_conversation import ExportedMessage
from llmctl.core.humanize import pluralize
from llmctl.engine.inspect.transcript import conversation
from llmctl.formats import conversations
from llmctl.store.database import Database
from llmctl.store.records import chats

_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("message_count", "number", header="messages"),
    OutputColumn("created_at", "time", header="when"),
    OutputColumn("reason"),
    OutputColumn("upto_seq", "number", is_default=False),
    OutputColumn("thread_id", "id", is_default=False),
    OutputColumn("messages", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]


@record_output
def render(
    ctx: typer.Context,
    ref: common_options.ChatArgument,
    format: Annotated[str, typer.Option(metavar="FORMAT", help="text, markdown or json.")] = "text",
    save: Annotated[bool, typer.Option("--save", help="Save it as a snapshot.")] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason for the snapshot.")] = None,
    list_snapshots: Annotated[bool, typer.Option("--list", help="List the snapshots.")] = False,
    snapshot: Annotated[str | None, typer.Option(metavar="ID", help="Print this snapshot.")] = None,
    diff: Annotated[
        str | None, typer.Option(metavar="ID[,ID]", help="Compare a snapshot with another one, or with the thread.")
    ] = None,
    plain: PlainOption = False,
) -> None:
    """Print a whole thread; save, list and compare snapshots of it.

    Examples:
      llmctl chats render fix-42 --format markdown > fix-42.md
      llmctl chats render last --save --reason "before the refactoring"
      llmctl chats render last --diff 4a15aa97
    """
    app: App = ctx.obj
    if reason is not None and not save:
        raise UsageError("--reason requires --save")
    if [save, list_snapshots, snapshot is not None, diff is not None].count(True) > 1:
        raise UsageError("--save, --list, --snapshot and --diff cannot be combined")
    database = app.hub("write" if save else "read")
    thread_id = listing_args.get_thread(database, listing_args.get_chat(app, ref)).id
    if save:
        row = _save_snapshot(database, thread_id, reason)
        emit_change(app.console, row, f"saved {pluralize(len(row['messages']), 'message')} as snapshot {row['id'][:8]}")
    elif list_snapshots:
        rows = chats.list_snapshots(database, thread_id)
        listed = [row | {"message_count": len(row["messages"])} for row in rows]
        emit_list(app.console, listed, _COLUMNS, Extent("no snapshots yet"))
    elif snapshot is not None:
        _write_snapshot(app, chats.get_snapshot(database, snapshot, thread_id)["messages"])
    elif diff is not None:
        _write_diff(app, database, thread_id, diff.split(","))
    else:
        _write_thread(app, database, thread_id, "json" if app.console.format.is_json else format, plain=plain)


def _write_thread(app: App, database: Database, thread_id: str, format: str, *, plain: bool) -> None:
    """Write every message of a thread, in order, in the named format."""
    render_messages = conversations.RENDERINGS.load(format)
    messages = conversation(database, thread_id, steps=True)
    if format == "text":
        write_messages(app, messages, plain=plain)
        return
    records = sanitize(app.console, messages)
    for piece in render_messages(map(ExportedMessage.from_record, records)):
        app.console.io.write(piece)


def _save_snapshot(database: Database, thread_id: str, reason: str | None) -> dict[str, Any]:
    messages = _read_messages(database, thread_id)
    if not messages:
        raise NotFoundError("cannot save a snapshot: the chat has no messages yet")
    plain = conversations.to_snapshot(messages)
    return chats.add_snapshot(database, thread_id, plain, upto_seq=messages[-1].seq, reason=reason)


def _write_snapshot(app: App, messages: Sequence[Mapping[str, str]]) -> None:
    if app.console.format.is_json:
        emit_json(app.console, messages)
        return
    app.console.io.write("\n".join(sanitize(app.console, _to_lines(messages))) + "\n")


def _write_diff(app: App, database: Database, thread_id: str, ids: Sequence[str]) -> None:
    """Write how two snapshots differ, or one and the thread as it is now, like ``diff -u``."""
    from difflib import unified_diff

    if len(ids) > 2:
        raise UsageError(f'--diff must be one or two snapshots, got "{",".join(ids)}"')
    sides = [(id[:8], chats.get_snapshot(database, id, thread_id)["messages"]) for id in ids]
    if len(sides) == 1:
        sides.append(("now", conversations.to_snapshot(_read_messages(database, thread_id))))
    (old, before), (new, after) = sides
    for line in unified_diff(_to_lines(before), _to_lines(after), old, new, lineterm=""):
        app.console.io.write(f"{sanitize(app.console, line)}\n")


def _read_messages(database: Database, thread_id: str) -> list[ExportedMessage]:
    return list(map(ExportedMessage.from_record, conversation(database, thread_id, steps=True)))


def _to_lines(messages: Sequence[Mapping[str, str]]) -> list[str]:
    """Return messages as lines, each below its role."""
    return [line for one in messages for line in (f"{one['type']}:", *one["content"].splitlines(), "")]
