"""``llmctl init``: create or upgrade the hub, discover connections, write a Prisma schema."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.output import emit_json
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import UsageError
from llmctl.engine.maintenance import init as maintenance_init
from llmctl.engine.maintenance.init import Found, PrismaOptions
from llmctl.store.schema import custom_names

TableOption = Annotated[
    list[str] | None, typer.Option("--table", metavar="LOGICAL=PHYSICAL", help="Custom name for a table. Repeatable.")
]
FieldOption = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="TABLE.NAME:TYPE", help="Custom column; append :index for an index. Repeatable."),
]
AdoptOption = Annotated[
    bool, typer.Option("--adopt", help="Turn another program's database, such as @node-llm/orm's, into a hub.")
]
DetectOption = Annotated[bool, typer.Option("--detect/--no-detect", help="Look for API keys and local servers.")]
PrismaOption = Annotated[str | None, typer.Option("--prisma", metavar="PATH", help="Where to write the Prisma schema.")]
NoPrismaOption = Annotated[bool, typer.Option("--no-prisma", help="Do not write a Prisma schema.")]
PrismaProviderOption = Annotated[
    Literal["sqlite", "postgresql", "mysql"] | None, typer.Option(help="Database of the Prisma schema.")
]
PrismaMajorOption = Annotated[Literal["6", "7"] | None, typer.Option(help="Major version of Prisma.")]


@answer_output
def init(
    ctx: typer.Context,
    table: TableOption = None,
    field: FieldOption = None,
    adopt: AdoptOption = False,
    detect: DetectOption = True,
    prisma: PrismaOption = None,
    no_prisma: NoPrismaOption = False,
    prisma_provider: PrismaProviderOption = None,
    prisma_major: PrismaMajorOption = None,
) -> None:
    """Create or upgrade the hub and discover connections.

    Safe to run again at any time: what exists is kept, what is missing is created. Connections are added for providers'
    keys in the environment and for local servers (Ollama, LM Studio, llama.cpp, vLLM) that answer within 0.3 s; on a
    terminal you are asked which. schema.prisma is written next to the hub, and for Prisma 7 prisma.config.ts. One that
    another program made is left alone, unless --prisma or --adopt asks for it; of one that was changed since llmctl
    wrote it, the new text goes to a file that ends in .new.

    --adopt copies the database first, then renames columns (createdAt to created_at) and keeps tables: a program that
    uses it fails until its Prisma client is generated from the schema.prisma written here, whose models have the
    program's own names. To leave a database as it is, import it instead: llmctl import app.db.

    Examples:
      llmctl init
      llmctl init --table chats=assistant_chats --field chats.user_id:text:index
      llmctl init --db app.db --adopt
    """
    app: App = ctx.obj
    app.close()
    options = maintenance_init.InitOptions(
        tables=_parse_tables(table or ()),
        fields=[custom_names.parse_field(spec) for spec in field or ()],
        adopt=adopt,
        detect=detect,
        prisma=_prisma_options(no_prisma, prisma, prisma_provider, prisma_major),
        choose=partial(_choose, app) if _is_interactive(app) else list,
    )
    with Progress(app.console, "copying the database") as progress:
        report = maintenance_init.init_hub(app.hub_path, options, app.env, note=app.console.note, progress=progress)
    if app.console.format.is_json:
        emit_json(app.console, asdict(report))
    elif app.console.quiet or not app.console.io.stdout_tty:
        app.console.io.write(f"{report.path}\n")
    if detect and report.default_connection is None and _is_interactive(app):
        _offer_connection(app)


def _is_interactive(app: App) -> bool:
    io = app.console.io
    return io.stdin_tty and io.stdout_tty and io.stderr_tty and not (app.console.quiet or app.console.format.is_json)


def _choose(app: App, found: Found) -> Found:
    """Return the connections that the user wants of those that were found."""
    from llmctl.cli.console.prompts import ask
    from llmctl.cli.console.terminal import safe_line

    for number, one in enumerate(found, 1):
        model = f", model {one.model}" if one.model else ""
        app.console.io.write_stderr(safe_line(f"{number:>4}  {one.name}{model}: {one.reason}") + "\n")
    while True:
        text = (ask(app.console, "Add these connections? Numbers, a for all, n for none [a]: ") or "a").strip().lower()
        words = text.replace(",", " ").split()
        if text[:1] in ("a", "y"):
            return found
        if text[:1] == "n":
            return ()
        if all(word.isdecimal() and 0 < int(word) <= len(found) for word in words):
            return [found[int(word) - 1] for word in words]


def _offer_connection(app: App) -> None:
    """Offer to set up a connection, now that there is none."""
    from llmctl.cli.console.prompts import ask

    if (ask(app.console, "Set up a connection to a model now? y or n [n]: ") or "n").strip().lower()[:1] == "y":
        from llmctl.cli.commands.connection.add import ask_and_add

        ask_and_add(app)
    else:
        app.console.note("to set one up later: llmctl connection add")


def _prisma_options(disabled: bool, path: str | None, provider: Any, major: str | None) -> PrismaOptions | None:
    if disabled and (path or provider or major):
        raise UsageError("--no-prisma cannot be combined with other Prisma options")
    number: Any = int(major) if major else None
    return None if disabled else PrismaOptions(path, provider, number)


def _parse_tables(items: Iterable[str]) -> dict[str, str]:
    """Parse ``LOGICAL=PHYSICAL``; a physical name may contain anything, ``=`` too."""
    tables: dict[str, str] = {}
    for item in items:
        logical, equals, physical = item.partition("=")
        if not equals:
            raise UsageError(
                f'--table must be LOGICAL=PHYSICAL, got "{item}"', hint="for example: --table chats=assistant_chats"
            )
        if tables.setdefault(logical, physical) != physical:
            raise UsageError(f'table "{logical}" has two names')
    return tables
