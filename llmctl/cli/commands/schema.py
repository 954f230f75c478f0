"""Commands on the hub's schema."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import answer_output, list_output
from llmctl.cli.console.output import emit_json, emit_list
from llmctl.core.errors import StorageError, UsageError
from llmctl.core.registry import unknown_name_error
from llmctl.store.emit import EMITTERS, sql
from llmctl.store.schema import custom_names, ddl, diff, introspect
from llmctl.store.schema.introspect import Catalogue, Statement, Table


def load_statements(app: App) -> tuple[tuple[Statement, ...], Mapping[str, str]]:
    """Return the statements of :func:`load_catalogue` and nothing else, which is faster."""
    if _has_no_hub(app):
        return introspect.describe_schema().statements, {}
    database = app.hub()
    return introspect.hub_statements(database), database.names


def load_catalogue(app: App) -> tuple[Catalogue, Mapping[str, str]]:
    """Return the hub's catalogue and table names; those of a new hub if there is none and none was named."""
    if _has_no_hub(app):
        return introspect.describe_schema(), {}
    database = app.hub()
    return introspect.describe_hub(database), database.names


def _has_no_hub(app: App) -> bool:
    return app.db is None and not os.path.exists(app.hub_path)


@answer_output
def show(
    ctx: typer.Context,
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="A table or view. [all]")] = None,
) -> None:
    """Print the tables and columns of the hub.

    As SQL, with the hub's own table names; without a hub, those of a new one.

    Examples:
      llmctl schema show chats
      llmctl schema show --json
    """
    app: App = ctx.obj
    statements, names = load_statements(app)
    name = _physical_name(table, names).lower() if table else None
    matches = tuple(s for s in statements if name is None or name in (s.table.lower(), s.name.lower()))
    if table and not matches:
        raise unknown_name_error("table", table, {s.name for s in statements if s.kind in ("table", "view")})
    if app.console.format.is_json:
        tables = load_catalogue(app)[0].tables
        emit_json(app.console, [_table_object(one) for one in tables if name in (None, one.name.lower())])
    else:
        app.console.io.write(sql.statements(matches))


def _physical_name(table: str, names: Mapping[str, str]) -> str:
    physical = {name.lower() for name in names.values()}
    return table if table.lower() in physical else names.get(found := custom_names.find_table(table), found)


def _table_object(table: Table) -> dict[str, Any]:
    """Return a table as a JSON object."""
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "nullable": column.nullable,
            "default": column.default,
            "values": list(column.values) or None,
            "comment": column.comment or None,
        }
        for column in table.columns
    ]
    indexes = [{"name": i.name, "columns": list(i.columns), "unique": i.unique} for i in table.indexes]
    keys = [
        {"columns": list(k.columns), "table": k.table, "references": list(k.references), "on_delete": k.on_delete}
        for k in table.foreign_keys
    ]
    return {
        "name": table.name,
        "comment": table.comment or None,
        "columns": columns,
        "primary_key": list(table.key),
        "indexes": indexes,
        "foreign_keys": keys,
    }


#: Formats that differ by database.
_SQL_FORMATS = ("sql", "drizzle", "typeorm")

DatabaseKind = Literal["sqlite", "postgresql", "mysql"]


def emit(
    ctx: typer.Context,
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{', '.join(EMITTERS.names())}.")],
    nodellm: Annotated[bool, typer.Option("--nodellm", help="Use the model names of @node-llm/orm.")] = False,
    provider: Annotated[DatabaseKind | None, typer.Option(help="Database of the Prisma schema.")] = None,
    prisma_major: Annotated[Literal["6", "7"] | None, typer.Option(help="Major version of Prisma.")] = None,
    config: Annotated[bool, typer.Option("--config", help="Print the prisma.config.ts of the schema instead.")] = False,
    dialect: Annotated[DatabaseKind | None, typer.Option(help="Database of SQL, Drizzle or TypeORM.")] = None,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write to FILE.")] = None,
) -> None:
    """Print the schema for another tool: Prisma, SQL, Drizzle, TypeORM, TypeScript, JSON Schema.

    Uses the hub's own table names and fields; without a hub, those of a new one. Prisma 7 also requires a config file
    next to the schema, which names the hub and the tables that are not Prisma's. TypeScript and JSON Schema describe
    the records that --json and export print.

    Examples:
      llmctl schema emit prisma --output schema.prisma
      llmctl schema emit prisma --config --output prisma.config.ts
      llmctl schema emit sql --dialect postgresql
      llmctl schema emit drizzle --output schema.ts
    """
    app: App = ctx.obj
    emitter = EMITTERS.load(format)
    prisma_flags = {"--nodellm": nodellm, "--provider": provider, "--prisma-major": prisma_major, "--config": config}
    _require_matching_format(format, {**prisma_flags, "--dialect": dialect})
    catalogue, names = load_catalogue(app)
    url = f"file:{os.path.abspath(app.hub_path)}" if (provider or "sqlite") == "sqlite" else None
    options: dict[str, Any] = {}
    if format in _SQL_FORMATS:
        options = {"dialect": dialect or "sqlite"}
    elif format == "prisma":
        dress = "nodellm" if nodellm else "hub"
        options = {"dress": dress, "provider": provider or "sqlite", "major": int(prisma_major or 7), "url": url}
    if config:
        from llmctl.store.emit import prisma

        text = prisma.emit_config(catalogue, url=url, provider=provider or "sqlite")
    else:
        text = emitter(catalogue, names, **options)
    _write(app, text, output)


def _require_matching_format(format: str, flags: Mapping[str, object]) -> None:
    for name, value in flags.items():
        formats = _SQL_FORMATS if name == "--dialect" else ("prisma",)
        if value and format not in formats:
            raise UsageError(f"{name} is for {', '.join(formats)}, not {format}")


def _write(app: App, text: str, output: str | None) -> None:
    if output is None:
        app.console.io.write(text)
    else:
        require_writable_path(output)
        write_file(output, text)
        app.console.note(f'wrote "{output}"')


_COLUMNS = [
    OutputColumn("kind"),
    OutputColumn("table"),
    OutputColumn("what"),
    OutputColumn("name"),
    OutputColumn("detail"),
]


@list_output
def check(ctx: typer.Context) -> None:
    """Compare a hub with the schema.

    Prints what is missing, extra or changed and exits with 13; prints nothing if there is no difference. Your own
    fields, tables, views and indexes are not differences, unless an index is unique: it can refuse rows.

    Examples:
      llmctl schema check && echo "up to date"
      llmctl schema check --json
    """
    app: App = ctx.obj
    database = app.hub()
    hub = introspect.describe_hub(database, comments=False)
    schema = introspect.describe_schema(database.names)
    found = diff.compare(hub, schema, database.names, database.fields)
    differences = [difference for difference in found if not diff.is_own_index(difference)]
    for index in filter(diff.is_own_index, found):
        app.console.note(f'index "{index.name}" of "{index.table}" is your own')
    emit_list(app.console, [difference.to_dict() for difference in differences], _COLUMNS)
    if differences:
        number = len(differences)
        is_old = database.version < ddl.VERSION
        raise StorageError(
            f'the hub "{database.path}" differs from the schema in {number} place{"" if number == 1 else "s"}',
            hint="llmctl db migrate" if is_old else "show the schema: llmctl --db :memory: schema show",
            reason="drift",
        )
