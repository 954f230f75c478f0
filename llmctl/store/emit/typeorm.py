"""Emit TypeORM entities: a decorated class for each table.

They describe an existing database: open it with ``synchronize: false``. On SQLite times stay text, as in hubs,
since TypeORM would write another format. Source: https://typeorm.io/docs/entity/entities
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llmctl.store.emit.dialects import Kind, Provider, index_name, shorten_name, text_limits, value_kind
from llmctl.store.emit.naming import ModelSchema, build_models
from llmctl.store.emit.typescript import doc_comment, escape_template, quote_string, union
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
_NOTE = """
// For queries: keep `synchronize` off. TypeORM writes types, defaults and foreign keys in its own way, so it finds
// changes in every hub, and would rebuild the tables without their triggers. llmctl db migrate changes a hub.
"""
_DECORATORS = (
    *("Check", "Column", "Entity", "Index", "JoinColumn", "ManyToOne", "OneToMany", "OneToOne"),
    *("PrimaryColumn", "PrimaryGeneratedColumn"),
)


def emit(catalogue: Catalogue, names: Mapping[str, str], *, dialect: Provider = "sqlite") -> str:
    """Return a module of entity classes, and their list ``entities``."""
    keyed = tuple(table for table in catalogue.tables if table.key)
    schema = build_models(replace(catalogue, tables=keyed), names, "hub", dialect)
    left_out = "".join(
        f"// left out: {table.name}, which has no primary key\n" for table in catalogue.tables if not table.key
    )
    classes = [_class(schema, table) for table in keyed]
    used = [name for name in _DECORATORS if any(f"@{name}(" in text for text in classes)]
    imports = f"import {{ {', '.join(used)}, type Relation }} from 'typeorm';\n{_NOTE}{left_out}"
    listed = ", ".join(schema.models[table.name] for table in keyed)
    return "\n".join([imports, *classes, f"export const entities = [{listed}];\n"])


def _class(schema: ModelSchema, table: Table) -> str:
    lines = [*_columns(schema, table), *_owning_relations(schema, table), *_inverse_relations(schema, table)]
    head = f"@Entity({{ name: {quote_string(shorten_name(table.name, schema.provider))} }})\n" + "".join(
        _class_decorators(schema, table)
    )
    return f"{doc_comment(table.comment)}{head}export class {schema.models[table.name]} {{\n{chr(10).join(lines)}}}\n"


def _class_decorators(schema: ModelSchema, table: Table) -> Iterator[str]:
    for index in table.indexes:
        if index.is_plain:
            yield _index(schema, table, index)
    for column in table.columns:
        if column.values:
            name = shorten_name(f"{table.name}_{column.name}_check", schema.provider)
            quote = "`" if schema.provider == "mysql" else '"'
            values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.values)
            yield f"@Check({quote_string(name)}, {quote_string(f'{quote}{column.name}{quote} IN ({values})')})\n"


def _index(schema: ModelSchema, table: Table, index: Index) -> str:
    name = quote_string(index_name(table, index, schema.provider))
    if index.descending:  # TypeORM cannot express this index; it must ignore it
        return f"@Index({name}, {{ synchronize: false }})\n"
    columns = ", ".join(quote_string(schema.fields[table.name][column]) for column in index.columns)
    return f"@Index({name}, [{columns}]{', { unique: true }' if index.unique else ''})\n"


def _columns(schema: ModelSchema, table: Table) -> Iterator[str]:
    for column in table.columns:
        field = schema.fields[table.name][column.name]
        own = _options(schema, table, column)
        is_key = column.name in table.key
        counted = table.key == (column.name,) and value_kind(column) == "integer"
        decorator = "PrimaryGeneratedColumn" if counted else "PrimaryColumn" if is_key else "Column"
        type = union(column.values) if column.values else _property(schema, column)
        missing = " | null" if column.nullable and not is_key else ""
        comment = doc_comment(column.comment, "  ")
        yield f"{comment}  @{decorator}({{ {', '.join(own)} }})\n  {field}!: {type}{missing};\n"


def _property(schema: ModelSchema, column: Column) -> str:
    if column.name == "refs":
        return "Record<string, string>"
    own = value_kind(column)
    if schema.provider == "sqlite" and own in ("datetime", "bigint"):
        return "string" if own == "datetime" else "number"
    return _PROPERTIES[own]


def _options(schema: ModelSchema, table: Table, column: Column) -> list[str]:
    provider, own = schema.provider, value_kind(column)
    limit = text_limits(table).get(column.name) if provider == "mysql" and own == "text" else None
    type = "varchar" if limit else _COLUMNS[provider][own]
    is_key = column.name in table.key
    counted = table.key == (column.name,) and own == "integer"
    return [
        f"name: {quote_string(shorten_name(column.name, provider))}",
        f"type: '{type}'",
        *([f"length: {limit}"] if limit else []),
        *(["precision: 3"] if own == "datetime" and provider != "sqlite" else []),
        *(["precision: 65", "scale: 30"] if own == "decimal" and provider == "mysql" else []),
        *(["nullable: true"] if column.nullable and not is_key else []),
        *(
            [f"default: () => `{escape_template(default)}`"]
            if not counted and (default := _default(schema, column))
            else []
        ),
    ]


def _default(schema: ModelSchema, column: Column) -> str:
    text = column.default
    if text is None or text.upper() == "NULL":
        return ""
    if value_kind(column) == "datetime" and schema.provider != "sqlite":
        return "CURRENT_TIMESTAMP(3)"
    if value_kind(column) == "boolean" and schema.provider == "postgresql" and text in ("0", "1"):
        return "true" if text == "1" else "false"
    is_plain = text[:1] in "'-+0123456789" or text.isalpha()
    return text if is_plain and schema.provider != "mysql" else f"({text})"


def _owning_relations(schema: ModelSchema, table: Table) -> Iterator[str]:
    for relation in schema.outgoing(table):
        target = schema.target(relation)
        joins = [
            f"{{ name: {quote_string(here)}, referencedColumnName: {quote_string(schema.fields[target][there])} }}"
            for here, there in zip(relation.key.columns, relation.key.references, strict=True)
        ]
        optional = any(table.column(column).nullable for column in relation.key.columns)
        model = schema.models[target]
        made = "ManyToOne" if relation.many else "OneToOne"
        actions = f"onDelete: '{relation.key.on_delete}', onUpdate: '{relation.key.on_update}'"
        yield (
            f"  @{made}(() => {model}, (other) => other.{relation.backward},"
            f" {{ nullable: {'true' if optional else 'false'}, {actions} }})\n"
            f"  @JoinColumn({_scalar_or_list(joins)})\n"
            f"  {relation.forward}!: Relation<{model}>{' | null' if optional else ''};\n"
        )


def _inverse_relations(schema: ModelSchema, table: Table) -> Iterator[str]:
    for relation in schema.incoming(table):
        model = schema.models[relation.table]
        made = "OneToMany" if relation.many else "OneToOne"
        type = f"Relation<{model}[]>" if relation.many else f"Relation<{model}> | null"
        yield f"  @{made}(() => {model}, (other) => other.{relation.forward})\n  {relation.backward}!: {type};\n"


def _scalar_or_list(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
