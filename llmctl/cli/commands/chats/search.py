"""``llmctl chats search``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.store import search as index

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
    limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT,
) -> None:
    """Search messages by their words.

    All words must match, ignoring case; the last matches as a prefix; "quoted words" match as a phrase. Punctuation
    is literal: c++, foo-bar, a@b.com. The best matches come first; of more than 50,000, the newest are ranked.

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
    rows = index.search(database, " ".join(query), wanted, listing_args.parse_limit(limit), raw=fts)
    on, off = index.HIGHLIGHT_MARKS
    emit_list(
        app.console, (row | {"snippet": row["snippet"].replace(on, "").replace(off, "")} for row in rows), _COLUMNS
    )
