"""``llmctl init``: a hub that is there and up to date, ways to a model, a schema for Prisma."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import answer, emit_json
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import UsageError
from llmctl.engine.maintenance import init as maintenance_init
from llmctl.engine.maintenance import prisma_file
from llmctl.store.schema import custom_fields

Tables = Annotated[
    list[str] | None, typer.Option("--table", metavar="LOGICAL=PHYSICAL", help="Another name for a table.")
]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="TABLE.NAME:TYPE", help="A column of your own; ...:TYPE:index with an index."),
]
Adopt = Annotated[bool, typer.Option("--adopt", help="Make a hub of a database of @node-llm/orm or another program.")]
Detect = Annotated[bool, typer.Option("--detect/--no-detect", help="Look for keys and local servers.")]
Prisma = Annotated[str | None, typer.Option("--prisma", metavar="PATH", help="Where to write the Prisma schema.")]
NoPrisma = Annotated[bool, typer.Option("--no-prisma", help="Write no Prisma schema.")]
PrismaProvider = Annotated[
    Literal["sqlite", "postgresql", "mysql"] | None, typer.Option(help="Database of the Prisma schema.")
]
PrismaMajor = Annotated[Literal["6", "7"] | None, typer.Option(help="Version of Prisma.")]


@answer
def init(
    ctx: typer.Context,
    table: Tables = None,
    field: Fields = None,
    adopt: Adopt = False,
    detect: Detect = True,
    prisma: Prisma = None,
    no_prisma: NoPrisma = False,
    prisma_provider: PrismaProvider = None,
    prisma_major: PrismaMajor = None,
) -> None:
    """Make or upgrade the hub and find connections.

    It may be run again at any time: what is there stays, what is missing is made. Connections are made for
    providers' keys in the environment and for local servers (Ollama, LM Studio, llama.cpp, vLLM) that answer
    within 0.3 s. schema.prisma is written beside the hub; one that you changed is left alone.

    Examples:
      llmctl init
      llmctl init --table chats=assistant_chats --field chats.user_id:text:index
      llmctl init --db app.db --adopt
    """
    app: App = ctx.obj
    app.close()
    wish = maintenance_init.Wish(
        tables=_tables(table or ()),
        fields=[custom_fields.parse(spec) for spec in field or ()],
        adopt=adopt,
        detect=detect,
        prisma=_schema(no_prisma, prisma, prisma_provider, prisma_major),
    )
    with Progress(app, "copying the database") as progress:
        report = maintenance_init.set_up(app.hub_path, wish, app.env, note=app.note, progress=progress)
    if app.format.is_json:
        emit_json(app, asdict(report))
    elif app.quiet or not app.io.stdout_tty:
        app.io.write(f"{report.path}\n")


def _schema(none: bool, path: str | None, provider: Any, major: str | None) -> prisma_file.Wish | None:
    if none and (path or provider or major):
        raise UsageError('"--no-prisma" and the other Prisma options exclude each other')
    number: Any = int(major) if major else None
    return None if none else prisma_file.Wish(path, provider, number)


def _tables(given: Iterable[str]) -> dict[str, str]:
    """Read ``LOGICAL=PHYSICAL``; a physical name may hold anything, ``=`` too."""
    found: dict[str, str] = {}
    for item in given:
        logical, equals, physical = item.partition("=")
        if not equals:
            raise UsageError(f'"--table {item}" is not LOGICAL=PHYSICAL', hint="such as --table chats=assistant_chats")
        if logical in found and found[logical] != physical:
            raise UsageError(f'table "{logical}" cannot have two names', hint="give it once")
        found[logical] = physical
    return found
