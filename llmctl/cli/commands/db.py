"""``llmctl db``: the hub's file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, answer, emit_json, emit_list, emit_record, listing, record
from llmctl.core.errors import StorageError, UsageError

_PLACES = [Column("place"), Column("path"), Column("exists", "bool"), Column("bytes", "number")]
_FINDINGS = [Column("name"), Column("problem"), Column("hint")]
_STEPS = [Column("version", "number"), Column("name"), Column("kind"), Column("checksum", shown=False)]
_SCRUBBED = [Column("place"), Column("values", "number")]

#: Rows of a query on a terminal, unless --limit says otherwise; a pipe gets all.
_SCREENFUL = 1000


@listing
def path(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Every place that llmctl writes to.")] = False,
) -> None:
    """Print where the hub is.

    Or would be: nothing is made.

    Examples:
      sqlite3 "$(llmctl db path)" .schema
      llmctl db path --all
    """
    from llmctl.cli import inventory

    app: App = ctx.obj
    if everything:
        emit_list(app, inventory.places(app), _PLACES)
    elif app.format.kind != "auto":
        emit_list(app, inventory.hub(app), _PLACES)
    else:
        app.io.write(f"{inventory.absolute(app.hub_path)}\n")


@record
def status(ctx: typer.Context) -> None:
    """Show the hub's size, version and counts.

    Examples:
      llmctl db status --json
    """
    from llmctl.store.maintenance import integrity

    app: App = ctx.obj
    facts = integrity.status(app.hub())
    kinds: Any = {name: "number" for name, value in facts.items() if isinstance(value, int)}
    kinds |= {"tables": "json", "fields": "json"}
    emit_record(app, facts, [Column(name, kinds.get(name, "text")) for name in facts])


@listing
def migrate(
    ctx: typer.Context,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be done.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only try it, on a copy of the hub.")] = False,
) -> None:
    """Upgrade the hub to this version's schema.

    A copy of the hub is made first, beside it. What only adds tables and columns happens by itself at the first
    write; what rewrites tables waits for this command.

    Examples:
      llmctl db migrate --plan
      llmctl db migrate
    """
    from llmctl.cli import migrating

    app: App = ctx.obj
    app.close()
    if plan and verify:
        raise UsageError('"--plan" and "--verify" exclude each other')
    steps = migrating.plan(app) if plan else migrating.verify(app) if verify else migrating.run(app)
    emit_list(app, steps, _STEPS)


@listing
def check(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what reads the whole file.")] = False,
) -> None:
    """Check the hub's integrity.

    Pages and indexes, references, orphans, files that no message has, turns that nobody finishes, the search index,
    sums that are not those of the rows, the schema. Prints what is wrong and leaves with 13; prints nothing where
    nothing is.

    Examples:
      llmctl db check && echo sound
    """
    from llmctl.cli.console.progress import Progress
    from llmctl.engine.maintenance import health

    app: App = ctx.obj
    database = app.hub()
    found = []
    with Progress(app, "checking") as progress:
        for finding in health.check(database, quick=quick):
            progress.word(finding.name)
            found.append(finding)
    wrong = [finding for finding in found if finding.problem]
    shown = found if app.format.is_json else wrong
    emit_list(app, ({"name": f.name, "problem": f.problem, "hint": f.hint} for f in shown), _FINDINGS)
    if wrong:
        number = len(wrong)
        raise StorageError(
            f'{number} thing{" is" if number == 1 else "s are"} wrong with the hub "{database.path}"', reason="unsound"
        )
    app.note(f"the hub is sound: {len(found)} things were checked")


@answer
def backup(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Copy the hub to another file, while it is in use.

    The copy is whole and checked, or not there at all. It is one file that only you can read.

    Examples:
      llmctl db backup ~/hub-$(date +%F).db
    """
    from llmctl.cli.console.progress import Progress
    from llmctl.store.maintenance import backup as maintenance_backup

    app: App = ctx.obj
    with Progress(app, "copying") as progress:
        size = maintenance_backup.back_up(app.hub(), file, force=force, progress=progress)
    _report(app, {"path": file, "bytes": size}, file, f'copied the hub to "{file}", {size:,} bytes')


@answer
def restore(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A copy that db backup made.")],
    force: Annotated[bool, typer.Option("--force", help="Even while a turn is running.")] = False,
) -> None:
    """Put a backup in the hub's place.

    The hub as it was is kept beside it. Other processes may go on reading meanwhile.

    Examples:
      llmctl db restore ~/hub-2026-01-02.db
    """
    from llmctl.cli import restoring

    app: App = ctx.obj
    kept = restoring.restore(app, file, force=force)
    place = app.hub_path
    app.note(f'the old hub is kept in "{kept}"' if kept else f'there was no hub at "{place}"')
    _report(app, {"path": place, "kept": kept}, place, f'restored "{place}" from "{file}"')


