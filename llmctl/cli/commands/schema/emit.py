"""``llmctl schema emit``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.commands.schema.common import load_catalogue
from llmctl.core.errors import UsageError
from llmctl.store.emit import EMITTERS

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

    Of the hub, with its own table names and fields; without a hub, of a new one. Prisma 7 needs its config beside the
    schema: it says where the hub is and which tables are not Prisma's. TypeScript and JSON Schema describe the records
    that --json and export print.

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
        app.io.write(text)
    else:
        require_writable_path(output)
        write_file(output, text)
        app.note(f'wrote "{output}"')
