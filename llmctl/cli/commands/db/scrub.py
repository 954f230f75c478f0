"""``llmctl db scrub``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, read_text
from llmctl.cli.console.output import emit_list
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import StorageError, UsageError
from llmctl.store.maintenance import backup
from llmctl.store.maintenance import scrub as maintenance_scrub

_COLUMNS = [OutputColumn("place"), OutputColumn("values", "number")]


@list_output
def scrub(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="-", help="The secret is read from standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count where it occurs.")] = False,
) -> None:
    """Remove a secret from everywhere in the hub.

    From every table, from pieces of streams, from the search index and from unused pages of the file. It is read from
    standard input, which keeps it out of the shell history. The removal is logged.

    Examples:
      llmctl db scrub - < leaked-key.txt
      llmctl db scrub - --dry-run < leaked-key.txt
    """
    from llmctl.engine.maintenance.init import require_idle

    app: App = ctx.obj
    if source != "-":
        raise UsageError(
            "the secret must come from standard input: others can see the command line",
            hint="llmctl db scrub - < leaked-key.txt",
        )
    secret = _read_secret(app)
    database = app.hub("write")
    if not dry_run:
        require_idle(database, "scrub the hub")
    with Progress(app.console, "scrubbing") as progress:
        result = maintenance_scrub.scrub(database, secret, dry_run=dry_run, progress=progress.update)
    path = database.path
    app.close()
    app.console.note(
        f"{'would replace' if dry_run else 'replaced'} {result.values} value{'' if result.values == 1 else 's'}"
    )
    if not dry_run:
        _check_files(app, path, secret)
    emit_list(app.console, [{"place": place, "values": count} for place, count in result.places.items()], _COLUMNS)


def _read_secret(app: App) -> str:
    if app.console.io.stdin_tty:
        from llmctl.cli.console.prompts import ask_secret

        text = ask_secret(app.console, "Secret: ")
    else:
        text = read_text(app.console.io, app.console.note)
    secret = (text or "").rstrip("\r\n")
    if not secret:
        raise UsageError("no secret on standard input", hint="llmctl db scrub - < leaked-key.txt")
    return secret


def _check_files(app: App, path: str, secret: str) -> None:
    """Note the copies of the hub that still contain the secret; raise StorageError if the hub itself does."""
    copies = backup.list_backups(path)
    files = maintenance_scrub.find_files_containing(path, secret)
    for file in files:
        if file in copies:
            app.console.note(f'the copy "{file}" still contains it: delete it, or scrub it with --db')
    own = [file for file in files if file not in copies]
    if own:
        raise StorageError(
            f"the secret is still present in {', '.join(own)}",
            hint="it may be in the name or text of a table, view or index of yours; or another process was reading",
            reason="left",
        )
