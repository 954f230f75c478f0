"""Hubs of earlier versions brought to the present: step by step, each whole or not at all, whoever else tries too.

A step is ``schema/migrations/000n_name.sql``; n is the version it leads to. Its first line says ``-- additive``
(done at the first write) or ``-- rewrite`` (waits for ``llmctl db migrate``). See ``schema/migrations/README.md``.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llmctl.core import clock
from llmctl.core.errors import StorageError
from llmctl.store.database import Database
from llmctl.store.errors import storage_errors
from llmctl.store.maintenance import backup as maintenance_backup
from llmctl.store.schema import custom_fields, ddl, objects

#: Without being asked, a hub larger than this is upgraded without a copy: nobody expects 10 GB of it.
SMALL_BYTES = 256 * 1024 * 1024

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_SLOT = re.compile(r"/\*(fields|columns):([a-z_]+)\*/")
_RECORD = "INSERT INTO {schema_migrations} (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Step:
    """One migration; ``version`` is the schema it leads to."""

    version: int
    name: str
    rewrites: bool
    sql: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Schema:
    """Where a hub is to be brought: a version, and the folder that describes it."""

    version: int = ddl.VERSION
    root: str = field(default_factory=ddl.folder)

    def steps(self) -> list[Step]:
        """Return every migration there is, in order."""
        folder = os.path.join(self.root, "migrations")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        return [_read(os.path.join(folder, name)) for name in names if name.endswith(".sql")]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did: the steps of this process, and its copy of the hub as it was."""

    steps: list[Step]
    backup: str | None


def pending(database: Database, schema: Schema | None = None) -> list[Step]:
    """Return the steps that this hub still needs."""
    schema = schema or Schema()
    now = version(database)
    steps = [step for step in schema.steps() if now < step.version <= schema.version]
    if [step.version for step in steps] != list(range(now + 1, schema.version + 1)):
        raise StorageError(
            f"there is no way from schema {now} to {schema.version}",
            hint="reinstall llmctl: its schema files are not complete",
            reason="no_migration",
        )
    return steps


def version(database: Database) -> int:
    return int(database.value("PRAGMA user_version"))


def upgrade_at_first_write(database: Database, schema: Schema | None = None) -> Upgrade:
    """Bring an older hub to the present, unless a step rewrites tables: that raises StorageError."""
    for step in pending(database, schema):
        if step.rewrites:
            raise StorageError(
                f'the hub "{database.path}" is of an earlier version and its tables must be rewritten',
                hint="see what will be done with: llmctl db migrate --plan; do it with: llmctl db migrate",
                reason="needs_migration",
            )
    small = os.path.getsize(database.path) <= SMALL_BYTES
    return upgrade(database, schema, back_up=small)


def upgrade(
    database: Database,
    schema: Schema | None = None,
    *,
    back_up: bool = True,
    note: Callable[[str], None] = lambda text: None,
    progress: maintenance_backup.Progress | None = None,
) -> Upgrade:
    """Run every step that is missing, each in a transaction of its own. Many processes may try at once.

    Raises StorageError where a step cannot be done; those before it stay, and the next run goes on from there.
    """
    schema = schema or Schema()
    done: list[Step] = []
    copies: list[str] = []

    def copy() -> None:
        if back_up:
            copies.append(
                maintenance_backup.back_up_beside(database.path, f"schema-{version(database)}", progress=progress)
            )

    with _rules_off(database.connection), storage_errors(database.path):
        for step in pending(database, schema):
            if _apply(database, step, schema, copy):
                done.append(step)
                note(f"applied {step.version:04d} {step.name}")
    database.forget_names()
    return Upgrade(done, copies[0] if copies else None)


def tampered(database: Database, schema: Schema | None = None) -> list[str]:
    """Return the migrations whose file is not the one that was applied to this hub."""
    files = {step.version: step for step in (schema or Schema()).steps()}
    rows = database.query("SELECT version, name, checksum FROM {schema_migrations} ORDER BY version")
    return [
        f"{row['version']:04d}_{row['name']}"
        for row in rows
        if row["version"] not in files or files[row["version"]].checksum != row["checksum"]
    ]


