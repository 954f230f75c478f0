"""A database of another program becomes a hub: not a row is lost, and its own tables stay where they were.

Tables that ``@node-llm/orm`` made are made anew in our shape under their own names (steps of
https://sqlite.org/lang_altertable.html#otheralter), so that the ORM goes on with the emitted schema. Any other
program's tables are left alone; where one has a name of ours, ours gets another.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from llmctl.core import clock
from llmctl.core.errors import LlmctlError, NotFoundError, StorageError, UsageError
from llmctl.store import opening
from llmctl.store.adopt import columns as adopt_columns
from llmctl.store.adopt import convert, detect
from llmctl.store.adopt.detect import Source
from llmctl.store.errors import storage_errors
from llmctl.store.maintenance import backup as maintenance_backup
from llmctl.store.schema import ddl, objects, table_names
from llmctl.store.schema.ddl import quoted

#: Takes a line about what is being done.
Note = Callable[[str], None]

_ASIDE = "llmctl_adopted_"


@dataclass(slots=True)
class Adopted:
    """What came of it. ``rows``: physical table -> how many before and after."""

    backup: str
    tables: dict[str, str] = field(default_factory=dict)
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def adopt(
    path: str,
    given: Mapping[str, str],
    *,
    note: Note = lambda text: None,
    progress: maintenance_backup.Progress | None = None,
) -> Adopted | None:
    """Make a database a hub; None where it is one already.

    ``given`` are table names: of tables that are there (``chats=AssistantChat``) or are to be made. A copy is made
    beside the database first; all else is one transaction.
    """
    table_names.check_names(given)
    with storage_errors(path), closing(_opened(path)) as connection:
        if _has_table(connection, "hub_meta") and connection.execute("PRAGMA user_version").fetchone()[0]:
            return None
        _refuse_foreign(connection, path)
        with _one_transaction(connection):
            work = _Work(connection, given)
            work.refuse_what_would_break()
            work.adopted.backup = maintenance_backup.back_up_beside(path, "before-adopt", progress=progress)
            note(f'copied the database to "{work.adopted.backup}"')
            work.run(note)
        with suppress(sqlite3.OperationalError):  # someone is just reading it: it works without, only slower
            connection.execute("PRAGMA journal_mode=WAL")
    return work.adopted


class _Work:
    """One adoption, within its transaction."""

    def __init__(self, connection: sqlite3.Connection, given: Mapping[str, str]) -> None:
        self.connection = connection
        self.sources = detect.find(connection, given)
        self.names = _choose_names(connection, self.sources, given)
        self.adopted = Adopted(backup="", tables=table_names.differing(self.names))
        self._columns = {name: adopt_columns.plan(connection, source) for name, source in self.sources.items()}

    def refuse_what_would_break(self) -> None:
        """Raise StorageError for what of the user's names columns that will be called otherwise, or is in our way."""
        objects.refuse_broken(self.connection)
        renamed = {
            theirs for source in self.sources.values() for ours, theirs in source.columns.items() if ours != theirs
        }
        for thing in objects.things(self.connection):
            if thing.kind in ("view", "trigger") and renamed & set(re.findall(r"\w+", thing.sql)):
                raise StorageError(
                    f'your {thing.kind} "{thing.name}" names columns that will be called otherwise',
                    hint=f"nothing was changed; DROP {thing.kind.upper()} {quoted(thing.name)}, and make it anew after",
                    reason="broken_view",
                )
        ours = objects.own_names(ddl.statements())
        aside = {source.table for source in self.sources.values()}
        for thing in objects.things(self.connection):
            if thing.name in ours and thing.table not in aside:
                raise StorageError(
                    f'the {thing.kind} "{thing.name}" is in the way of one of ours',
                    hint="nothing was changed; give it another name",
                    reason="name_taken",
                )

    def run(self, note: Note) -> None:
        violations = _violations(self.connection)
        self.connection.execute("PRAGMA legacy_alter_table=ON")  # what points at a table goes on pointing at its name
        kept = [self._set_aside(source) for source in self.sources.values()]
        application = self.connection.execute("PRAGMA application_id").fetchone()[0]
        opening.fill(self.connection, table_names.differing(self.names))
        if application:
            self.connection.execute(f"PRAGMA application_id={application}")
        self._add_columns()
        self._carry(note)
        for things in kept:
            objects.restore_missing(self.connection, things)
        self._refuse_loss(violations)
        objects.remember(self.connection, "adopted", {"at": clock.now(), "tables": self._adopted_tables()})
        self.connection.execute("PRAGMA legacy_alter_table=OFF")
        objects.refuse_broken(self.connection)

    def _adopted_tables(self) -> dict[str, str]:
        return {source.logical: source.table for source in self.sources.values()}

    def _set_aside(self, source: Source) -> list[objects.Thing]:
        """Take a table out of the way; return its triggers and indexes, under the new names of their columns."""
        table = source.table
        self.adopted.rows[table] = (self._count(table), 0)
        plan = self._columns[source.logical]
        indexes = adopt_columns.indexes(self.connection, source, plan, self.adopted.notes)
        on_it = [thing for thing in objects.things(self.connection) if thing.table == table and thing.kind != "table"]
        for thing in on_it:
            self.connection.execute(f"DROP {thing.kind} {quoted(thing.name)}")
        triggers = [thing for thing in on_it if thing.kind == "trigger"]
        self.connection.execute(f"ALTER TABLE {quoted(table)} RENAME TO {quoted(_ASIDE + source.logical)}")
        return [*indexes, *triggers]

    def _add_columns(self) -> None:
        for logical, plan in self._columns.items():
            for column in plan:
                self.connection.execute(f"ALTER TABLE {quoted(self.names[logical])} ADD COLUMN {column.definition}")
                self.adopted.fields.setdefault(logical, {})[column.name] = column.type
                self.adopted.notes += column.notes
        objects.remember(self.connection, "fields", self.adopted.fields)

    def _carry(self, note: Note) -> None:
        for logical, source in self.sources.items():
            note(f'carrying over "{source.table}", {self.adopted.rows[source.table][0]} rows')
            columns = {column.name: column.source for column in self._columns[logical]}
            self._copy(source, columns)
            if logical == "chats":
                self._make_lost_chats()
        for logical in self.sources:
            self.connection.execute(f"DROP TABLE {quoted(_ASIDE + logical)}")

    def _copy(self, source: Source, columns: Mapping[str, str]) -> None:
        try:
            convert.copy_rows(
                self.connection, source, _ASIDE + source.logical, self.names[source.logical], self.names, columns
            )
        except sqlite3.IntegrityError as error:
            raise StorageError(
                f'the rows of "{source.table}" cannot be carried over: {error}', hint="nothing was changed"
            ) from error
        unread = convert.unread_times(self.connection, source, _ASIDE + source.logical)
        if unread:
            self.adopted.notes.append(f'{unread} times of "{source.table}" could not be read; others stand for them')
        before, _ = self.adopted.rows[source.table]
        self.adopted.rows[source.table] = (before, self._count(source.table))

    def _make_lost_chats(self) -> None:
        pairs = [(source, _ASIDE + logical) for logical, source in self.sources.items() if logical != "chats"]
        lost = convert.make_lost_chats(self.connection, pairs, self.names["chats"])
        if lost:
            self.adopted.notes.append(f"{lost} chats were gone though rows belong to them; they are there again, empty")

    def _refuse_loss(self, violations: set[tuple[object, ...]]) -> None:
        for table, (before, after) in self.adopted.rows.items():
            if after != before:
                raise StorageError(f'{before} rows of "{table}" became {after}', hint="nothing was changed")
        new = _violations(self.connection) - violations
        if new:
            names = sorted({str(row[0]) for row in new})
            raise StorageError(
                f"{len(new)} rows would point at nothing, in {', '.join(names)}", hint="nothing was changed"
            )

    def _count(self, table: str) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])


