"""Read-only SQL of the user's: whatever it says, nothing is changed, attached or loaded."""

from __future__ import annotations

import re
import sqlite3
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.signals import is_pending, uninterrupted
from llmctl.store.database import Database, Row
from llmctl.store.errors import translated

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
#: PRAGMAs that only tell; those of the second group take the name of what they tell about.
_TELLING = frozenset(
    (
        *("user_version", "application_id", "page_count", "page_size", "freelist_count", "encoding", "data_version"),
        *("table_list", "function_list", "module_list", "pragma_list", "collation_list", "compile_options"),
        *("database_list", "journal_mode"),
    )
)
_TELLING_OF = frozenset(
    ("table_info", "table_xinfo", "index_list", "index_info", "index_xinfo", "foreign_key_list", "table_list")
)
#: Steps of SQLite's virtual machine between two looks at whether a signal waits.
_STEPS = 100_000


class Result:
    """The columns of a query and its rows, read one by one."""

    def __init__(self, columns: list[str], rows: Iterator[Row]) -> None:
        self.columns = columns
        self.rows = rows


def run(database: Database, sql: str, parameters: Mapping[str, Any]) -> Result:
    """Run one SELECT with named parameters (``:name``). Raises UsageError for anything else, and for bad SQL."""
    connection = database.connection
    connection.set_authorizer(None)
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA trusted_schema=0")
    connection.set_authorizer(_authorize)
    connection.set_progress_handler(is_pending, _STEPS)
    with _explained(database.path), uninterrupted():
        cursor = connection.execute(sql, parameters)
    columns = _distinct([column[0] for column in cursor.description or ()])
    return Result(columns, _rows(cursor, columns, database.path))


def rows(database: Database, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
    """Run one SELECT as :func:`run` does and return its rows; the connection is as before then."""
    connection = database.connection
    try:
        return list(run(database, sql, parameters).rows)
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        connection.execute("PRAGMA query_only=0")
        connection.execute("PRAGMA trusted_schema=1")


def _rows(cursor: sqlite3.Cursor, columns: list[str], path: str) -> Iterator[Row]:
    while True:
        with _explained(path), uninterrupted():
            row = cursor.fetchone()
        if row is None:
            return
        yield {name: _value(value) for name, value in zip(columns, row, strict=True)}


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what SQLite says about the user's SQL into UsageError."""
    try:
        yield
    except (sqlite3.DatabaseError, sqlite3.Warning) as error:
        raise _usage_error(error, path) from error


def _usage_error(error: sqlite3.DatabaseError | sqlite3.Warning, path: str) -> Exception:
    text = str(error)
    if any(word in text for word in ("not authorized", "authorization denied", "prohibited", "readonly")):
        return UsageError("only reading is allowed here", hint="see: llmctl help sql", reason="read_only")
    if "one statement at a time" in text:
        return UsageError("only one statement at a time", hint="send them one by one")
    missing = re.search(r"binding parameter :?(\w+)|Binding (\d+) has no name", text)
    if missing:
        name = missing[1] or "NAME"
        return UsageError(f'no value for ":{missing[1] or missing[2]}"', hint=f"give it with: -p {name}=VALUE")
    if isinstance(error, sqlite3.DatabaseError):
        known = translated(error, path)
        if known is not error:
            return known
    return UsageError(text[:1].lower() + text[1:], hint="tables and views: llmctl help sql, llmctl schema show")


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action in _ALLOWED:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first is not None:
        telling = first.lower() in _TELLING and second is None
        return sqlite3.SQLITE_OK if telling or first.lower() in _TELLING_OF else sqlite3.SQLITE_DENY
    # What a table-valued function (json_each) looks like while it is declared; a real one is refused by SQLite.
    is_declared = action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
    return sqlite3.SQLITE_OK if is_declared else sqlite3.SQLITE_DENY


def _distinct(names: list[str]) -> list[str]:
    """Give columns of one name numbers, so that no row loses a value: ``id``, ``id_2``."""
    found: list[str] = []
    for name in names:
        number, own = 2, name
        while own in found:
            own, number = f"{name}_{number}", number + 1
        found.append(own)
    return found


def _value(value: Any) -> Any:
    """Return bytes as text where they are some, else as ``{"base64": ...}``."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
