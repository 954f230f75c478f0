"""What the databases differ in, for all emitters."""

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

#: How long a name may be; SQLite does not care.
_LONGEST_NAME = {"postgresql": 63, "mysql": 64}

#: MySQL: characters of all texts in a key of 3072 bytes, with room for numbers and times beside them.
_KEY_CHARACTERS = (3072 - 32) // 4
#: Its usual VARCHAR, by Prisma's choice.
VARCHAR = 191


def kind(column: Column) -> Kind:
    """Return what kind of value a column is declared for."""
    declared = column.type.lower().partition("(")[0].strip()
    if declared in _KINDS:
        return _KINDS[declared]
    for part, found in _AFFINITY:
        if part in declared:
            return found
    return "text"


def limits(table: Table) -> dict[str, int]:
    """Return the length of each text column that MySQL cannot have without one: those in keys, and short words.

    What is not in here holds text of any length.
    """
    keys = [table.key, *(index.columns for index in table.indexes), *(key.columns for key in table.foreign_keys)]
    found = {column.name: VARCHAR for column in table.columns if column.values or _is_word(column.default)}
    for key in keys:
        texts = [name for name in key if name and kind(table.column(name)) == "text"]
        for name in texts:
            found[name] = min(found.get(name, VARCHAR), _KEY_CHARACTERS // len(texts))
    return found


def short(name: str, provider: Provider) -> str:
    """Return a name as long as the database lets it be; a cut one ends in a digest and stays unique."""
    longest = _LONGEST_NAME.get(provider, len(name))
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9]}_{digest}"


def index_name(table: Table, index: Index, provider: Provider) -> str:
    """Return the name of an index; that of a UNIQUE constraint is SQLite's own and no other's."""
    own = index.name.startswith("sqlite_autoindex_")
    return short(f"{table.name}_{'_'.join(index.columns)}_key" if own else index.name, provider)


def _is_word(default: str | None) -> bool:
    return default is not None and default[:1] == "'" and len(default) > 2
