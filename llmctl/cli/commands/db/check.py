"""``llmctl db check``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import StorageError

_COLUMNS = [OutputColumn("name"), OutputColumn("problem"), OutputColumn("hint")]


@list_output
def check(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the checks that read the whole file.")] = False,
) -> None:
    """Check the hub's integrity.

    Checks pages and indexes, references, orphaned rows, attachments without a message, abandoned turns, the search
    index, usage totals and the schema. Prints the problems and exits with 13; prints nothing if there are none.

    Examples:
      llmctl db check && echo sound
    """
    from llmctl.engine.maintenance import health

    app: App = ctx.obj
    database = app.hub()
    findings = []
    with Progress(app, "checking") as progress:
        for finding in health.check(database, quick=quick):
            progress.update(finding.name)
            findings.append(finding)
    problems = [finding for finding in findings if finding.problem]
    shown = findings if app.format.is_json else problems
    emit_list(app, ({"name": f.name, "problem": f.problem, "hint": f.hint} for f in shown), _COLUMNS)
    if problems:
        number = len(problems)
        text = f'{number} problem{"" if number == 1 else "s"} found in the hub "{database.path}"'
        raise StorageError(text, reason="unsound")
    app.note(f"the hub is sound: {len(findings)} checks passed")
