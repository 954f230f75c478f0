"""``llmctl chats search``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import Extent, emit_list
from llmctl.store import search as index
from llmctl.store.database import Row

_COLUMNS = [
    OutputColumn("chat_id", "id"),
    OutputColumn("chat"),
    OutputColumn("seq", "number", header="#"),
    OutputColumn("role"),
    OutputColumn("created_at", "time", header="when"),
    OutputColumn("snippet"),
    OutputColumn("id", "id", is_default=False),
    OutputColumn("thread_id", "id", is_default=False),
    OutputColumn("model", is_default=False),
]
#: One row per chat.
_CHAT_COLUMNS = [
    OutputColumn("chat_id", "id"),
    OutputColumn("title"),
    OutputColumn("snippet", "snippet"),
    OutputColumn("hits", "number"),
    OutputColumn("created_at", "time", header="newest"),
    OutputColumn("id", "id", is_default=False),
    OutputColumn("seq", "number", header="#", is_default=False),
    OutputColumn("role", is_default=False),
]
_ROLES = ("system", "user", "assistant", "tool")


@list_output
def search(
    ctx: typer.Context,
    query: Annotated[list[str], typer.Argument(metavar="QUERY...", help="Words to find.")],
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Only this role: system, user, assistant or tool.")
    ] = None,
    model: common_options.ModelFilterOption = None,
    since: common_options.SinceOption = None,
    chat: Annotated[str | None, typer.Option(metavar="REF", help="Only this chat.")] = None,
    fts: Annotated[bool, typer.Option("--fts", help="QUERY is in SQLite's full-text query syntax.")] = False,
    newest: Annotated[bool, typer.Option("--newest", help="On a terminal: newest first, not best first.")] = False,
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """Search messages by their words.

    All words must match, ignoring case; the last matches as a prefix; "quoted words" match as a phrase. Punctuation
    is literal: c++, foo-bar, a@b.com. The best matches come first; of more than 50,000, the newest are ranked. A
    terminal shows one row per chat, with its best match, and so does --columns title or hits; pipes and the other
    formats get one row per message.

    Examples:
      llmctl chats search monads --since 30d
      llmctl chats search '"exactly this"' --role user --json
      llmctl chats search --fts 'monad* NOT haskell'
    """
    app: App = ctx.obj
    database = app.hub()
    wanted = index.SearchFilter(
        role=listing_args.require_choice(role, _ROLES, "role"),
        since=listing_args.parse_time(since),
        model=model,
        chat_id=listing_args.find_chat_id(app, chat),
    )
    text, number, columns = " ".join(query), listing_args.parse_limit(limit), app.console.format.columns
    by_chat = {"title", "hits"} & set(columns) if columns else app.console.shows_table
    rows: list[Row]
    if by_chat:
        rows = index.search_chats(database, text, wanted, number, raw=fts, newest=newest)
    else:
        rows = index.search(database, text, wanted, number, raw=fts)
    if not (by_chat and app.console.shows_table):
        on, off = index.HIGHLIGHT_MARKS
        rows = [row | {"snippet": row["snippet"].replace(on, "").replace(off, "")} for row in rows]

    def count() -> int:
        return len(index.find_chat_ids(database, text, wanted, None, raw=fts))

    extent = Extent("nothing found", number, count if by_chat else None)
    emit_list(app.console, rows, _CHAT_COLUMNS if by_chat else _COLUMNS, extent)
