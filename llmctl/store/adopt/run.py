"""Convert a database of another program to a hub without losing rows or moving its tables.

Tables of ``@node-llm/orm`` are rebuilt with our columns under their own names (steps of
https://sqlite.org/lang_altertable.html#otheralter), so that the ORM works with the emitted schema. Other
programs' tables are left alone; if one has the name of a hub table, the hub table gets another name.
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
from llmctl.core.humanize import pluralize
from llmctl.store import opening
from llmctl.store.adopt import convert
from llmctl.store.adopt.convert import ForeignColumn, SourceTable
from llmctl.store.database import quote, storage_errors
from llmctl.store.maintenance import backup as maintenance_backup
from llmctl.store.schema import custom_names, ddl, objects
from llmctl.store.schema.custom_names import to_snake_case

#: Called with a line of progress text.
Note = Callable[[str], None]

_ASIDE = "llmctl_adopted_"
#: Prefix of a declared type -> our type. Everything else is TEXT.
_DECLARED = (
    *(("INT", "INTEGER"), ("BIGINT", "INTEGER"), ("SMALLINT", "INTEGER"), ("TINYINT", "INTEGER")),
    *(("REAL", "REAL"), ("DOUBLE", "REAL"), ("FLOAT", "REAL"), ("DECIMAL", "REAL"), ("NUMERIC", "REAL")),
    *(("BOOL", "BOOLEAN"), ("DATE", "DATETIME"), ("TIMESTAMP", "DATETIME"), ("JSON", "JSONB"), ("BLOB", "BLOB")),
)
#: Condition that every value of a column must meet for that type.
_TYPE_CONDITIONS = {
    "DATETIME": "llmctl_time({0}) IS NOT NULL",
    "BOOLEAN": "typeof({0}) = 'integer' AND {0} IN (0, 1)",
    "JSONB": "typeof({0}) = 'text' AND json_valid({0})",
}
_VALUE_SQL = {"DATETIME": "llmctl_time({0})"}


@dataclass(slots=True)
class AdoptResult:
    """The result of an adoption. ``rows``: physical table -> number of rows before and after."""

    backup: str
    tables: dict[str, str] = field(default_factory=dict)
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    fields: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Physical table -> old name of a column -> new name.
    renamed_columns: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def adopt(
    path: str,
    given_names: Mapping[str, str],
    *,
    note: Note = lambda text: None,
    progress: maintenance_backup.Progress | None = None,
) -> AdoptResult | None:
    """Convert a database to a hub; return None if it is one already.

    ``given_names`` are names of existing tables (``chats=AssistantChat``) or of tables to create. A backup is made
    next to the database first; everything else is one transaction.
    """
    custom_names.check_names(given_names)
    with storage_errors(path), closing(_open(path)) as connection:
        if _has_table(connection, "hub_meta") and connection.execute("PRAGMA user_version").fetchone()[0]:
            return None
        _reject_other_version(connection, path)
        with _rebuild_transaction(connection):
            work = _Adoption(connection, given_names)
            work.reject_conflicts()
            work.adopted.backup = maintenance_backup.back_up_beside(path, "before-adopt", progress=progress)
            note(f'copied the database to "{work.adopted.backup}"')
            work.run(note)
        with suppress(
            sqlite3.OperationalError
        ):  # another process is reading it: the hub works without WAL, only slower
            connection.execute("PRAGMA journal_mode=WAL")
    return work.adopted


class _Adoption:
    """One adoption, within its transaction."""

    def __init__(self, connection: sqlite3.Connection, given_names: Mapping[str, str]) -> None:
        self.connection = connection
        self.sources = convert.find_tables(connection, given_names)
        self.names = _choose_names(connection, self.sources, given_names)
        self.adopted = AdoptResult(backup="", tables=custom_names.changed_names(self.names))
        self._columns = {name: plan_columns(connection, source) for name, source in self.sources.items()}
        for source in self.sources.values():
            renamed = {theirs: ours for ours, theirs in source.columns.items() if ours != theirs}
            if renamed:
                self.adopted.renamed_columns[source.table] = renamed

    def reject_conflicts(self) -> None:
        """Raise StorageError for user objects that use renamed columns, or have a name reserved by the hub."""
        if not self.sources and (near := convert.describe_near_misses(self.connection)):
            raise StorageError(
                f"cannot adopt the database: {'; '.join(near)}",
                hint="nothing was changed; give the columns the names of @node-llm/orm, and try again",
                reason="unknown_columns",
            )
        objects.require_unbroken(self.connection)
        renamed = {theirs for columns in self.adopted.renamed_columns.values() for theirs in columns}
        for thing in objects.list_objects(self.connection):
            if thing.kind in ("view", "trigger") and renamed & set(re.findall(r"\w+", thing.sql)):
                raise StorageError(
                    f'your {thing.kind} "{thing.name}" uses columns that will be renamed',
                    hint=f"nothing was changed; DROP {thing.kind.upper()} {quote(thing.name)}, recreate it afterwards",
                    reason="broken_view",
                )
        ours = objects.created_names(ddl.load_statements())
        aside = {source.table for source in self.sources.values()}
        for thing in objects.list_objects(self.connection):
            if thing.name in ours and thing.table not in aside:
                raise StorageError(
                    f'the {thing.kind} "{thing.name}" has a name that is reserved by the hub',
                    hint="nothing was changed; rename it first",
                    reason="name_taken",
                )

    def run(self, note: Note) -> None:
        violations = _violations(self.connection)
        self.connection.execute("PRAGMA legacy_alter_table=ON")  # references to a table keep its name
        set_aside = [self._set_aside(source) for source in self.sources.values()]
        application = self.connection.execute("PRAGMA application_id").fetchone()[0]
        opening.create_schema(self.connection, custom_names.changed_names(self.names))
        if application:
            self.connection.execute(f"PRAGMA application_id={application}")
        self._add_columns()
        self._copy_tables(note)
        for things in set_aside:
            objects.restore_missing(self.connection, things)
        self._require_no_loss(violations)
        objects.set_meta(self.connection, "adopted", {"at": clock.now(), "tables": self._adopted_tables()})
        self.connection.execute("PRAGMA legacy_alter_table=OFF")
        objects.require_unbroken(self.connection)

    def _adopted_tables(self) -> dict[str, str]:
        return {source.logical: source.table for source in self.sources.values()}

    def _set_aside(self, source: SourceTable) -> list[objects.SchemaObject]:
        """Rename a table out of the way; return its triggers and indexes with the new column names."""
        table = source.table
        self.adopted.rows[table] = (self._count(table), 0)
        plan = self._columns[source.logical]
        indexes = plan_indexes(self.connection, source, plan, self.adopted.notes)
        on_it = [
            thing for thing in objects.list_objects(self.connection) if thing.table == table and thing.kind != "table"
        ]
        for thing in on_it:
            self.connection.execute(f"DROP {thing.kind} {quote(thing.name)}")
        triggers = [thing for thing in on_it if thing.kind == "trigger"]
        self.connection.execute(f"ALTER TABLE {quote(table)} RENAME TO {quote(_ASIDE + source.logical)}")
        return [*indexes, *triggers]

    def _add_columns(self) -> None:
        for logical, plan in self._columns.items():
            for column in plan:
                self.connection.execute(f"ALTER TABLE {quote(self.names[logical])} ADD COLUMN {column.definition}")
                self.adopted.fields.setdefault(logical, {})[column.name] = column.type
                self.adopted.notes += column.notes
        objects.set_meta(self.connection, "fields", self.adopted.fields)

    def _copy_tables(self, note: Note) -> None:
        for logical, source in self.sources.items():
            note(f'copying "{source.table}", {pluralize(self.adopted.rows[source.table][0], "row")}')
            columns = {column.name: column.source for column in self._columns[logical]}
            self._copy(source, columns)
            if logical == "chats":
                self._create_missing_chats()
        for logical in self.sources:
            self.connection.execute(f"DROP TABLE {quote(_ASIDE + logical)}")

    def _copy(self, source: SourceTable, columns: Mapping[str, str]) -> None:
        try:
            convert.copy_rows(
                self.connection, source, _ASIDE + source.logical, self.names[source.logical], self.names, columns
            )
        except sqlite3.IntegrityError as error:
            raise StorageError(
                f'cannot copy the rows of "{source.table}": {error}', hint="nothing was changed"
            ) from error
        unread = convert.count_unreadable_times(self.connection, source, _ASIDE + source.logical)
        if unread:
            self.adopted.notes.append(f'{unread} unreadable times of "{source.table}" were replaced')
        before, _ = self.adopted.rows[source.table]
        self.adopted.rows[source.table] = (before, self._count(source.table))

    def _create_missing_chats(self) -> None:
        pairs = [(source, _ASIDE + logical) for logical, source in self.sources.items() if logical != "chats"]
        lost = convert.create_missing_chats(self.connection, pairs, self.names["chats"])
        if lost:
            self.adopted.notes.append(f"{lost} missing chats that rows refer to were added, empty")

    def _require_no_loss(self, violations: set[tuple[object, ...]]) -> None:
        for table, (before, after) in self.adopted.rows.items():
            if after != before:
                raise StorageError(f'copied {after} of {before} rows of "{table}"', hint="nothing was changed")
        new = _violations(self.connection) - violations
        if new:
            names = sorted({str(row[0]) for row in new})
            raise StorageError(
                f"{len(new)} rows would have dangling foreign keys in {', '.join(names)}", hint="nothing was changed"
            )

    def _count(self, table: str) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0])


@contextmanager
def _rebuild_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block with foreign keys off, as one transaction."""
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


