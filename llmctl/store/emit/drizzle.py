"""Emit a schema for Drizzle ORM: the tables for SQLite, PostgreSQL or MySQL, and their relations.

Source: https://orm.drizzle.team/docs/sql-schema-declaration and https://orm.drizzle.team/docs/relations
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from llmctl.store.emit import naming
from llmctl.store.emit.dialects import Kind, Provider, index_name, shorten_name, text_limits, value_kind
from llmctl.store.emit.naming import ModelSchema, Relation, build_models
from llmctl.store.emit.typescript import doc_comment, escape_template, quote_string
from llmctl.store.schema.introspect import Catalogue, Column, Index, Table

_CORE = {"sqlite": "sqlite-core", "postgresql": "pg-core", "mysql": "mysql-core"}
#: JavaScript keywords that look like plurals.
_RESERVED = {"arguments", "class", "implements", "this"}
_TABLE = {"sqlite": "sqliteTable", "postgresql": "pgTable", "mysql": "mysqlTable"}
#: Function and options per kind of value; ``{n}`` is the column's name.
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
_NOTE = """
// For queries. Do not run drizzle-kit push or pull on a hub: drizzle-kit reads a view only if it is one line, does not
// know triggers, and would rebuild tables without them. llmctl init and llmctl db migrate change a hub.
"""
_KEYS = ("primaryKey", "foreignKey", "index", "uniqueIndex", "check")


def emit(catalogue: Catalogue, names: Mapping[str, str], *, dialect: Provider = "sqlite") -> str:
    """Return ``schema.ts``. Each table is a constant named by its model's plural: ``chats``, ``toolInvocations``."""
    schema = build_models(catalogue, names, "hub", dialect)
    constants = _constants(schema)
    words = dialect_for(dialect)
    tables = [_table(words, schema, constants, table) for table in catalogue.tables]
    relations = [text for table in catalogue.tables if (text := _relations(schema, constants, table))]
    header = _imports(words, catalogue, bool(relations)) + "".join(
        f"\n{text}" for name, text in words.custom.items() if any(f"{name}(" in table for table in tables)
    )
    return "\n".join([header, *tables, *relations])


def _constants(schema: ModelSchema) -> dict[str, str]:
    result: dict[str, str] = {}
    for table, model in schema.models.items():
        result[table] = naming.unique_name(
            naming.pluralize(naming.to_camel(model)), {*result.values(), *_imported(schema.provider)}
        )
    return result


def _imported(provider: Provider) -> set[str]:
    return {"relations", "sql", "desc", *_RESERVED, *dialect_for(provider).functions, _TABLE[provider]}


def _imports(words: DrizzleDialect, catalogue: Catalogue, has_relations: bool) -> str:
    core = [_TABLE[words.provider], words.any_column, *words.functions]
    orm = ["sql", *(["desc"] if any(i.descending for t in catalogue.tables for i in t.indexes) else [])]
    orm = [*(["relations"] if has_relations else []), *orm]
    names = ", ".join(name if name != words.any_column else f"type {name}" for name in core)
    return (
        f"import {{ {', '.join(sorted(orm))} }} from 'drizzle-orm';\n"
        f"import {{ {names} }} from 'drizzle-orm/{_CORE[words.provider]}';\n{_NOTE}"
    )


def _table(words: DrizzleDialect, schema: ModelSchema, constants: Mapping[str, str], table: Table) -> str:
    fields = schema.fields[table.name]
    single = {
        relation.key.columns[0]: relation for relation in schema.outgoing(table) if len(relation.key.columns) == 1
    }
    lines = []
    for column in table.columns:
        text = words.column(table, column)
        if column.name in single:
            text += _reference(words, schema, constants, single[column.name])
        lines.append(f"{doc_comment(column.comment, '  ')}  {fields[column.name]}: {text},\n")
    extras = "".join(f"  {text},\n" for text in _extras(words, schema, constants, table))
    more = f", (table) => [\n{extras}]" if extras else ""
    head = f"export const {constants[table.name]} = {_TABLE[words.provider]}"
    name = quote_string(shorten_name(table.name, words.provider))
    return f"{doc_comment(table.comment)}{head}({name}, {{\n{''.join(lines)}}}{more});\n"


