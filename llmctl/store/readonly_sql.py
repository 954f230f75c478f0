"""Run the user's read-only SQL: nothing can be changed, attached or loaded."""

from __future__ import annotations

import re
import sqlite3
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.signals import defer_signals, is_pending
from llmctl.store.database import Database, Row, translate_error

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
#: PRAGMAs that only read; those of the second group take the name of a table or an index.
_READ_PRAGMAS = frozenset(
    (
        *("user_version", "application_id", "page_count", "page_size", "freelist_count", "encoding", "data_version"),
        *("table_list", "function_list", "module_list", "pragma_list", "collation_list", "compile_options"),
        *("database_list", "journal_mode"),
    )
)
_READ_PRAGMAS_WITH_ARGUMENT = frozenset(
    ("table_info", "table_xinfo", "index_list", "index_info", "index_xinfo", "foreign_key_list", "table_list")
)
#: Earlier versions of SQLite take their own JSON functions for unsafe in the views of an untrusted schema.
_TRUSTED_SCHEMA_OFF_SINCE = (3, 41)
#: Steps of SQLite's virtual machine between two checks for a pending signal.
_STEPS_PER_SIGNAL_CHECK = 100_000


class QueryResult:
    """Columns of a query, and its rows, read lazily."""

    def __init__(self, columns: list[str], rows: Iterator[Row]) -> None:
        self.columns = columns
        self.rows = rows


def run_query(database: Database, sql: str, parameters: Mapping[str, Any]) -> QueryResult:
    """Run one SELECT with named parameters (``:name``). Raises UsageError for other statements and invalid SQL."""
    connection = database.connection
    connection.set_authorizer(None)
    connection.execute("PRAGMA query_only=1")
    if sqlite3.sqlite_version_info >= _TRUSTED_SCHEMA_OFF_SINCE:
        connection.execute("PRAGMA trusted_schema=0")
    connection.set_authorizer(_authorize)
    connection.set_progress_handler(is_pending, _STEPS_PER_SIGNAL_CHECK)
    with _translate_errors(database.path, sql), defer_signals():
        cursor = connection.execute(sql, parameters)
    columns = _unique_names([column[0] for column in cursor.description or ()])
    return QueryResult(columns, _read_rows(cursor, columns, database.path))


def query_rows(database: Database, sql: str, parameters: Mapping[str, Any], limit: int | None = None) -> list[Row]:
    """Run one SELECT as :func:`run_query` does, return its first rows and restore the connection's settings."""
    connection = database.connection
    try:
        return list(islice(run_query(database, sql, parameters).rows, limit))
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        connection.execute("PRAGMA query_only=0")
        connection.execute("PRAGMA trusted_schema=1")


def _read_rows(cursor: sqlite3.Cursor, columns: list[str], path: str) -> Iterator[Row]:
    while True:
        with _translate_errors(path), defer_signals():
            row = cursor.fetchone()
        if row is None:
            return
        yield {name: _decode_value(value) for name, value in zip(columns, row, strict=True)}


@contextmanager
def _translate_errors(path: str, sql: str = "") -> Iterator[None]:
    """Translate SQLite's errors about the user's SQL to UsageError."""
    try:
        yield
    except (sqlite3.DatabaseError, sqlite3.Warning) as error:
        raise _usage_error(error, path, sql) from error


def _parameter_name(sql: str, number: int) -> str | None:
    """Return the name of a parameter by its number, which is all that some versions of the module tell."""
    names = list(dict.fromkeys(re.findall(r"[:@$](\w+)", sql)))
    return names[number - 1] if number <= len(names) and "?" not in sql else None


def _usage_error(error: sqlite3.DatabaseError | sqlite3.Warning, path: str, sql: str) -> Exception:
    text = str(error)
    if any(word in text for word in ("not authorized", "authorization denied", "prohibited", "readonly")):
        return UsageError("only read statements are allowed", hint="see: llmctl help sql", reason="read_only")
    if "one statement at a time" in text:
        return UsageError("only one SQL statement is allowed", hint="run them one by one")
    missing = re.search(r"binding parameter :?(\w+)|[Bb]inding (\d+)", text)
    if missing:
        name = missing[1] or _parameter_name(sql, int(missing[2]))
        return UsageError(f'no value for ":{name or missing[2]}"', hint=f"pass it: -p {name or 'NAME'}=VALUE")
    if isinstance(error, sqlite3.DatabaseError):
        known = translate_error(error, path)
        if known is not error:
            return known
    return UsageError(text[:1].lower() + text[1:], hint="tables and views: llmctl help sql, llmctl schema show")


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action in _ALLOWED:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first is not None:
        telling = first.lower() in _READ_PRAGMAS and second is None
        return sqlite3.SQLITE_OK if telling or first.lower() in _READ_PRAGMAS_WITH_ARGUMENT else sqlite3.SQLITE_DENY
    # Declaring a table-valued function (json_each) looks like this; SQLite itself refuses a real update.
    is_declared = action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
    return sqlite3.SQLITE_OK if is_declared else sqlite3.SQLITE_DENY


def _unique_names(names: list[str]) -> list[str]:
    """Number duplicate column names, so that no value is lost: ``id``, ``id_2``."""
    result: list[str] = []
    for name in names:
        number, own = 2, name
        while own in result:
            own, number = f"{name}_{number}", number + 1
        result.append(own)
    return result


def _decode_value(value: Any) -> Any:
    """Return bytes as text if they are UTF-8, else as ``{"base64": ...}``."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