def _open(path: str) -> sqlite3.Connection:
    try:
        connection = maintenance_backup.connect(path, "rw")
        connection.execute("SELECT 1 FROM sqlite_master")
        return connection
    except sqlite3.OperationalError as error:
        raise _no_database_error(path, error) from error


def _no_database_error(path: str, error: sqlite3.OperationalError) -> LlmctlError | sqlite3.OperationalError:
    if os.path.exists(path):
        return error
    return NotFoundError(f'no database at "{path}"', hint="choose it with --db, or omit --adopt to create a hub")


def _reject_other_version(connection: sqlite3.Connection, path: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version:
        raise StorageError(
            f'"{path}" uses user_version {version}, which a hub needs',
            hint="create a separate hub: llmctl init --db hub.db",
            reason="user_version",
        )
    if _has_table(connection, "hub_meta"):
        raise StorageError(f'"{path}" has a table "hub_meta" of another program', reason="name_taken")


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())


def _violations(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    # Without rowids, which change.
    return {(row[0], row[2]) for row in connection.execute("PRAGMA foreign_key_check")}


def _choose_names(
    connection: sqlite3.Connection, sources: Mapping[str, SourceTable], given_names: Mapping[str, str]
) -> dict[str, str]:
    """Return logical -> physical name of every hub table: the original's, the given one, its own, or a free one."""
    adopted = {source.table.lower() for source in sources.values()}
    rows = connection.execute("SELECT name FROM sqlite_master")
    taken = {row[0].lower() for row in rows} - adopted
    names = {"hub_meta": "hub_meta"}
    for logical in (*ddl.TABLES, "schema_migrations"):
        if logical in sources:
            names[logical] = sources[logical].table
        elif logical in given_names:
            _reject_taken_name(logical, given_names[logical], taken)
            names[logical] = given_names[logical]
        else:
            names[logical] = _free_name(
                logical, taken | {name.lower() for name in (*names.values(), *given_names.values())} | adopted
            )
    return names


def _reject_taken_name(logical: str, physical: str, taken: Sequence[str] | set[str]) -> None:
    if physical.lower() in taken:
        raise UsageError(
            f'table "{logical}" cannot be called "{physical}": another table has that name',
            hint="choose another name",
        )


def _free_name(logical: str, taken: set[str]) -> str:
    name, number = logical, 1
    while name.lower() in taken:
        name = f"llmctl_{logical}" if number == 1 else f"llmctl_{logical}_{number}"
        number += 1
    return name


@dataclass(frozen=True, slots=True)
class AdoptedColumn:
    """A column after adoption: name, declared type, definition, and SQL of its values."""

    name: str
    type: str
    definition: str
    source: str
    notes: list[str] = field(default_factory=list)


def plan_columns(connection: sqlite3.Connection, source: SourceTable) -> list[AdoptedColumn]:
    """Return the custom columns of a table after adoption."""
    convert.register_functions(connection)
    ours = _builtin_columns(source.logical)
    return [_column(connection, source, extra, ours) for extra in source.extras]


def plan_indexes(
    connection: sqlite3.Connection, source: SourceTable, columns: Sequence[AdoptedColumn], notes: list[str]
) -> list[objects.SchemaObject]:
    """Return the indexes to recreate: those on custom columns. The built-in indexes cover the rest."""
    names = {theirs: ours for ours, theirs in source.columns.items()}
    names |= {extra.name: column.name for extra, column in zip(source.extras, columns, strict=True)}
    own = {extra.name for extra in source.extras}
    result = []
    for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({quote(source.table)})").fetchall():
        keys = [row[2] for row in connection.execute(f"PRAGMA index_info({quote(name)})")]
        if origin == "pk" or (not own & set(keys) and None not in keys and not partial):
            continue
        if partial or None in keys:
            notes.append(f'index "{name}" was not copied: it has a condition or an expression')
            continue
        new = name if origin == "c" else f"{source.table}_{'_'.join(keys)}_key"
        listed = ", ".join(quote(names[key]) for key in keys)
        sql = f"CREATE {'UNIQUE ' if unique else ''}INDEX {quote(new)} ON {quote(source.table)} ({listed})"
        result.append(objects.SchemaObject("index", new, source.table, sql))
    return result


def _column(connection: sqlite3.Connection, source: SourceTable, extra: ForeignColumn, ours: set[str]) -> AdoptedColumn:
    clashes = to_snake_case(extra.name) in ours
    name = f"{extra.name}_adopted" if clashes else extra.name
    declared = _declared(connection, source.table, extra)
    default = f" DEFAULT {extra.default}" if extra.default is not None else ""
    definition = f"{quote(name)} {declared}{default}{_reference(connection, source.table, extra.name)}"
    value = _VALUE_SQL.get(declared, "{0}").format(quote(extra.name))
    notes = []
    if clashes:
        notes.append(f'"{source.table}.{extra.name}" was renamed to "{name}": llmctl has a column of that name')
    if extra.required and extra.default is None:
        notes.append(f'"{source.table}.{name}" was required and is now optional')
    return AdoptedColumn(name, declared, definition, value, notes)


def _declared(connection: sqlite3.Connection, table: str, extra: ForeignColumn) -> str:
    declared = next((ours for start, ours in _DECLARED if extra.type.startswith(start)), "TEXT")
    condition = _TYPE_CONDITIONS.get(declared)
    if condition is None:
        return declared
    column = quote(extra.name)
    other = connection.execute(
        f"SELECT 1 FROM {quote(table)} WHERE {column} IS NOT NULL AND NOT ({condition.format(column)}) LIMIT 1"
    ).fetchone()
    # If one value does not fit, the column becomes TEXT, which holds everything.
    return "TEXT" if other else declared


def _reference(connection: sqlite3.Connection, table: str, column: str) -> str:
    for row in connection.execute(f"PRAGMA foreign_key_list({quote(table)})"):
        _, _, parent, theirs, to, on_update, on_delete, _ = row
        if theirs == column:
            target = f" ({quote(to)})" if to else ""
            return f" REFERENCES {quote(parent)}{target} ON DELETE {on_delete} ON UPDATE {on_update}"
    return ""


def _builtin_columns(logical: str) -> set[str]:
    """Return the built-in columns of a table, and Prisma's name of ``refs``."""
    for statement in ddl.load_statements():
        if objects.created_object(statement) == ("TABLE", logical):
            return set(re.findall(r"^  ([a-z_]+) [A-Z]", statement, re.MULTILINE)) | {"references"}
    raise ValueError(logical)
