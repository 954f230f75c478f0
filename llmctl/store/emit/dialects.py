"""Differences between databases, for all emitters."""

from __future__ import annotations

import hashlib
from typing import Literal

from llmctl.store.schema.introspect import Column, Index, Table

Provider = Literal["sqlite", "postgresql", "mysql"]
Kind = Literal["text", "integer", "bigint", "real", "decimal", "boolean", "datetime", "json", "blob"]

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("json", "jsonb"), "json"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("date", "datetime", "timestamp"), "datetime"),
    **dict.fromkeys(("bigint", "int8"), "bigint"),
    **dict.fromkeys(("numeric", "decimal"), "decimal"),
    **dict.fromkeys(("binary", "varbinary", ""), "blob"),
    "serial": "integer",
}
#: SQLite's own rules for the rest, in its order (https://sqlite.org/datatype3.html).
_AFFINITY: tuple[tuple[str, Kind], ...] = (
    *(("int", "integer"), ("char", "text"), ("clob", "text"), ("text", "text"), ("blob", "blob")),
    *(("real", "real"), ("floa", "real"), ("doub", "real")),
)

#: Maximum length of a name; SQLite has no limit.
_LONGEST_NAME = {"postgresql": 63, "mysql": 64}

#: MySQL: characters of all texts in a key of 3072 bytes, with room for numbers and times next to them.
_KEY_CHARACTERS = (3072 - 32) // 4
#: Its usual VARCHAR, by Prisma's choice.
VARCHAR = 191


def value_kind(column: Column) -> Kind:
    """Return the kind of value a column is declared for."""
    declared = column.type.lower().partition("(")[0].strip()
    if declared in _KINDS:
        return _KINDS[declared]
    for part, result in _AFFINITY:
        if part in declared:
            return result
    return "text"


def text_limits(table: Table) -> dict[str, int]:
    """Return the lengths of text columns that need one in MySQL: those in keys, and short words.

    Other columns hold text of any length.
    """
    keys = [table.key, *(index.columns for index in table.indexes), *(key.columns for key in table.foreign_keys)]
    result = {column.name: VARCHAR for column in table.columns if column.values or _is_short_default(column.default)}
    for key in keys:
        texts = [name for name in key if name and value_kind(table.column(name)) == "text"]
        for name in texts:
            result[name] = min(result.get(name, VARCHAR), _KEY_CHARACTERS // len(texts))
    return result


def shorten_name(name: str, provider: Provider) -> str:
    """Return a name within the database's limit; a truncated one ends in a digest and stays unique."""
    longest = _LONGEST_NAME.get(provider, len(name))
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9]}_{digest}"


def index_name(table: Table, index: Index, provider: Provider) -> str:
    """Return the name of an index; UNIQUE constraints have a name only SQLite uses, so they get another."""
    own = index.name.startswith("sqlite_autoindex_")
    return shorten_name(f"{table.name}_{'_'.join(index.columns)}_key" if own else index.name, provider)


def _is_short_default(default: str | None) -> bool:
    return default is not None and default[:1] == "'" and len(default) > 2
