"""``llmctl db check``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import StorageError

_COLUMNS = [OutputColumn("name"), OutputColumn("problem"), OutputColumn("hint")]


@list_output
def check(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the checks that read the whole file.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Rebuild usage totals from the requests first.")] = False,
) -> None:
    """Check the hub's integrity.

    Checks pages and indexes, references, orphaned rows, attachments without a message, abandoned turns, the search
    index, usage totals and the schema. Prints the problems and exits with 13; prints nothing if there are none.
    --fix rebuilds usage totals that are lower than what the rows say; the other problems have commands of their own.

    Examples:
      llmctl db check && echo sound
      llmctl db check --fix
    """
    from llmctl.engine.maintenance import doctor
    from llmctl.store.maintenance import rollups

    app: App = ctx.obj
    database = app.hub("write" if fix else "read")
    if fix:
        rollups.rebuild_rollups(database)
    findings = []
    with Progress(app.console, "checking") as progress:
        for finding in doctor.check_integrity(database, quick=quick):
            progress.update(finding.name)
            findings.append(finding)
    problems = [finding for finding in findings if finding.problem]
    listed = findings if app.console.format.is_json else problems
    emit_list(app.console, ({"name": f.name, "problem": f.problem, "hint": f.hint} for f in listed), _COLUMNS)
    if problems:
        number = len(problems)
        text = f'{number} problem{"" if number == 1 else "s"} found in the hub "{database.path}"'
        raise StorageError(text, reason="unsound")
    app.console.note(f"no problems found: {len(findings)} checks passed")
