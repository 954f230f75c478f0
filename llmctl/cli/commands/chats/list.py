"""``llmctl chats list``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.core.errors import UsageError
from llmctl.store import refs
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records import chat_summaries

_COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("name"),
    OutputColumn("preview", header="begins with"),
    OutputColumn("model"),
    OutputColumn("message_count", "number", header="messages"),
    OutputColumn("last_turn_at", "time", header="last turn"),
    OutputColumn("description", is_default=False),
    OutputColumn("connection", is_default=False),
    OutputColumn("agent", is_default=False),
    OutputColumn("provider", is_default=False),
    OutputColumn("instructions", is_default=False),
    OutputColumn("thread_id", "id", is_default=False),
    OutputColumn("type", is_default=False),
    OutputColumn("source_id", "id", is_default=False),
    OutputColumn("last_turn_folder", is_default=False),
    OutputColumn("last_turn_terminal", "bool", is_default=False),
    OutputColumn("metadata", "json", is_default=False),
    OutputColumn("settings", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("origin", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
    OutputColumn("state", "status", is_default=False),
    OutputColumn("title", is_default=False, is_optional=True),
    OutputColumn("status", "status", is_default=False, is_optional=True),
    OutputColumn("cost", "cost", is_default=False, is_optional=True),
    OutputColumn("tokens", "number", is_default=False, is_optional=True),
    OutputColumn("superseded_by", "id", is_default=False, is_optional=True),
]
#: The table on a terminal, in order; a pipe gets the columns that it always got.
_TABLE = ("id", "title", "state", "cost", "last_turn_at", "tokens", "model", "message_count")


@list_output
def list_(
    ctx: typer.Context,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
    since: common_options.SinceOption = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="Only chats with this value in a custom field or the metadata."),
    ] = None,
    model: common_options.ModelFilterOption = None,
    agent: Annotated[str | None, typer.Option(metavar="REF", help="Only chats with this agent.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="Only chats over this connection.")] = None,
    folder: Annotated[str | None, typer.Option(metavar="PATH", help="Only chats last used from this folder.")] = None,
    program: Annotated[str | None, typer.Option("--app", metavar="NAME", help="Only chats of this app.")] = None,
    sort: Annotated[
        chat_summaries.Sort, typer.Option(metavar="KEY", help="last-turn, created, cost, tokens, messages or title.")
    ] = "last-turn",
    branches: Annotated[
        bool, typer.Option("--branches", help="Also branches that /undo, /retry or /edit left behind.")
    ] = False,
) -> None:
    """List conversations, newest first.

    The title is the name, or the first words. "state" marks a chat whose last turn failed or is unfinished, and on a
    terminal a branch; "status" is completed or empty for the others.

    Examples:
      llmctl chats list --since week --sort cost
      llmctl chats list --where ticket=42 --columns id,name,metadata
    """
    app: App = ctx.obj
    database = app.hub()
    wanted = chat_summaries.ChatFilter(
        since=listing_args.parse_time(since),
        model=model,
        agent_id=_find_id(database, "agents", agent, "agent"),
        connection_id=_find_id(database, "model_connections", connection, "connection"),
        folder=os.path.abspath(folder) if folder else None,
        where=[*_parse_where(where or ()), *([("app", program)] if program else ())],
        branches=branches,
    )
    given = (since, model, agent, connection, folder, program, where)
    extent = listing_args.extent(limit, "chats", lambda: chat_summaries.count(database, wanted), *given)
    serializer = Serializer(database, "chats")
    rows: Iterable[Row] = map(serializer.to_record, chat_summaries.list_(database, wanted, extent.limit, sort))
    columns = listing_args.add_custom_columns(database, "chats", _COLUMNS)
    if app.console.shows_table and not app.console.format.columns:
        rows = [row | {"state": row["state"] or ("branch" if row.get("superseded_by") else None)} for row in rows]
        columns = _arrange_table(columns, has_states=any(row["state"] for row in rows))
    emit_list(app.console, _note_unknown_fields(app, database, wanted, rows), columns, extent)


def _arrange_table(columns: Sequence[OutputColumn], *, has_states: bool) -> list[OutputColumn]:
    by_name = {column.name: column.replace(is_default=True) for column in columns}
    return [by_name[name] for name in _TABLE if has_states or name != "state"]


def _find_id(database: Database, table: str, ref: str | None, kind: str) -> str | None:
    return str(refs.get(database, table, ref, kind=kind)["id"]) if ref else None


def _parse_where(items: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f'--where must be FIELD=VALUE, got "{item}"')
        pairs.append((name, value))
    return pairs


def _note_unknown_fields(
    app: App, database: Database, filter: chat_summaries.ChatFilter, rows: Iterable[Row]
) -> Iterator[Row]:
    """Yield the rows; if there are none, note each field of the filter that no chat has."""
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty:
        for name, _ in filter.where:
            if not chat_summaries.has_field(database, name):
                app.console.note(f'no chat has a field "{name}"')
