"""What ``llmctl init`` does: a hub that is there and up to date, ways to a model, a schema for Prisma."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmctl.core.errors import LockedError, UsageError
from llmctl.engine.connections import discovery, edit
from llmctl.engine.connections.keys import Env
from llmctl.engine.jobs import lease
from llmctl.engine.maintenance import prisma_file
from llmctl.store import opening
from llmctl.store.adopt import run
from llmctl.store.database import Database
from llmctl.store.maintenance import backup as maintenance_backup
from llmctl.store.records import settings
from llmctl.store.schema import custom_fields, migrations, table_names

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks of ``init``. ``prisma`` None: no schema is written."""

    tables: Mapping[str, str] = field(default_factory=dict)
    fields: Sequence[custom_fields.Field] = ()
    adopt: bool = False
    detect: bool = True
    prisma: prisma_file.Wish | None = field(default_factory=prisma_file.Wish)


@dataclass(slots=True)
class Report:
    """What came of it: the object of ``init --json``."""

    path: str
    created: bool = False
    adopted: dict[str, Any] | None = None
    migrated: list[str] = field(default_factory=list)
    backup: str | None = None
    tables: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    connections: list[dict[str, Any]] = field(default_factory=list)
    default_connection: str | None = None
    files: list[dict[str, str]] = field(default_factory=list)


def set_up(
    path: str,
    wish: Wish,
    env: Env,
    *,
    note: Note = lambda text: None,
    progress: maintenance_backup.Progress | None = None,
) -> Report:
    """Make the hub at ``path`` what the wish says; every part may be asked for again and changes nothing then."""
    if path == opening.MEMORY:
        raise UsageError("a hub in memory is gone before it can be used", hint="name a file with --db")
    report = Report(os.path.abspath(path))
    _make(path, wish, report, note, progress)
    database = opening.open_hub(path, "write", upgrade=False)
    try:
        _upgrade(database, report, note, progress)
        _shape(database, wish, report, note)
        _connect(database, wish, env, report, note)
        _write_files(database, wish, report, note)
        if not settings.value(database, "bootstrapped"):
            settings.write(database, "bootstrapped", True)
    finally:
        database.close()
    return report


def refuse_live(database: Database, doing: str) -> None:
    """Raise LockedError while a turn runs on the hub: what is done would pull the ground away from under it."""
    running = database.query("SELECT * FROM {jobs} WHERE status = 'running' AND type <> 'command' ORDER BY created_at")
    alive = next((job for job in running if lease.is_alive(job)), None)
    if alive is not None:
        host = str(alive["host"]).partition("/")[0]
        raise LockedError(
            f'cannot {doing} while "{alive["name"]}" runs (process {alive["pid"]} on {host})',
            hint=f"wait for it: llmctl job show {alive['id'][:8]}",
            reason="busy",
        )


def _make(path: str, wish: Wish, report: Report, note: Note, progress: maintenance_backup.Progress | None) -> None:
    if wish.adopt:
        adopted = run.adopt(path, wish.tables, note=note, progress=progress)
        if adopted is None:
            note(f'"{path}" is a hub already: there is nothing to adopt')
        else:
            report.adopted, report.backup = asdict(adopted), adopted.backup
            _tell_adopted(adopted, note)
    elif not os.path.exists(path) or not os.path.getsize(path):
        table_names.check_new(wish.tables)
        report.created = opening.create(path, table_names.differing(wish.tables))
        note(f'{"made" if report.created else "found"} the hub "{report.path}"')


def _tell_adopted(adopted: run.Adopted, note: Note) -> None:
    for table, (before, after) in adopted.rows.items():
        note(f'"{table}": {before} rows before, {after} after')
    for text in adopted.notes:
        note(text)
    others = {ours: theirs for ours, theirs in adopted.tables.items() if theirs not in adopted.rows}
    for ours, theirs in others.items():
        note(f'the table "{ours}" is called "{theirs}": the name was taken, or you said so')


def _upgrade(database: Database, report: Report, note: Note, progress: maintenance_backup.Progress | None) -> None:
    if migrations.pending(database):
        done = migrations.upgrade(database, note=note, progress=progress)
        report.migrated = [f"{step.version:04d}_{step.name}" for step in done.steps]
        report.backup = report.backup or done.backup


def _shape(database: Database, wish: Wish, report: Report, note: Note) -> None:
    if wish.tables and report.adopted is None:
        table_names.check_names(wish.tables)
        if any(database.names.get(logical, logical) != name for logical, name in wish.tables.items()):
            refuse_live(database, "rename tables")
        report.tables = table_names.rename(database, wish.tables)
        for logical, name in report.tables.items():
            note(f'the table "{logical}" is called "{name}" now')
    added = custom_fields.add(database, wish.fields)
    report.fields = [f"{one.table}.{one.name}" for one in added]
    for one in added:
        note(f'added the field "{one.table}.{one.name}" ({one.type}{", indexed" if one.index else ""})')


def reshape(database: Database, names: Mapping[str, str], specs: Sequence[str]) -> None:
    """Give tables these names and add these fields (``TABLE.NAME:TYPE``), where that is not so already."""
    _shape(
        database,
        Wish(tables=names, fields=[custom_fields.parse(spec) for spec in specs]),
        Report(database.path),
        _silent,
    )


def _silent(text: str) -> None:
    """Tell nobody."""


def _connect(database: Database, wish: Wish, env: Env, report: Report, note: Note) -> None:
    found = edit.add_found(database, discovery.detect(env)) if wish.detect else []
    for way, is_new in found:
        model = f", model {way.model}" if way.model else ""
        if is_new:
            note(f'made the connection "{way.name}"{model}: {way.how}')
        facts = {"name": way.name, "provider": way.provider, "model": way.model, "how": way.how, "new": is_new}
        report.connections.append(facts)
    report.default_connection = edit.choose_default(database)
    if report.default_connection:
        note(f'connection used when none is named: "{report.default_connection}"')
    else:
        note('no connection yet, only "echo", which answers offline: llmctl chat -m echo hello')


def _write_files(database: Database, wish: Wish, report: Report, note: Note) -> None:
    if wish.prisma is None:
        return
    for file in prisma_file.write(database, wish.prisma):
        report.files.append({"path": file.path, "state": file.state})
        if file.state == "edited":
            note(f'left "{file.path.removesuffix(".new")}" as it is, somebody changed it; ours is in "{file.path}"')
        elif file.state != "same":
            note(f'{"wrote" if file.state == "made" else "updated"} "{file.path}"')
