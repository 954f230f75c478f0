"""``llmctl job wait``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.job.common import JobArgument
from llmctl.cli.console.output import OutputColumn, emit_record, record_output
from llmctl.core.errors import LlmctlError
from llmctl.engine.jobs import control
from llmctl.engine.recovery import recover_job
from llmctl.store.records import jobs
from llmctl.store.records.types import JobRow


@record_output
def wait(
    ctx: typer.Context,
    ref: JobArgument,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Time limit (exit 8).")] = None,
) -> None:
    """Wait for a job to end and exit with its exit code.

    Examples:
      llmctl job wait "$(llmctl job run --detach -- make)"
      llmctl job wait 4a15aa97 --timeout 60
    """
    app: App = ctx.obj
    database = app.hub("write")
    job = control.wait_for_job(database, jobs.get(database, ref).id, recover_job, timeout_s=timeout)
    document = jobs.get_record(database, job.id)
    emit_record(app, document, [OutputColumn(name, "json" if name == "holds" else "text") for name in document])
    raise typer.Exit(_exit_code(job))


def _exit_code(job: JobRow) -> int:
    """Return the exit code of a job that ended, or 1 for one that failed without any."""
    if job.exit_code is not None:
        return int(job.exit_code)
    return 0 if job.status == "completed" else LlmctlError.exit_code
