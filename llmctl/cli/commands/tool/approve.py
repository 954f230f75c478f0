"""``llmctl tool approve``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.commands.tool.decide import CallsArgument, ContinueTurnOption, DetachOption, decide_calls
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.terminal import safe_line
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
    because: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason, stored with the call.")] = None,
) -> None:
    """Approve a pending call: this tool with these arguments, nothing else.

    Without --continue it runs when the chat continues: llmctl chat --chat REF. More: llmctl help permissions

    Examples:
      llmctl tool approve 3f2a9c1e --continue
    """
    from llmctl.engine.tools import approvals

    def decide(database: Database, row: InvocationRow) -> None:
        if use := approvals.describe_untrusted(database, row, ctx.obj.env):
            ctx.obj.console.note(safe_line(f'"{row.name}" came with a file: {use}'))
        approvals.approve(database, row, ctx.obj.env, reason=because, always=always)

    decide_calls(ctx.obj, refs, decide, "approved", continues=continue_, detach=detach)
