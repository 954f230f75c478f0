"""Migrate hubs of earlier versions: one transaction per migration, safe with concurrent processes.

A migration is ``schema/migrations/000n_name.sql``; n is the version it leads to. Its first line is ``-- additive``
(applied at the first write) or ``-- rewrite`` (waits for ``llmctl db migrate``). See ``schema/migrations/README.md``.
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
from llmctl.store.database import Database, quote, storage_errors
from llmctl.store.maintenance import backup as maintenance_backup
from llmctl.store.schema import custom_names, ddl, objects

#: A larger hub is upgraded at the first write without a backup: a copy of 10 GB would be a surprise.
SMALL_BYTES = 256 * 1024 * 1024

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_SLOT = re.compile(r"/\*(fields|columns):([a-z_]+)\*/")
_RECORD = "INSERT INTO {schema_migrations} (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration; ``version`` is the schema version it leads to."""

    version: int
    name: str
    rewrites: bool
    sql: str
    checksum: str


@dataclass(frozen=True, slots=True)
class TargetSchema:
    """The schema to migrate to: its version, and the folder of its files."""

    version: int = ddl.VERSION
    root: str = field(default_factory=ddl.schema_folder)

    def migrations(self) -> list[Migration]:
        """Return all migrations in order."""
        folder = os.path.join(self.root, "migrations")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        return [_read_migration(os.path.join(folder, name)) for name in names if name.endswith(".sql")]


@dataclass(frozen=True, slots=True)
class UpgradeResult:
    """Migrations applied by this process, and the path of its backup."""

    migrations: list[Migration]
    backup: str | None


def list_pending(database: Database, schema: TargetSchema | None = None) -> list[Migration]:
    """Return the migrations that a hub still needs."""
    schema = schema or TargetSchema()
    now = schema_version(database)
    steps = [step for step in schema.migrations() if now < step.version <= schema.version]
    if [step.version for step in steps] != list(range(now + 1, schema.version + 1)):
        raise StorageError(
            f"cannot migrate from schema {now} to {schema.version}: migrations are missing",
            hint="reinstall llmctl: its schema files are incomplete",
            reason="no_migration",
        )
    return steps


def schema_version(database: Database) -> int:
    return int(database.value("PRAGMA user_version"))


def upgrade_at_first_write(database: Database, schema: TargetSchema | None = None) -> UpgradeResult:
    """Upgrade an older hub, unless a migration rewrites tables: that raises StorageError."""
    for step in list_pending(database, schema):
        if step.rewrites:
            raise StorageError(
                f'the hub "{database.path}" has an earlier schema and its tables must be rewritten',
                hint="preview it: llmctl db migrate --plan; then run: llmctl db migrate",
                reason="needs_migration",
            )
    small = os.path.getsize(database.path) <= SMALL_BYTES
    return upgrade(database, schema, back_up=small)


def upgrade(
    database: Database,
    schema: TargetSchema | None = None,
    *,
    back_up: bool = True,
    note: Callable[[str], None] = lambda text: None,
    progress: maintenance_backup.Progress | None = None,
) -> UpgradeResult:
    """Apply all pending migrations, each in its own transaction. Many processes may try at once.

    Raises StorageError if one fails; those before it stay, and the next run continues from there.
    """
    schema = schema or TargetSchema()
    done: list[Migration] = []
    copies: list[str] = []

    def copy() -> None:
        if back_up:
            copies.append(
                maintenance_backup.back_up_beside(
                    database.path, f"schema-{schema_version(database)}", progress=progress
                )
            )

    with _foreign_keys_off(database.connection), storage_errors(database.path):
        for step in list_pending(database, schema):
            if _apply_migration(database, step, schema, copy):
                done.append(step)
                note(f"applied {step.version:04d} {step.name}")
    database.clear_name_cache()
    return UpgradeResult(done, copies[0] if copies else None)


