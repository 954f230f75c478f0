"""``llmctl tool deny``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.commands.tool.decide import CallsArgument, ContinueTurnOption, DetachOption, decide_calls
from llmctl.cli.console.console import answer_output
from llmctl.store.database import Database
from llmctl.store.records.types import InvocationRow


@answer_output
def deny(
    ctx: typer.Context,
    refs: CallsArgument,
    because: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason, passed to the model.")] = None,
    continue_: ContinueTurnOption = False,
    detach: DetachOption = False,
    never: Annotated[
        bool, typer.Option("--never", help="Deny such calls from now on, in this chat or by this agent.")
    ] = False,
) -> None:
    """Deny a pending call; the model is informed and continues without it.

    Examples:
      llmctl tool deny 3f2a9c1e --because "not on a Friday"
    """
    from llmctl.engine.tools import approvals

    def decide(database: Database, row: InvocationRow) -> None:
        approvals.deny(database, row, reason=because, never=never)

    decide_calls(ctx.obj, refs, decide, "denied", continues=continue_, detach=detach)
