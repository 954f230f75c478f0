"""``llmctl model alias``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.argument_parsers import parse_pairs
from llmctl.cli.console.output import OutputColumn, emit_change, emit_list, list_output
from llmctl.core.errors import UsageError
from llmctl.store.database import Row
from llmctl.store.records import connections, models

_COLUMNS = [
    OutputColumn("id", "id", is_default=False),
    OutputColumn("name"),
    OutputColumn("target"),
    OutputColumn("options", "json"),
]


@list_output
def alias(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME TARGET]", help="A name and its target; or: list, remove NAME."),
    ] = None,
    option: common_options.ModelOptionsOption = None,
) -> None:
    """Add, list and remove aliases for models.

    TARGET is what --model takes: a connection, CONNECTION:MODEL, a model, another alias. -o sets model options that
    the alias adds.

    Examples:
      llmctl model alias fast openai:gpt-5.6-luna -o temperature=0.2
      llmctl model alias list
      llmctl model alias remove fast
    """
    app: App = ctx.obj
    match words or ["list"]:
        case ["list"]:
            emit_list(app, models.list_aliases(app.hub()), _COLUMNS)
        case ["remove", name]:
            row = _remove(app, name)
            emit_change(app, row, f'removed alias "{row["name"]}"')
        case [name, target] if name not in ("list", "remove"):
            row = _set(app, name, target, option or ())
            emit_change(app, row, f'alias "{name}" now refers to {target}')
        case other:
            raise UsageError(
                f'wrong number of arguments for "model alias", got "{" ".join(other)}"',
                hint="llmctl model alias fast openai:gpt-4o, llmctl model alias list or llmctl model alias remove fast",
            )


def _set(app: App, name: str, target_ref: str, options: Sequence[str]) -> Row:
    """Store an alias. Its target must exist, and no connection may have its name: it would hide the alias."""
    from llmctl.engine.connections import target

    database = app.hub("create")
    if connections.find_by_name(database, name):
        raise UsageError(f'connection "{name}" takes precedence over an alias', hint="choose another name")
    if target_ref == name:
        raise UsageError(f'alias "{name}" cannot refer to itself')
    with database.transaction():
        row = models.set_alias(database, name, target_ref, parse_pairs(options, "-o", parse_values=True))
        target.resolve(database, name, app.env)  # raises for a target that does not exist, or a cycle
    return row


def _remove(app: App, ref: str) -> Row:
    """Delete an alias and return it; raise UsageError if another refers to it, which would then mean a model."""
    database = app.hub("write")
    row = models.get_alias(database, ref)
    others = [other["name"] for other in models.list_aliases(database) if other["target"] == row["name"]]
    if others:
        raise UsageError(
            f'alias "{others[0]}" refers to "{row["name"]}"', hint=f"first: llmctl model alias remove {others[0]}"
        )
    models.delete_alias(database, row["id"])
    return row
