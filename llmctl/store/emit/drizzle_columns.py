"""Columns in Drizzle's words, for each database it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmctl.store.emit.dialects import Kind, Provider, kind, limits, short
from llmctl.store.emit.typescript_syntax import string, template
from llmctl.store.schema.introspect import Column, Table

#: Function and options of each kind of value; ``{n}`` is the column's name.
_SQLITE: Mapping[Kind, str] = {
    "text": "text({n})",
    "integer": "integer({n})",
    "bigint": "integer({n})",
    "real": "real({n})",
    "decimal": "numeric({n})",
    "boolean": "integer({n}, {{ mode: 'boolean' }})",
    "datetime": "text({n})",
    "json": "text({n}, {{ mode: 'json' }})",
    "blob": "blob({n}, {{ mode: 'buffer' }})",
}
_POSTGRESQL: Mapping[Kind, str] = {
    "text": "text({n})",
    "integer": "integer({n})",
    "bigint": "bigint({n}, {{ mode: 'number' }})",
    "real": "doublePrecision({n})",
    "decimal": "numeric({n})",
    "boolean": "boolean({n})",
    "datetime": "timestamp({n}, {{ precision: 3, withTimezone: true, mode: 'string' }})",
    "json": "jsonb({n})",
    "blob": "bytea({n})",
}
_MYSQL: Mapping[Kind, str] = {
    "text": "longtext({n})",
    "integer": "int({n})",
    "bigint": "bigint({n}, {{ mode: 'number' }})",
    "real": "double({n})",
    "decimal": "decimal({n}, {{ precision: 65, scale: 30 }})",
    "boolean": "boolean({n})",
    "datetime": "datetime({n}, {{ fsp: 3, mode: 'string' }})",
    "json": "json({n})",
    "blob": "longblob({n})",
}
_KEYS = ("primaryKey", "foreignKey", "index", "uniqueIndex", "check")


@dataclass(frozen=True, slots=True)
class Columns:
    """How columns are written for one database; ``functions`` are what has to be imported for them."""

    provider: Provider
    types: Mapping[Kind, str]
    functions: tuple[str, ...]
    any_column: str
    #: Types that Drizzle does not have: name -> declaration.
    custom: Mapping[str, str]

    def column(self, table: Table, column: Column) -> str:
        """Return the column with everything but its reference."""
        text = self._typed(table, column)
        if table.key == (column.name,):
            return text + self._key(column)
        return text + ("" if column.nullable else ".notNull()") + self._default(table, column)

    def descending(self, column: str) -> str:
        return f"{column}.desc()" if self.provider == "postgresql" else f"desc({column})"

    def _typed(self, table: Table, column: Column) -> str:
        name = string(short(column.name, self.provider))
        own = kind(column)
        if own == "text":
            return self._text(name, table, column)
        text = self.types[own].format(n=name)
        return f"{text}.$type<Record<string, string>>()" if column.name == "refs" else text

    def _text(self, name: str, table: Table, column: Column) -> str:
        options = []
        limit = limits(table).get(column.name) if self.provider == "mysql" else None
        if limit:
            options.append(f"length: {limit}")
        if column.values:
            options.append(f"enum: [{', '.join(map(string, column.values))}]")
        function = "varchar" if limit else self.types["text"].partition("(")[0]
        return f"{function}({name}{', { ' + ', '.join(options) + ' }' if options else ''})"

    def _key(self, column: Column) -> str:
        if kind(column) != "integer":
            return ".primaryKey()"
        return {
            "sqlite": ".primaryKey()",
            "postgresql": ".primaryKey().generatedByDefaultAsIdentity()",
            "mysql": ".primaryKey().autoincrement()",
        }[self.provider]

    def _default(self, table: Table, column: Column) -> str:
        text, own = column.default, kind(column)
        if text is None or text.upper() == "NULL":
            return ""
        if own == "datetime" and self.provider != "sqlite":
            return ".default(sql`CURRENT_TIMESTAMP(3)`)" if self.provider == "mysql" else ".defaultNow()"
        if own == "boolean" and text.lower() in ("true", "false", "0", "1"):
            return f".default({'true' if text.lower() in ('true', '1') else 'false'})"
        if self.provider == "mysql" and (own == "json" or (own == "text" and column.name not in limits(table))):
            return f".default(sql`({template(text)})`)"  # an expression: MySQL takes no literal here
        return f".default(sql`{template(text if _is_literal(text) else f'({text})')}`)"


def columns_of(provider: Provider) -> Columns:
    """Return how columns are written for a database."""
    return _ALL[provider]


def _is_literal(text: str) -> bool:
    return text[:1] in "'-+0123456789" or text.upper() in ("TRUE", "FALSE", "CURRENT_TIMESTAMP")


def _custom(name: str, declared: str) -> str:
    return f"const {name} = customType<{{ data: Buffer }}>({{\n  dataType() {{\n    return '{declared}';\n  }},\n}});\n"


_ALL: Mapping[Provider, Columns] = {
    "sqlite": Columns(
        "sqlite",
        _SQLITE,
        ("text", "integer", "real", "numeric", "blob", *_KEYS),
        "AnySQLiteColumn",
        {},
    ),
    "postgresql": Columns(
        "postgresql",
        _POSTGRESQL,
        (
            *("text", "integer", "bigint", "doublePrecision", "numeric", "boolean", "timestamp", "jsonb"),
            *("customType", *_KEYS),
        ),
        "AnyPgColumn",
        {"bytea": _custom("bytea", "bytea")},
    ),
    "mysql": Columns(
        "mysql",
        _MYSQL,
        (
            *("longtext", "varchar", "int", "bigint", "double", "decimal", "boolean", "datetime", "json"),
            *("customType", *_KEYS),
        ),
        "AnyMySqlColumn",
        {"longblob": _custom("longblob", "longblob")},
    ),
}