@answer
def vacuum(ctx: typer.Context) -> None:
    """Give unused space back to the file system.

    Writes the file anew, rebuilds the search index and empties the write-ahead log. Needs as much free space again.

    Examples:
      llmctl db vacuum
    """
    from llmctl.store.maintenance import integrity

    app: App = ctx.obj
    done = integrity.vacuum(app.hub("write"))
    text = f"{done.before:,} bytes before, {done.after:,} after"
    _report(app, {"bytes_before": done.before, "bytes_after": done.after}, None, text)


@listing
def prune(
    ctx: typer.Context,
    older_than: Annotated[str, typer.Option(metavar="T", help="Such as 90d, 4w or 2026-01-01.")],
    kind: Annotated[
        str, typer.Option(metavar="KINDS", help="Of streams, http, logs, renders, metrics, attachments, jobs, chats.")
    ] = "streams,http",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Make the file smaller too.")] = False,
) -> None:
    """Take old text out of the hub; the ledger's numbers stay.

    streams: what models sent, byte by byte (messages keep their text). http: bodies and headers of attempts. logs,
    renders, metrics, jobs: those rows. attachments: files that no message has any more. chats: conversations that
    nothing was said in since, as chats delete does.

    Examples:
      llmctl db prune --older-than 90d --dry-run
      llmctl db prune --older-than 1w --kind streams,http,logs --yes --vacuum
    """
    from llmctl.cli import pruning

    app: App = ctx.obj
    rows = pruning.prune(app, older_than, kind, dry_run=dry_run, yes=yes, vacuum=vacuum)
    emit_list(app, rows, [Column("kind"), Column("rows", "number"), Column("bytes", "number")])


@listing
def scrub(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="-", help="The secret is read from standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count where it stands.")] = False,
) -> None:
    """Replace a secret everywhere in the hub.

    In every table, in pieces of streams, in the search index and in the file's unused pages. It is read from
    standard input, so that it is in no shell history. That it happened is logged.

    Examples:
      llmctl db scrub - < leaked-key.txt
      llmctl db scrub - --dry-run < leaked-key.txt
    """
    from llmctl.cli import scrubbing

    app: App = ctx.obj
    if source != "-":
        raise UsageError(
            "the secret is read from standard input, never from the command line, where others see it",
            hint="llmctl db scrub - < FILE",
        )
    emit_list(app, scrubbing.scrub(app, dry_run=dry_run), _SCRUBBED)


@listing
def query(
    ctx: typer.Context,
    sql: Annotated[str, typer.Argument(metavar="SQL|-", help="One SELECT; - reads it from standard input.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="K=V", help="A value for :K; K:=JSON for a number.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most so many rows; 0 is all.")] = None,
) -> None:
    """Run read-only SQL.

    Over documented views whose columns keep their names: see llmctl help sql. On a terminal the first 1000 rows
    are shown, a pipe gets all.

    Examples:
      llmctl db query "SELECT model, count(*) AS n FROM v_requests GROUP BY model"
      llmctl db query "SELECT * FROM v_messages WHERE chat = :chat" -p chat=fix-42 --json
    """
    from llmctl.cli import values
    from llmctl.store import readonly_sql

    app: App = ctx.obj
    result = readonly_sql.run(app.hub(), _sql(app, sql), values.pairs(param or (), "--param"))
    unlimited = limit is None and not app.io.stdout_tty
    most = None if unlimited or limit == 0 else _SCREENFUL if limit is None else limit
    rows = _first(app, result.rows, most) if most is not None else result.rows
    emit_list(app, rows, [Column(name) for name in result.columns])


def _sql(app: App, sql: str) -> str:
    if sql == "-":
        from llmctl.cli.stdin import read_text

        sql = read_text(app.io, app.note)
    if not sql.strip():
        raise UsageError("no SQL", hint="see: llmctl help sql")
    return sql


def _first(app: App, rows: Any, most: int) -> Any:
    if most < 0:
        raise UsageError(f'"--limit {most}" is less than 0', hint="0 shows all")
    for number, row in enumerate(rows):
        if number == most:
            app.note(f"only the first {most} rows; --limit 0 shows all")
            return
        yield row


def _report(app: App, document: dict[str, Any], made: str | None, text: str) -> None:
    """Say what was done: a document for programs, what was made for scripts, a line for people."""
    app.note(text)
    if app.format.is_json:
        emit_json(app, document)
    elif made is not None and (app.quiet or not app.io.stdout_tty):
        app.io.write(f"{made}\n")