def changed_migrations(database: Database, schema: TargetSchema | None = None) -> list[str]:
    """Return the migrations whose file has changed since it was applied to this hub."""
    files = {step.version: step for step in (schema or TargetSchema()).migrations()}
    rows = database.query("SELECT version, name, checksum FROM {schema_migrations} ORDER BY version")
    return [
        f"{row['version']:04d}_{row['name']}"
        for row in rows
        if row["version"] not in files or files[row["version"]].checksum != row["checksum"]
    ]


def _apply_migration(database: Database, step: Migration, schema: TargetSchema, copy: Callable[[], None]) -> bool:
    """Apply one migration; return False if another process has applied it in the meantime."""
    connection = database.connection
    with database.transaction(durable=True):
        if schema_version(database) >= step.version:
            return False
        database.clear_name_cache()
        if objects.get_meta(connection, "upgrading") is None:
            copy()
            objects.set_meta(connection, "upgrading", {"from": schema_version(database), "to": schema.version})
        # Looking at every reference takes minutes in a large hub, and no added table or column breaks one.
        broken_before = _violations(connection) if step.rewrites else set()
        objects.drop_code(connection, keep=() if step.rewrites else ddl.load_statements(database.names, schema.root))
        _run_statements(database, step)
        if step.rewrites:
            _reject_new_violations(connection, broken_before, step)
        database.execute(_RECORD, (step.version, step.name, step.checksum, clock.now()))
        connection.execute(f"PRAGMA user_version={step.version}")
        if step.version == schema.version:
            objects.create_code(connection, ddl.load_statements(database.names, schema.root))
            objects.set_meta(connection, "upgrading", None)
    return True


def _run_statements(database: Database, step: Migration) -> None:
    """Run a migration's statements, and recreate the user's indexes and triggers on rebuilt tables."""
    connection = database.connection
    before = objects.user_objects(connection, ("index", "trigger"))
    for statement in ddl.split_statements(
        ddl.rename_tables(_fill_custom_columns(step.sql, database.fields), database.names)
    ):
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            raise _migration_error(step, error) from error
    objects.restore_missing(connection, before)


def _fill_custom_columns(sql: str, custom: Mapping[str, Mapping[str, str]]) -> str:
    """Fill ``/*fields:chats*/`` and ``/*columns:chats*/`` with the custom columns of a rebuilt table."""

    def filled(match: re.Match[str]) -> str:
        columns = custom.get(match[2], {})
        if match[1] == "columns":
            return "".join(f", {quote(name)}" for name in columns)
        return "".join(f", {custom_names.column_definition(name, declared)}" for name, declared in columns.items())

    return _SLOT.sub(filled, sql)


class _foreign_keys_off:
    """Turns foreign keys and rewriting of references off while tables are rebuilt.

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


def _reject_new_violations(connection: sqlite3.Connection, before: set[tuple[object, ...]], step: Migration) -> None:
    new = _violations(connection) - before
    if new:
        table = min(str(row[0]) for row in new)
        raise StorageError(
            f'migration {step.version:04d} would leave {len(new)} rows of "{table}" with dangling foreign keys',
            hint="nothing was changed; see: llmctl db check",
            reason="migration_failed",
        )


def _migration_error(step: Migration, error: sqlite3.OperationalError) -> StorageError:
    duplicate = re.match(r"duplicate column name: (.*)", str(error))
    if duplicate:
        return StorageError(
            f'migration {step.version:04d} adds a column "{duplicate[1]}", but a custom field has that name',
            hint="nothing was changed; rename the field with ALTER TABLE … RENAME COLUMN, then run this again",
            reason="field_clash",
        )
    return StorageError(
        f"migration {step.version:04d} failed: {error}", hint="nothing was changed", reason="migration_failed"
    )


def _read_migration(path: str) -> Migration:
    named = _FILE.fullmatch(os.path.basename(path))
    with open(path, "rb") as file:
        data = file.read()
    text = data.decode()
    kind = text.partition("\n")[0].removeprefix("--").strip()
    if named is None or kind not in ("additive", "rewrite"):
        raise ValueError(f"not a migration: {path}")
    return Migration(int(named[1]), named[2], kind == "rewrite", text, hashlib.sha256(data).hexdigest())
