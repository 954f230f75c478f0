"""``db prune``: from the question to what it freed."""

from __future__ import annotations

from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.progress import Progress
from llmctl.cli.console.prompts import confirm
from llmctl.core import time_ranges
from llmctl.core.errors import LockedError
from llmctl.core.registry import unknown
from llmctl.engine.maintenance import delete
from llmctl.store.database import Database
from llmctl.store.maintenance import integrity, wal
from llmctl.store.maintenance import prune as maintenance_prune
from llmctl.store.maintenance.prune import Pruned

#: Whole conversations are a kind too, but never taken unless they are named.
CHATS = "chats"
KINDS = (*maintenance_prune.KINDS, CHATS)


def prune(app: App, older_than: str, kinds: str, *, dry_run: bool, yes: bool, vacuum: bool) -> list[dict[str, Any]]:
    """Take old text away after asking; return what went of each kind. Raises where a live job holds a chat."""
    wanted = _kinds(kinds)
    before = time_ranges.moment(older_than)
    database = app.hub("read" if dry_run else "write")
    found = [_count(database, kind, before) for kind in wanted]
    if not dry_run and any(one.rows for one in found):
        confirm(app, _question(found, before), yes=yes)
        with Progress(app, "pruning") as progress:
            for one in found:
                _take(database, one, before, progress)
            wal.empty(database.connection)
            if vacuum:
                progress.word("writing the file anew")
                _vacuum(app, database)
    _tell(app, found, dry_run=dry_run, vacuum=vacuum)
    return [one._asdict() for one in found]


def _kinds(text: str) -> list[str]:
    kinds = list(dict.fromkeys(kind.strip() for kind in text.split(",") if kind.strip()))
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind", kind, KINDS)
    return kinds


def _count(database: Database, kind: str, before: str) -> Pruned:
    if kind != CHATS:
        return maintenance_prune.count(database, kind, before)
    return Pruned(kind, len(maintenance_prune.old_chats(database, before)), 0)


def _take(database: Database, one: Pruned, before: str, progress: Progress) -> None:
    if one.kind == CHATS:
        delete.erase(database, maintenance_prune.old_chats(database, before), progress=progress.word)
        return
    done = 0
    for rows in maintenance_prune.prune(database, one.kind, before):
        done += rows
        progress.word(f"{one.kind} {done} of {one.rows}")


def _vacuum(app: App, database: Database) -> None:
    try:
        integrity.vacuum(database)
    except LockedError as error:
        app.note(error.message)


def _question(found: list[Pruned], before: str) -> str:
    parts = [f"{one.rows} {one.kind}" + (f" ({one.bytes:,} bytes)" if one.bytes else "") for one in found if one.rows]
    return f"take away for good, from before {before[:10]}: {', '.join(parts)}; the numbers of the ledger stay"


def _tell(app: App, found: list[Pruned], *, dry_run: bool, vacuum: bool) -> None:
    freed = sum(one.bytes for one in found)
    if not any(one.rows for one in found):
        app.note("nothing is that old")
    elif dry_run:
        app.note(f"would take away {freed:,} bytes of text")
    else:
        app.note(f"took away {freed:,} bytes of text" + ("" if vacuum else "; make the file smaller: llmctl db vacuum"))
