"""Striking a secret out of the hub, as a command does it."""

from __future__ import annotations

from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.progress import Progress
from llmctl.cli.stdin import read_text
from llmctl.core.errors import StorageError, UsageError
from llmctl.engine.maintenance.init import refuse_live
from llmctl.store.maintenance import backup
from llmctl.store.maintenance import scrub as maintenance_scrub


def scrub(app: App, *, dry_run: bool) -> list[dict[str, Any]]:
    """Replace the secret on stdin everywhere; return the places. Raises where a file still holds it."""
    secret = _secret(app)
    database = app.hub("write")
    if not dry_run:
        refuse_live(database, "scrub the hub")
    with Progress(app, "scrubbing") as progress:
        done = maintenance_scrub.scrub(database, secret, dry_run=dry_run, progress=progress.word)
    path = database.path
    app.close()
    app.note(f"{'would replace' if dry_run else 'replaced'} {done.values} value{'' if done.values == 1 else 's'}")
    if not dry_run:
        _tell_left(app, path, secret)
    return [{"place": place, "values": count} for place, count in done.places.items()]


def _secret(app: App) -> str:
    if app.io.stdin_tty:
        from llmctl.cli.console.prompts import ask_secret

        typed = ask_secret(app, "Secret: ")
    else:
        typed = read_text(app.io, app.note)
    secret = (typed or "").rstrip("\r\n")
    if not secret:
        raise UsageError("no secret on standard input", hint="llmctl db scrub - < FILE")
    return secret


def _tell_left(app: App, path: str, secret: str) -> None:
    """Name what still holds it: copies of the hub are the user's to delete; the hub itself must not."""
    copies = backup.beside(path)
    left = maintenance_scrub.files_with(path, secret)
    for file in left:
        if file in copies:
            app.note(f'the copy "{file}" still holds it: delete it, or scrub it with --db')
    own = [file for file in left if file not in copies]
    if own:
        raise StorageError(
            f"it can still be read in {', '.join(own)}",
            hint="in the name or text of a table, view or index of yours, perhaps; or another process was reading",
            reason="left",
        )