def _reference(words: DrizzleDialect, schema: ModelSchema, constants: Mapping[str, str], relation: Relation) -> str:
    target = schema.target(relation)
    field = schema.fields[target][relation.key.references[0]]
    return (
        f".references((): {words.any_column} => {constants[target]}.{field},"
        f" {{ onDelete: '{relation.key.on_delete.lower()}', onUpdate: '{relation.key.on_update.lower()}' }})"
    )


def _extras(words: DrizzleDialect, schema: ModelSchema, constants: Mapping[str, str], table: Table) -> Iterator[str]:
    fields = schema.fields[table.name]
    if len(table.key) > 1:
        # Without a name the database gets one of all columns, which can be too long for MySQL and PostgreSQL.
        name = quote_string(shorten_name(f"{table.name}_pk", words.provider))
        own = "" if words.provider == "sqlite" else f"name: {name}, "
        yield f"primaryKey({{ {own}columns: [{_column_list(fields, table.key)}] }})"
    for relation in schema.outgoing(table):
        if len(relation.key.columns) > 1:
            yield _foreign_key(schema, constants, fields, relation)
    for index in table.indexes:
        if index.is_plain:
            yield _index(words, table, fields, index)
    for column in table.columns:
        if column.values:
            name = shorten_name(f"{table.name}_{column.name}_check", words.provider)
            values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.values)
            yield f"check({quote_string(name)}, sql`${{table.{fields[column.name]}}} IN ({values})`)"


def _column_list(fields: Mapping[str, str], columns: Iterable[str]) -> str:
    return ", ".join(f"table.{fields[column]}" for column in columns)


def _foreign_key(
    schema: ModelSchema, constants: Mapping[str, str], fields: Mapping[str, str], relation: Relation
) -> str:
    target, key = schema.target(relation), relation.key
    there = ", ".join(f"{constants[target]}.{schema.fields[target][column]}" for column in key.references)
    return (
        f"foreignKey({{ columns: [{_column_list(fields, key.columns)}], foreignColumns: [{there}] }})"
        f".onDelete('{key.on_delete.lower()}').onUpdate('{key.on_update.lower()}')"
    )


def _index(words: DrizzleDialect, table: Table, fields: Mapping[str, str], index: Index) -> str:
    made = "uniqueIndex" if index.unique else "index"
    columns = [
        words.descending(f"table.{fields[column]}") if column in index.descending else f"table.{fields[column]}"
        for column in index.columns
    ]
    return f"{made}({quote_string(index_name(table, index, words.provider))}).on({', '.join(columns)})"


def _relations(schema: ModelSchema, constants: Mapping[str, str], table: Table) -> str:
    lines = [_one_relation(schema, constants, table, relation) for relation in schema.outgoing(table)]
    for relation in schema.incoming(table):
        name = f", {{ relationName: {quote_string(relation.name)} }}" if relation.name else ""
        made = "many" if relation.many else "one"
        lines.append(f"  {relation.backward}: {made}({constants[relation.table]}{name}),\n")
    if not lines:
        return ""
    own = constants[table.name]
    used = ", ".join(word for word in ("one", "many") if any(f": {word}(" in line for line in lines))
    return f"export const {own}Relations = relations({own}, ({{ {used} }}) => ({{\n{''.join(lines)}}}));\n"


def _one_relation(schema: ModelSchema, constants: Mapping[str, str], table: Table, relation: Relation) -> str:
    own, target = constants[table.name], schema.target(relation)
    here = ", ".join(f"{own}.{schema.fields[table.name][column]}" for column in relation.key.columns)
    there = ", ".join(f"{constants[target]}.{schema.fields[target][column]}" for column in relation.key.references)
    name = f", relationName: {quote_string(relation.name)}" if relation.name else ""
    return f"  {relation.forward}: one({constants[target]}, {{ fields: [{here}], references: [{there}]{name} }}),\n"