@contextmanager
def _one_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Let the block alter tables without their references following; commit it as one."""
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _opened(path: str) -> sqlite3.Connection:
    try:
        connection = maintenance_backup.connect(path, "rw")
        connection.execute("SELECT 1 FROM sqlite_master")
        return connection
    except sqlite3.OperationalError as error:
        raise _no_database(path, error) from error


def _no_database(path: str, error: sqlite3.OperationalError) -> LlmctlError | sqlite3.OperationalError:
    if os.path.exists(path):
        return error
    return NotFoundError(f'there is no database at "{path}"', hint="name it with --db; without --adopt a hub is made")


def _refuse_foreign(connection: sqlite3.Connection, path: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version:
        raise StorageError(
            f'"{path}" has a version number of its own (user_version {version}), and a hub needs that place',
            hint="make a hub of its own with: llmctl init --db PATH",
            reason="user_version",
        )
    if _has_table(connection, "hub_meta"):
        raise StorageError(f'"{path}" has a table "hub_meta" of another program', reason="name_taken")


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())


def _violations(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    # Without row numbers, which change.
    return {(row[0], row[2]) for row in connection.execute("PRAGMA foreign_key_check")}


def _choose_names(
    connection: sqlite3.Connection, sources: Mapping[str, Source], given: Mapping[str, str]
) -> dict[str, str]:
    """Return a physical name for every table of ours: the original's, the given one, its own, or one that is free."""
    adopted = {source.table.lower() for source in sources.values()}
    rows = connection.execute("SELECT name FROM sqlite_master")
    taken = {row[0].lower() for row in rows} - adopted
    names = {"hub_meta": "hub_meta"}
    for logical in (*ddl.TABLES, "schema_migrations"):
        if logical in sources:
            names[logical] = sources[logical].table
        elif logical in given:
            _refuse_taken(logical, given[logical], taken)
            names[logical] = given[logical]
        else:
            names[logical] = _free(
                logical, taken | {name.lower() for name in (*names.values(), *given.values())} | adopted
            )
    return names


def _refuse_taken(logical: str, physical: str, taken: Sequence[str] | set[str]) -> None:
    if physical.lower() in taken:
        raise UsageError(
            f'table "{logical}" cannot be called "{physical}": there is another table of that name',
            hint="choose another name",
        )


def _free(logical: str, taken: set[str]) -> str:
    name, number = logical, 1
    while name.lower() in taken:
        name = f"llmctl_{logical}" if number == 1 else f"llmctl_{logical}_{number}"
        number += 1
    return name
