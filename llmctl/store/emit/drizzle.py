"""Emits a schema of Drizzle ORM: the same tables for SQLite, PostgreSQL or MySQL, and their relations.

Source: https://orm.drizzle.team/docs/sql-schema-declaration and https://orm.drizzle.team/docs/relations
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from llmctl.store.emit import naming
from llmctl.store.emit.dialects import Provider, index_name, short
from llmctl.store.emit.drizzle_columns import Columns, columns_of
from llmctl.store.emit.relations import Relation, Schema, describe
from llmctl.store.emit.typescript_syntax import doc, string
from llmctl.store.schema.introspect import Catalogue, Index, Table

_CORE = {"sqlite": "sqlite-core", "postgresql": "pg-core", "mysql": "mysql-core"}
#: Words of the language that end as a plural does.
_RESERVED = {"arguments", "class", "implements", "this"}
_TABLE = {"sqlite": "sqliteTable", "postgresql": "pgTable", "mysql": "mysqlTable"}


def emit(catalogue: Catalogue, names: Mapping[str, str], *, dialect: Provider = "sqlite") -> str:
    """Return ``schema.ts``. Each table is a constant of its model's plural: ``chats``, ``toolInvocations``."""
    schema = describe(catalogue, names, "hub", dialect)
    constants = _constants(schema)
    words = columns_of(dialect)
    tables = [_table(words, schema, constants, table) for table in catalogue.tables]
    relations = [text for table in catalogue.tables if (text := _relations(schema, constants, table))]
    header = _imports(words, catalogue, bool(relations)) + "".join(
        f"\n{text}" for name, text in words.custom.items() if any(f"{name}(" in table for table in tables)
    )
    return "\n".join([header, *tables, *relations])


def _constants(schema: Schema) -> dict[str, str]:
    found: dict[str, str] = {}
    for table, model in schema.models.items():
        found[table] = naming.free(naming.plural(naming.camel(model)), {*found.values(), *_imported(schema.provider)})
    return found


def _imported(provider: Provider) -> set[str]:
    return {"relations", "sql", "desc", *_RESERVED, *columns_of(provider).functions, _TABLE[provider]}


def _imports(words: Columns, catalogue: Catalogue, has_relations: bool) -> str:
    core = [_TABLE[words.provider], words.any_column, *words.functions]
    orm = ["sql", *(["desc"] if any(i.descending for t in catalogue.tables for i in t.indexes) else [])]
    orm = [*(["relations"] if has_relations else []), *orm]
    names = ", ".join(name if name != words.any_column else f"type {name}" for name in core)
    return (
        f"import {{ {', '.join(sorted(orm))} }} from 'drizzle-orm';\n"
        f"import {{ {names} }} from 'drizzle-orm/{_CORE[words.provider]}';\n"
    )


def _table(words: Columns, schema: Schema, constants: Mapping[str, str], table: Table) -> str:
    fields = schema.fields[table.name]
    single = {relation.key.columns[0]: relation for relation in schema.leaving(table) if len(relation.key.columns) == 1}
    lines = []
    for column in table.columns:
        text = words.column(table, column)
        if column.name in single:
            text += _reference(words, schema, constants, single[column.name])
        lines.append(f"{doc(column.comment, '  ')}  {fields[column.name]}: {text},\n")
    extras = "".join(f"  {text},\n" for text in _extras(words, schema, constants, table))
    more = f", (table) => [\n{extras}]" if extras else ""
    head = f"export const {constants[table.name]} = {_TABLE[words.provider]}"
    return f"{doc(table.comment)}{head}({string(short(table.name, words.provider))}, {{\n{''.join(lines)}}}{more});\n"


def _reference(words: Columns, schema: Schema, constants: Mapping[str, str], relation: Relation) -> str:
    target = schema.target(relation)
    field = schema.fields[target][relation.key.references[0]]
    return (
        f".references((): {words.any_column} => {constants[target]}.{field},"
        f" {{ onDelete: '{relation.key.on_delete.lower()}', onUpdate: '{relation.key.on_update.lower()}' }})"
    )


def _extras(words: Columns, schema: Schema, constants: Mapping[str, str], table: Table) -> Iterator[str]:
    fields = schema.fields[table.name]
    if len(table.key) > 1:
        yield f"primaryKey({{ columns: [{_named(fields, table.key)}] }})"
    for relation in schema.leaving(table):
        if len(relation.key.columns) > 1:
            yield _foreign_key(schema, constants, fields, relation)
    for index in table.indexes:
        if index.is_plain:
            yield _index(words, table, fields, index)
    for column in table.columns:
        if column.values:
            name = short(f"{table.name}_{column.name}_check", words.provider)
            values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.values)
            yield f"check({string(name)}, sql`${{table.{fields[column.name]}}} IN ({values})`)"


def _named(fields: Mapping[str, str], columns: Iterable[str]) -> str:
    return ", ".join(f"table.{fields[column]}" for column in columns)


def _foreign_key(schema: Schema, constants: Mapping[str, str], fields: Mapping[str, str], relation: Relation) -> str:
    target, key = schema.target(relation), relation.key
    there = ", ".join(f"{constants[target]}.{schema.fields[target][column]}" for column in key.references)
    return (
        f"foreignKey({{ columns: [{_named(fields, key.columns)}], foreignColumns: [{there}] }})"
        f".onDelete('{key.on_delete.lower()}').onUpdate('{key.on_update.lower()}')"
    )


def _index(words: Columns, table: Table, fields: Mapping[str, str], index: Index) -> str:
    made = "uniqueIndex" if index.unique else "index"
    columns = [
        words.descending(f"table.{fields[column]}") if column in index.descending else f"table.{fields[column]}"
        for column in index.columns
    ]
    return f"{made}({string(index_name(table, index, words.provider))}).on({', '.join(columns)})"


def _relations(schema: Schema, constants: Mapping[str, str], table: Table) -> str:
    lines = [_one(schema, constants, table, relation) for relation in schema.leaving(table)]
    for relation in schema.arriving(table):
        name = f", {{ relationName: {string(relation.name)} }}" if relation.name else ""
        made = "many" if relation.many else "one"
        lines.append(f"  {relation.backward}: {made}({constants[relation.table]}{name}),\n")
    if not lines:
        return ""
    own = constants[table.name]
    used = ", ".join(word for word in ("one", "many") if any(f": {word}(" in line for line in lines))
    return f"export const {own}Relations = relations({own}, ({{ {used} }}) => ({{\n{''.join(lines)}}}));\n"


def _one(schema: Schema, constants: Mapping[str, str], table: Table, relation: Relation) -> str:
    own, target = constants[table.name], schema.target(relation)
    here = ", ".join(f"{own}.{schema.fields[table.name][column]}" for column in relation.key.columns)
    there = ", ".join(f"{constants[target]}.{schema.fields[target][column]}" for column in relation.key.references)
    name = f", relationName: {string(relation.name)}" if relation.name else ""
    return f"  {relation.forward}: one({constants[target]}, {{ fields: [{here}], references: [{there}]{name} }}),\n"