@dataclass(frozen=True, slots=True)
class DrizzleDialect:
    """How columns are written for one database; ``functions`` must be imported for them."""

    provider: Provider
    types: Mapping[Kind, str]
    functions: tuple[str, ...]
    any_column: str
    #: Types that Drizzle lacks: name -> declaration.
    custom: Mapping[str, str]

    def column(self, table: Table, column: Column) -> str:
        """Return the column without its reference."""
        text = self._typed(table, column)
        if table.key == (column.name,):
            return text + self._key(column)
        return text + ("" if column.nullable else ".notNull()") + self._default(table, column)

    def descending(self, column: str) -> str:
        return f"{column}.desc()" if self.provider == "postgresql" else f"desc({column})"

    def _typed(self, table: Table, column: Column) -> str:
        name = quote_string(shorten_name(column.name, self.provider))
        own = value_kind(column)
        if own == "text":
            return self._text(name, table, column)
        text = self.types[own].format(n=name)
        return f"{text}.$type<Record<string, string>>()" if column.name == "refs" else text

    def _text(self, name: str, table: Table, column: Column) -> str:
        options = []
        limit = text_limits(table).get(column.name) if self.provider == "mysql" else None
        if limit:
            options.append(f"length: {limit}")
        if column.values:
            options.append(f"enum: [{', '.join(map(quote_string, column.values))}]")
        function = "varchar" if limit else self.types["text"].partition("(")[0]
        return f"{function}({name}{', { ' + ', '.join(options) + ' }' if options else ''})"

    def _key(self, column: Column) -> str:
        if value_kind(column) != "integer":
            return ".primaryKey()"
        return {
            "sqlite": ".primaryKey()",
            "postgresql": ".primaryKey().generatedByDefaultAsIdentity()",
            "mysql": ".primaryKey().autoincrement()",
        }[self.provider]

    def _default(self, table: Table, column: Column) -> str:
        text, own = column.default, value_kind(column)
        if text is None or text.upper() == "NULL":
            return ""
        if own == "datetime" and self.provider != "sqlite":
            return ".default(sql`CURRENT_TIMESTAMP(3)`)" if self.provider == "mysql" else ".defaultNow()"
        if own == "boolean" and text.lower() in ("true", "false", "0", "1"):
            return f".default({'true' if text.lower() in ('true', '1') else 'false'})"
        if self.provider == "mysql" and (own == "json" or (own == "text" and column.name not in text_limits(table))):
            return f".default(sql`({escape_template(text)})`)"  # an expression: MySQL accepts no literal here
        return f".default(sql`{escape_template(text if _is_literal(text) else f'({text})')}`)"


def dialect_for(provider: Provider) -> DrizzleDialect:
    """Return the dialect of a database."""
    return _DIALECTS[provider]


def _is_literal(text: str) -> bool:
    return text[:1] in "'-+0123456789" or text.upper() in ("TRUE", "FALSE", "CURRENT_TIMESTAMP")


def _custom_type(name: str, declared: str) -> str:
    return f"const {name} = customType<{{ data: Buffer }}>({{\n  dataType() {{\n    return '{declared}';\n  }},\n}});\n"


_DIALECTS: Mapping[Provider, DrizzleDialect] = {
    "sqlite": DrizzleDialect(
        "sqlite",
        _SQLITE,
        ("text", "integer", "real", "numeric", "blob", *_KEYS),
        "AnySQLiteColumn",
        {},
    ),
    "postgresql": DrizzleDialect(
        "postgresql",
        _POSTGRESQL,
        (
            *("text", "integer", "bigint", "doublePrecision", "numeric", "boolean", "timestamp", "jsonb"),
            *("customType", *_KEYS),
        ),
        "AnyPgColumn",
        {"bytea": _custom_type("bytea", "bytea")},
    ),
    "mysql": DrizzleDialect(
        "mysql",
        _MYSQL,
        (
            *("longtext", "varchar", "int", "bigint", "double", "decimal", "boolean", "datetime", "json"),
            *("customType", *_KEYS),
        ),
        "AnyMySqlColumn",
        {"longblob": _custom_type("longblob", "longblob")},
    ),
}