def _apply(database: Database, step: Step, schema: Schema, copy: Callable[[], None]) -> bool:
    """Run one step; return False where another process has done so meanwhile."""
    connection = database.connection
    with database.transaction(durable=True):
        if version(database) >= step.version:
            return False
        database.forget_names()
        if objects.recall(connection, "upgrading") is None:
            copy()
            objects.remember(connection, "upgrading", {"from": version(database), "to": schema.version})
        broken_before = _violations(connection)
        objects.drop_code(connection)
        _run(database, step)
        _refuse_broken(connection, broken_before, step)
        database.execute(_RECORD, (step.version, step.name, step.checksum, clock.now()))
        connection.execute(f"PRAGMA user_version={step.version}")
        if step.version == schema.version:
            objects.make_code(connection, ddl.statements(database.names, schema.root))
            objects.remember(connection, "upgrading", None)
    return True


def _run(database: Database, step: Step) -> None:
    """Run the step's statements; indexes and triggers of the user's on a table made anew are made anew too."""
    connection = database.connection
    before = objects.theirs(connection, ("index", "trigger"))
    for statement in ddl.split(ddl.exchanged(_with_fields(step.sql, database.fields), database.names)):
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            raise _failed(step, error) from error
    objects.restore_missing(connection, before)


def _with_fields(sql: str, custom: Mapping[str, Mapping[str, str]]) -> str:
    """Fill ``/*fields:chats*/`` and ``/*columns:chats*/`` with the custom columns of a table that is made anew."""

    def filled(match: re.Match[str]) -> str:
        columns = custom.get(match[2], {})
        if match[1] == "columns":
            return "".join(f", {ddl.quoted(name)}" for name in columns)
        return "".join(f", {custom_fields.definition(name, declared)}" for name, declared in columns.items())

    return _SLOT.sub(filled, sql)


class _rules_off:
    """Foreign keys and rewriting of references off while tables are made anew; on again whatever happens.

    Steps 1 and 12 of https://sqlite.org/lang_altertable.html#otheralter: no effect within a transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("PRAGMA foreign_keys=OFF")
        self._connection.execute("PRAGMA legacy_alter_table=ON")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("PRAGMA legacy_alter_table=OFF")
        self._connection.execute("PRAGMA foreign_keys=ON")


def _violations(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    return {tuple(row) for row in connection.execute("PRAGMA foreign_key_check")}


def _refuse_broken(connection: sqlite3.Connection, before: set[tuple[object, ...]], step: Step) -> None:
    new = _violations(connection) - before
    if new:
        table = min(str(row[0]) for row in new)
        raise StorageError(
            f'migration {step.version:04d} would leave {len(new)} rows of "{table}" pointing at nothing',
            hint="nothing was changed; see: llmctl db check",
            reason="migration_failed",
        )


def _failed(step: Step, error: sqlite3.OperationalError) -> StorageError:
    duplicate = re.match(r"duplicate column name: (.*)", str(error))
    if duplicate:
        return StorageError(
            f'migration {step.version:04d} adds a column "{duplicate[1]}", and you have a field of that name',
            hint="nothing was changed; give your field another name: ALTER TABLE … RENAME COLUMN, then run this again",
            reason="field_clash",
        )
    return StorageError(
        f"migration {step.version:04d} failed: {error}", hint="nothing was changed", reason="migration_failed"
    )


def _read(path: str) -> Step:
    named = _FILE.fullmatch(os.path.basename(path))
    with open(path, "rb") as file:
        data = file.read()
    text = data.decode()
    kind = text.partition("\n")[0].removeprefix("--").strip()
    if named is None or kind not in ("additive", "rewrite"):
        raise ValueError(f"no migration: {path}")
    return Step(int(named[1]), named[2], kind == "rewrite", text, hashlib.sha256(data).hexdigest())
