"""Rows of another hub go into this one: known ones are brought up to date where theirs is newer, none is doubled."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.transfer_records import Outcome, Record
from llmctl.store.database import Database
from llmctl.store.schema import ddl
from llmctl.store.schema.ddl import quoted
from llmctl.store.transfer import conflicts, rules
from llmctl.store.transfer.foreign_keys import Links
from llmctl.store.transfer.layouts import Layouts
from llmctl.store.transfer.plan import DERIVED
from llmctl.store.writes import legible_row as legible

#: What Python says of values that SQLite cannot hold.
_UNFIT = (OverflowError, UnicodeError)

#: A finished message stays as it is, whoever says otherwise.
_FROZEN = ("role", "content", "content_raw", "reasoning", "thinking_text", "thinking_signature")


class Merger:
    """Puts records into a hub, within the caller's transaction. References to what is not there are left out."""

    def __init__(self, database: Database, settle: Callable[[], None] = lambda: None) -> None:
        """``settle`` is called before a row changes that may have come just now: see :mod:`.bulk`."""
        self.database = database
        self._settle = settle
        self._is_settled = True
        self.links = Links(database)
        self._layouts = Layouts(database)
        self._statements: dict[str, _Statements | None] = {}
        #: Nothing was said or asked in this hub yet: what stands in it by itself may be replaced.
        self.is_fresh = not any(
            database.value(f"SELECT 1 FROM {{{t}}} LIMIT 1") for t in ("chats", "requests", "agents")
        )

    def put(self, record: Record) -> Outcome:
        """Write a record; never raises for what is wrong with it."""
        statements = self._find(record.table)
        if statements is None:
            return Outcome("skipped", f'no table "{record.table}"')
        refusal = rules.refusal(self, record.table, record.row)
        if refusal is not None:
            return refusal
        row = self.links.translated(record.table, record.row)
        try:
            try:
                outcome = self._write(record.table, statements, row)
            except UnicodeEncodeError:
                outcome = self._write(record.table, statements, legible(row))
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, *_UNFIT) as error:
            return Outcome("skipped", f"{record.table}: {error}")
        if outcome.fate == "updated":
            rules.settle(self.database, record.table, row)
        if outcome.why is None and not statements.known.issuperset(row):
            unknown = sorted(row.keys() - statements.known)
            return outcome._replace(why=f"{record.table}: no column {', '.join(unknown)}")
        return outcome

    def finish(self) -> int:
        """Set references to rows that came later than those that name them; return how many stay left out."""
        return self.links.mend()

    def _write(self, table: str, statements: _Statements, row: Mapping[str, Any]) -> Outcome:
        values = dict(row)
        for _ in range(conflicts.MOST):
            try:
                return self._try(statements, values)
            except sqlite3.IntegrityError as error:
                if "FOREIGN KEY" in str(error):
                    missing = self.links.cut(table, values)
                    if missing is not None:
                        return Outcome("skipped", missing)
                elif "UNIQUE" in str(error):
                    solution = conflicts.solve(self, table, values)
                    if isinstance(solution, str):
                        return Outcome("unchanged") if not solution else Outcome("skipped", solution)
                    values = dict(solution)
                else:
                    raise
        return Outcome("skipped", f"{table}: its place is taken")

    def _try(self, statements: _Statements, row: Mapping[str, Any]) -> Outcome:
        execute = self.database.connection.execute
        values = list(map(row.get, statements.columns))
        if execute(statements.insert, values).rowcount:
            self._is_settled = False
            return Outcome("imported")
        if statements.update is None:
            return Outcome("unchanged")
        if not self._is_settled:
            self._settle()
            self._is_settled = True
        if not execute(statements.update, values).rowcount:
            return Outcome("unchanged")
        return Outcome("updated")

    def _find(self, table: str) -> _Statements | None:
        if table not in self._statements:
            known = table in ddl.TABLES and table not in DERIVED
            self._statements[table] = _Statements(self.database, self._layouts, table) if known else None
        return self._statements[table]


class _Statements:
    """How rows of one table are written. NULL stands for what a record leaves out, or the column's default."""

    def __init__(self, database: Database, layouts: Layouts, table: str) -> None:
        layout = layouts.find(table)
        assert layout is not None
        self.columns = layout.columns
        self.known = frozenset(layout.columns)
        info = {row["name"]: row for row in database.rows(f"PRAGMA table_info({{{table}}})")}
        marks = [_mark(info[name], place) for place, name in enumerate(self.columns, 1)]
        name = quoted(database.names.get(table, table))
        listed = ", ".join(map(quoted, self.columns))
        into = f"INSERT INTO {name} ({listed}) VALUES ({', '.join(marks)})"
        has_id = "id" in info
        self.insert = f"{into} ON CONFLICT {'(id) ' if has_id else ''}DO NOTHING"
        self.update = self._update(name, marks, table) if has_id else None

    def _update(self, name: str, marks: list[str], table: str) -> str:
        places = dict(zip(self.columns, marks, strict=True))
        # A row without a time is never newer.
        time = f"?{self.columns.index('updated_at') + 1}"
        changes = ", ".join(
            f"{quoted(column)} = {_kept(column, mark) if table == 'messages' else mark}"
            for column, mark in places.items()
            if column != "id"
        )
        return f"UPDATE {name} SET {changes} WHERE id = {places['id']} AND updated_at < {time}"


def _mark(column: Mapping[str, Any], place: int) -> str:
    if column["notnull"] and column["dflt_value"] is not None:
        return f"coalesce(?{place}, {column['dflt_value']})"
    return f"?{place}"


def _kept(column: str, mark: str) -> str:
    if column in _FROZEN:
        return f"CASE status WHEN 'pending' THEN {mark} ELSE {quoted(column)} END"
    return mark
