"""``llmctl tool approve``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool import read_json
from llmctl.cli.commands.tool.decide import CallsArgument, ContinueTurnOption, DetachOption, decide_calls
from llmctl.cli.console.console import answer_output, read_text
from llmctl.cli.console.terminal import safe_line
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps
from llmctl.store.database import Database
from llmctl.store.records.types import InvocationRow


@answer_output
def approve(
    ctx: typer.Context,
    refs: CallsArgument,
    continue_: ContinueTurnOption = False,
    detach: DetachOption = False,
    always: Annotated[
        bool, typer.Option("--always", help="Allow such calls from now on, in this chat or by this agent.")
    ] = False,
    arguments: Annotated[
        str | None, typer.Option("--args", metavar="JSON|@FILE|-", help="Run it with these arguments instead.")
    ] = None,
    because: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason, stored with the call.")] = None,
) -> None:
    """Approve a pending call: this tool with these arguments, nothing else.

    With --args it runs with other arguments, which the tool has to accept; the call keeps those of the model, which is
    told of the change. Without --continue it runs when the chat continues: llmctl chat --chat REF. More: llmctl help
    permissions

    Examples:
      llmctl tool approve 3f2a9c1e --continue
      llmctl tool approve 3f2a9c1e --args '{"file": "notes.txt"}'
    """
    from llmctl.engine.tools import approvals

    edited = _read_arguments(ctx.obj, refs, arguments)

    def decide(database: Database, row: InvocationRow) -> None:
        if use := approvals.describe_untrusted(database, row, ctx.obj.env):
            ctx.obj.console.note(safe_line(f'"{row.name}" came with a file: {use}'))
        approvals.approve(database, row, ctx.obj.env, reason=because, always=always, arguments=edited)

    decide_calls(ctx.obj, refs, decide, "approved", continues=continue_, detach=detach)


def _read_arguments(app: App, refs: Sequence[str], arguments: str | None) -> str | None:
    """Return the JSON text of ``--args``; None without it."""
    if arguments is None:
        return None
    if len(refs) != 1:
        raise UsageError(f"--args requires a single call, got {len(refs)}")
    if arguments == "-":
        arguments = read_text(app.console.io, app.console.note)
    return dumps(read_json(arguments, "--args"))
