"""``llmctl schema``: the hub's tables as SQL, for other tools, and against what they should be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, answer, emit_json, emit_list, listing
from llmctl.cli.files import check_place, write_whole
from llmctl.core.errors import StorageError, UsageError
from llmctl.core.registry import unknown
from llmctl.store.emit import EMITTERS, sql
from llmctl.store.schema import ddl, introspect
from llmctl.store.schema.introspect import Catalogue, Statement, Table

_COLUMNS = [Column("kind"), Column("table"), Column("what"), Column("name"), Column("detail")]

#: Formats that differ by database.
_OF_DATABASES = ("sql", "drizzle", "typeorm")

_COMPARE = "to see what should be there: llmctl --db :memory: schema show TABLE"

Provider = Literal["sqlite", "postgresql", "mysql"]


@answer
def show(
    ctx: typer.Context,
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="A table or view; all by default.")] = None,
) -> None:
    """Print the tables and columns of the hub.

    As SQL: those of the hub where there is one, under its own table names; else those a new one would have.

    Examples:
      llmctl schema show chats
      llmctl schema show --json
    """
    app: App = ctx.obj
    statements, names = _statements(app)
    own = names.get(table, table).lower() if table else None
    shown = tuple(s for s in statements if own is None or own in (s.table.lower(), s.name.lower()))
    if table and not shown:
        raise unknown("table", table, {s.name for s in statements if s.kind in ("table", "view")})
    if app.format.is_json:
        emit_json(app, [_object(one) for one in _catalogue(app)[0].tables if own in (None, one.name.lower())])
    else:
        app.io.write(sql.statements(shown))


def emit(
    ctx: typer.Context,
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{', '.join(EMITTERS.names())}.")],
    nodellm: Annotated[bool, typer.Option("--nodellm", help="Models under the names of @node-llm/orm.")] = False,
    provider: Annotated[Provider | None, typer.Option(help="Database of the Prisma schema.")] = None,
    prisma_major: Annotated[Literal["6", "7"] | None, typer.Option(help="Version of Prisma.")] = None,
    config: Annotated[bool, typer.Option("--config", help="The prisma.config.ts to put beside the schema.")] = False,
    dialect: Annotated[Provider | None, typer.Option(help="Database of SQL, Drizzle or TypeORM.")] = None,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write to a file, whole or not at all.")] = None,
) -> None:
    """Print the schema for another tool: Prisma, SQL, Drizzle, TypeORM, TypeScript, JSON Schema.

    Of the hub where there is one, with its own table names and fields; else of one that is yet to be made.
    Prisma 7 wants its config beside the schema: it says where the hub is and which tables are not Prisma's.
    TypeScript and JSON Schema describe the records that --json and export print.

    Examples:
      llmctl schema emit prisma --output schema.prisma
      llmctl schema emit prisma --config --output prisma.config.ts
      llmctl schema emit sql --dialect postgresql
      llmctl schema emit drizzle --output schema.ts
    """
    app: App = ctx.obj
    emitter = EMITTERS.load(format)
    given = {"--nodellm": nodellm, "--provider": provider, "--prisma-major": prisma_major, "--config": config}
    _refuse(format, {**given, "--dialect": dialect})
    catalogue, names = _catalogue(app)
    url = _url(app) if (provider or "sqlite") == "sqlite" else None
    options: dict[str, Any] = {}
    if format in _OF_DATABASES:
        options = {"dialect": dialect or "sqlite"}
    elif format == "prisma":
        dress = "nodellm" if nodellm else "hub"
        options = {"dress": dress, "provider": provider or "sqlite", "major": int(prisma_major or 7), "url": url}
    if config:
        from llmctl.store.emit import prisma_config

        text = prisma_config.emit(catalogue, url=url, provider=provider or "sqlite")
    else:
        text = emitter(catalogue, names, **options)
    _deliver(app, text, output)


@listing
def check(ctx: typer.Context) -> None:
    """Compare a hub with the schema.

    Prints what is missing, extra or changed and leaves with 13; prints nothing where nothing is. Your own fields,
    tables and views are no difference.

    Examples:
      llmctl schema check && echo "as it should be"
      llmctl schema check --json
    """
    app: App = ctx.obj
    database = app.hub()
    found = introspect.of_hub(database, comments=False)
    from llmctl.store.schema import diff

    differences = diff.compare(found, introspect.shipped(database.names), database.names, database.fields)
    emit_list(app, [difference._asdict() for difference in differences], _COLUMNS)
    if differences:
        number = len(differences)
        is_old = database.value("PRAGMA user_version") < ddl.VERSION
        raise StorageError(
            f'the hub "{database.path}" differs from the schema in {number} place{"" if number == 1 else "s"}',
            hint="bring it up to date with: llmctl db migrate" if is_old else _COMPARE,
            reason="drift",
        )


def _statements(app: App) -> tuple[tuple[Statement, ...], Mapping[str, str]]:
    """Return what :func:`_catalogue` has of statements, and no more."""
    if app.db is None and not os.path.exists(app.hub_path):
        return introspect.shipped().statements, {}
    database = app.hub()
    return introspect.statements_of_hub(database), database.names


def _catalogue(app: App) -> tuple[Catalogue, Mapping[str, str]]:
    """Return the hub's catalogue and table names; of a hub to be made where there is none (and none was named)."""
    if app.db is None and not os.path.exists(app.hub_path):
        return introspect.shipped(), {}
    database = app.hub()
    return introspect.of_hub(database), database.names


def _url(app: App) -> str:
    return f"file:{os.path.abspath(app.hub_path)}"


def _refuse(format: str, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        owners = _OF_DATABASES if name == "--dialect" else ("prisma",)
        if value and format not in owners:
            raise UsageError(
                f'option "{name}" is not for {format}', hint=f"it belongs to: llmctl schema emit {'|'.join(owners)}"
            )


def _deliver(app: App, text: str, output: str | None) -> None:
    if output is None:
        app.io.write(text)
    else:
        check_place(output)
        write_whole(output, text)
        app.note(f'wrote "{output}"')


def _object(table: Table) -> dict[str, Any]:
    """Return a table as JSON has it."""
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
