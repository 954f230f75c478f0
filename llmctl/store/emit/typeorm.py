"""Emits entities of TypeORM: a class for each table, with decorators.

They describe a database that is there: open it with ``synchronize: false``. On SQLite times stay text, as hubs have
them: TypeORM would write others. Source: https://typeorm.io/docs/entity/entities
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llmctl.store.emit.dialects import Kind, Provider, index_name, kind, limits, short
from llmctl.store.emit.relations import Schema, describe
from llmctl.store.emit.typescript_syntax import doc, either, string, template
from llmctl.store.schema.introspect import Catalogue, Column, Index, Table

_COLUMNS: Mapping[Provider, Mapping[Kind, str]] = {
    "sqlite": {
        **{"text": "text", "integer": "integer", "bigint": "integer", "real": "real", "decimal": "numeric"},
        **{"boolean": "boolean", "datetime": "text", "json": "simple-json", "blob": "blob"},
    },
    "postgresql": {
        **{"text": "text", "integer": "integer", "bigint": "bigint", "real": "double precision", "decimal": "numeric"},
        **{"boolean": "boolean", "datetime": "timestamp with time zone", "json": "jsonb", "blob": "bytea"},
    },
    "mysql": {
        **{"text": "longtext", "integer": "int", "bigint": "bigint", "real": "double", "decimal": "decimal"},
        **{"boolean": "boolean", "datetime": "datetime", "json": "json", "blob": "longblob"},
    },
}
_PROPERTIES: Mapping[Kind, str] = {
    **{"text": "string", "integer": "number", "bigint": "string", "real": "number", "decimal": "string"},
    **{"boolean": "boolean", "datetime": "Date", "json": "unknown", "blob": "Buffer"},
}
_DECORATORS = (
    *("Check", "Column", "Entity", "Index", "JoinColumn", "ManyToOne", "OneToMany", "OneToOne"),
    *("PrimaryColumn", "PrimaryGeneratedColumn"),
)


def emit(catalogue: Catalogue, names: Mapping[str, str], *, dialect: Provider = "sqlite") -> str:
    """Return a module of entity classes, and ``entities``, the list of them."""
    keyed = tuple(table for table in catalogue.tables if table.key)
    schema = describe(replace(catalogue, tables=keyed), names, "hub", dialect)
    left_out = "".join(
        f"// left out: {table.name}, which has no primary key\n" for table in catalogue.tables if not table.key
    )
    classes = [_class(schema, table) for table in keyed]
    used = [name for name in _DECORATORS if any(f"@{name}(" in text for text in classes)]
    imports = f"import {{ {', '.join(used)}, type Relation }} from 'typeorm';\n{left_out}"
    listed = ", ".join(schema.models[table.name] for table in keyed)
    return "\n".join([imports, *classes, f"export const entities = [{listed}];\n"])


def _class(schema: Schema, table: Table) -> str:
    lines = [*_columns(schema, table), *_owning(schema, table), *_inverse(schema, table)]
    head = f"@Entity({{ name: {string(short(table.name, schema.provider))} }})\n" + "".join(_above(schema, table))
    return f"{doc(table.comment)}{head}export class {schema.models[table.name]} {{\n{chr(10).join(lines)}}}\n"


def _above(schema: Schema, table: Table) -> Iterator[str]:
    for index in table.indexes:
        if index.is_plain:
            yield _index(schema, table, index)
    for column in table.columns:
        if column.values:
            name = short(f"{table.name}_{column.name}_check", schema.provider)
            quote = "`" if schema.provider == "mysql" else '"'
            values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.values)
            yield f"@Check({string(name)}, {string(f'{quote}{column.name}{quote} IN ({values})')})\n"


def _index(schema: Schema, table: Table, index: Index) -> str:
    name = string(index_name(table, index, schema.provider))
    if index.descending:  # TypeORM cannot say this; it is told to leave the index alone
        return f"@Index({name}, {{ synchronize: false }})\n"
    columns = ", ".join(string(schema.fields[table.name][column]) for column in index.columns)
    return f"@Index({name}, [{columns}]{', { unique: true }' if index.unique else ''})\n"


def _columns(schema: Schema, table: Table) -> Iterator[str]:
    for column in table.columns:
        field = schema.fields[table.name][column.name]
        own = _options(schema, table, column)
        is_key = column.name in table.key
        counted = table.key == (column.name,) and kind(column) == "integer"
        decorator = "PrimaryGeneratedColumn" if counted else "PrimaryColumn" if is_key else "Column"
        type = either(column.values) if column.values else _property(schema, column)
        missing = " | null" if column.nullable and not is_key else ""
        yield f"{doc(column.comment, '  ')}  @{decorator}({{ {', '.join(own)} }})\n  {field}!: {type}{missing};\n"


def _property(schema: Schema, column: Column) -> str:
    if column.name == "refs":
        return "Record<string, string>"
    own = kind(column)
    if schema.provider == "sqlite" and own in ("datetime", "bigint"):
        return "string" if own == "datetime" else "number"
    return _PROPERTIES[own]


def _options(schema: Schema, table: Table, column: Column) -> list[str]:
    provider, own = schema.provider, kind(column)
    limit = limits(table).get(column.name) if provider == "mysql" and own == "text" else None
    type = "varchar" if limit else _COLUMNS[provider][own]
    is_key = column.name in table.key
    counted = table.key == (column.name,) and own == "integer"
    return [
        f"name: {string(short(column.name, provider))}",
        f"type: '{type}'",
        *([f"length: {limit}"] if limit else []),
        *(["precision: 3"] if own == "datetime" and provider != "sqlite" else []),
        *(["precision: 65", "scale: 30"] if own == "decimal" and provider == "mysql" else []),
        *(["nullable: true"] if column.nullable and not is_key else []),
        *([f"default: () => `{template(default)}`"] if not counted and (default := _default(schema, column)) else []),
    ]


def _default(schema: Schema, column: Column) -> str:
    text = column.default
    if text is None or text.upper() == "NULL":
        return ""
    if kind(column) == "datetime" and schema.provider != "sqlite":
        return "CURRENT_TIMESTAMP(3)"
    if kind(column) == "boolean" and schema.provider == "postgresql" and text in ("0", "1"):
        return "true" if text == "1" else "false"
    is_plain = text[:1] in "'-+0123456789" or text.isalpha()
    return text if is_plain and schema.provider != "mysql" else f"({text})"


def _owning(schema: Schema, table: Table) -> Iterator[str]:
    for relation in schema.leaving(table):
        target = schema.target(relation)
        joins = [
            f"{{ name: {string(here)}, referencedColumnName: {string(schema.fields[target][there])} }}"
            for here, there in zip(relation.key.columns, relation.key.references, strict=True)
        ]
        optional = any(table.column(column).nullable for column in relation.key.columns)
        model = schema.models[target]
        made = "ManyToOne" if relation.many else "OneToOne"
        actions = f"onDelete: '{relation.key.on_delete}', onUpdate: '{relation.key.on_update}'"
        yield (
            f"  @{made}(() => {model}, (other) => other.{relation.backward},"
            f" {{ nullable: {'true' if optional else 'false'}, {actions} }})\n"
            f"  @JoinColumn({_one_or_all(joins)})\n"
            f"  {relation.forward}!: Relation<{model}>{' | null' if optional else ''};\n"
        )


def _inverse(schema: Schema, table: Table) -> Iterator[str]:
    for relation in schema.arriving(table):
        model = schema.models[relation.table]
        made = "OneToMany" if relation.many else "OneToOne"
        type = f"Relation<{model}[]>" if relation.many else f"Relation<{model}> | null"
        yield f"  @{made}(() => {model}, (other) => other.{relation.forward})\n  {relation.backward}!: {type};\n"


def _one_or_all(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
