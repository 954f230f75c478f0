"""``llmctl chats``: look at conversations and change what they keep."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options, looking
from llmctl.cli.app import App
from llmctl.cli.chat_columns import CHATS, HITS
from llmctl.cli.console.output import emit_list, emit_made, listing, record
from llmctl.core.errors import UsageError
from llmctl.store.records import chats as store
from llmctl.store.serialize import Shape

_ROLES = ("system", "user", "assistant", "tool")


@listing
def list_(
    ctx: typer.Context,
    limit: common_options.Limit = looking.FIRST_PAGE,
    since: common_options.Since = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Custom field or metadata of that value.")
    ] = None,
    model: common_options.OfModel = None,
    agent: Annotated[str | None, typer.Option(metavar="REF", help="With this agent.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="REF", help="Over this connection.")] = None,
    folder: Annotated[str | None, typer.Option(metavar="PATH", help="Last used from this folder.")] = None,
) -> None:
    """List conversations, the newest first.

    Examples:
      llmctl chats list --since 7d
      llmctl chats list --where ticket=42 --columns id,name,metadata
    """
    from llmctl.cli import chat_filters

    app: App = ctx.obj
    database = app.hub()
    wanted = chat_filters.wanted(
        database, since=since, where=where or (), model=model, agent=agent, connection=connection, folder=folder
    )
    shape = Shape(database, "chats")
    rows = (shape.record(row) for row in store.listed(database, wanted, looking.limit(limit)))
    emit_list(app, chat_filters.noted(app, database, wanted, rows), looking.with_fields(database, "chats", CHATS))


@record
def show(
    ctx: typer.Context,
    ref: common_options.Chat,
    raw: Annotated[bool, typer.Option("--raw", help="The whole thread as it is stored.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="The steps in between, too.")] = False,
) -> None:
    """Show a conversation.

    An answer that is still being written is shown as far as it came. --json gives the chat with its messages,
    their tool calls and files, and its statistics.

    Examples:
      llmctl chats show last
      llmctl chats show fix-42 --json --all
    """
    from llmctl.cli import showing

    app: App = ctx.obj
    database = app.hub()
    showing.show_chat(app, database, looking.chat(database, ref), steps=everything, raw=raw)


@record
def new(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the chat.")] = None,
    description: common_options.Description = None,
    system: common_options.System = None,
    model: common_options.Model = None,
    connection: common_options.Connection = None,
    option: common_options.Options = None,
    metadata: common_options.Metadata = None,
    field: common_options.Field = None,
    reference: common_options.Reference = None,
) -> None:
    """Begin a conversation without asking anything.

    Examples:
      llmctl chats new fix-42 -m echo --system "You are terse."
    """
    from llmctl.cli import chat_changes

    app: App = ctx.obj
    database = app.hub("create")
    wishes = chat_changes.Wishes(
        name, description, model, connection, option or [], metadata or [], field or [], reference or []
    )
    id = store.create(database, chat_changes.columns(app, database, wishes, None), system=system)
    row = Shape(database, "chats").record(store.one(database, id))
    emit_made(app, row, f'began the chat "{looking.called(row)}"')


@record
def edit(
    ctx: typer.Context,
    ref: common_options.Chat,
    name: common_options.Name = None,
    description: common_options.Description = None,
    system: common_options.System = None,
    model: common_options.Model = None,
    connection: common_options.Connection = None,
    option: common_options.Options = None,
    metadata: common_options.Metadata = None,
    field: common_options.Field = None,
    reference: common_options.Reference = None,
) -> None:
    """Change what a conversation keeps: model, options, description, metadata.

    A new system prompt is a new message of the thread; the last one is sent. An option or metadata of the value
    null (-o temperature=null, --metadata ticket:=null) is taken away.

    Examples:
      llmctl chats edit fix-42 -m gpt-5 -o temperature=0
      llmctl chats edit last --name monads --metadata topic=haskell
    """
    from llmctl.cli import chat_changes

    app: App = ctx.obj
    database = app.hub("write")
    row = looking.chat(database, ref)
    wishes = chat_changes.Wishes(
        name, description, model, connection, option or [], metadata or [], field or [], reference or []
    )
    changes = chat_changes.columns(app, database, wishes, row)
    if not changes and system is None:
        raise UsageError("nothing to change", hint="such as --name, --model, --system; see llmctl chats edit --help")
    chat_changes.edit(database, row, changes, system)
    row = Shape(database, "chats").record(store.one(database, row["id"]))
    emit_made(app, row, f'changed the chat "{looking.called(row)}"')


@listing
def search(
    ctx: typer.Context,
    query: Annotated[list[str], typer.Argument(metavar="QUERY...", help="Words that the message holds.")],
    role: Annotated[str | None, typer.Option(metavar="ROLE", help="Said by: system, user, assistant, tool.")] = None,
    model: common_options.OfModel = None,
    since: common_options.Since = None,
    chat: Annotated[str | None, typer.Option(metavar="REF", help="In this chat.")] = None,
    fts: Annotated[bool, typer.Option("--fts", help="QUERY is in SQLite's full-text language.")] = False,
    limit: common_options.Limit = looking.FIRST_PAGE,
) -> None:
    """Find messages by their words.

    All words must be there, in any case; the last one may go on; "several words" in quotes stand together. Signs
    mean themselves: c++, foo-bar, a@b.com. The best come first; of more than 50,000 the newest.

    Examples:
      llmctl chats search monads --since 30d
      llmctl chats search '"exactly this"' --role user --json
      llmctl chats search --fts 'monad* NOT haskell'
    """
    from llmctl.store import search as index

    app: App = ctx.obj
    database = app.hub()
    wanted = index.Filter(
        role=looking.one_of(role, _ROLES, "role"),
        since=looking.moment(since),
        model=model,
        chat_id=looking.chat_id(database, chat),
    )
    rows = index.search(database, " ".join(query), wanted, looking.limit(limit), raw=fts)
    on, off = index.MARKS
    emit_list(app, (row | {"snippet": row["snippet"].replace(on, "").replace(off, "")} for row in rows), HITS)


@record
def rename(
    ctx: typer.Context,
    ref: common_options.Chat,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> None:
    """Give a conversation another name.

    Examples:
      llmctl chats rename last fix-42
    """
    app: App = ctx.obj
    database = app.hub("write")
    row = looking.chat(database, ref)
    store.edit(database, row, {"name": name})
    row = Shape(database, "chats").record(store.one(database, row["id"]))
    emit_made(app, row, f'the chat {row["id"][:8]} is now called "{name}"')


@record
def fork(
    ctx: typer.Context,
    ref: common_options.Chat,
    at: Annotated[str | None, typer.Option(metavar="SEQ|MESSAGE", help="Last message that is copied.")] = None,
    name: Annotated[str | None, typer.Option(metavar="N", help="Name of the new chat.")] = None,
) -> None:
    """Copy a conversation up to a message, to go on differently.

    What the messages cost is not counted again. Places are those of llmctl chats show REF --raw.

    Examples:
      llmctl chats fork fix-42 --at 4 --name fix-42-b
      llmctl chats fork last && llmctl chat -c "another way, please"
    """
    from llmctl.engine.chats import fork as chats_fork
    from llmctl.store.records import messages

    app: App = ctx.obj
    database = app.hub("write")
    row = looking.chat(database, ref)
    seq = messages.at(database, looking.thread_of(database, row)["id"], at)["seq"] if at is not None else None
    made = chats_fork.fork(database, row, upto_seq=seq, name=name, origin=app.origin())
    emit_made(
        app,
        Shape(database, "chats").record(made),
        f'forked "{looking.called(row)}"; go on with: llmctl chat --chat {looking.called(made)}',
    )


@record
def render(
    ctx: typer.Context,
    ref: common_options.Chat,
    format: Annotated[str, typer.Option(metavar="F", help="text, markdown or json.")] = "text",
    save: Annotated[bool, typer.Option("--save", help="Keep it as a snapshot.")] = False,
    reason: Annotated[str | None, typer.Option(metavar="T", help="Why it is kept.")] = None,
    kept: Annotated[bool, typer.Option("--list", help="List the snapshots there are.")] = False,
    snapshot: Annotated[str | None, typer.Option(metavar="ID", help="Write out this snapshot.")] = None,
    diff: Annotated[
        str | None, typer.Option(metavar="ID[,ID]", help="Compare a snapshot with another one, or with now.")
    ] = None,
) -> None:
    """Write out a whole thread; keep, list and compare snapshots of it.

    Examples:
      llmctl chats render fix-42 --format markdown > fix-42.md
      llmctl chats render last --save --reason "before the refactoring"
      llmctl chats render last --diff 4a15aa97
    """
    from llmctl.cli import rendering

    rendering.render(ctx.obj, ref, rendering.Wishes(format, save, reason, kept, snapshot, diff))


def unlock(
    ctx: typer.Context,
    ref: common_options.Chat,
    force: common_options.Force = False,
) -> None:
    """Free a conversation that a dead process holds.

    What the process left unfinished is put in order first. A live process keeps it (exit 9), unless --force.

    Examples:
      llmctl chats unlock fix-42
    """
    from llmctl.engine.jobs import unlock as jobs_unlock

    app: App = ctx.obj
    database = app.hub("write")
    row = looking.chat(database, ref)
    freed = jobs_unlock.free(database, looking.thread_of(database, row)["id"], force=force)
    app.note(f'the chat "{looking.called(row)}" {looking.FREED[freed]}')


def delete(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="Chats to delete.")],
    with_usage: Annotated[bool, typer.Option("--with-usage", help="Forget what they cost, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a conversation and every copy of its text.

    Messages, streams, HTTP bodies, tool calls, logs, snapshots, files that no other chat uses and the search index
    lose it; what is freed is overwritten. The ledger keeps the numbers, unless --with-usage. Forks and backups keep
    what they copied.

    Examples:
      llmctl chats delete fix-42
      llmctl chats delete 3f2a9c1e 77b0aa12 --yes
    """
    from llmctl.cli import erasing

    erasing.delete(ctx.obj, refs, with_usage=with_usage, yes=yes)
