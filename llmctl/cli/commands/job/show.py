"""``llmctl job show``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.job.common import COLUMNS, JobArgument
from llmctl.cli.console.output import OutputColumn, emit_record, record_output
from llmctl.engine.jobs import lease
from llmctl.store.records import jobs


@record_output
def show(ctx: typer.Context, ref: JobArgument) -> None:
    """Show a job.

    "alive" tells whether its process still runs; "holds" names the threads it has locked.

    Examples:
      llmctl job show 4a15aa97
    """
    app: App = ctx.obj
    database = app.hub()
    job = jobs.get(database, ref)
    document = jobs.get_record(database, job.id) | {"alive": lease.is_job_alive(job)}
    kinds = {column.name: column.kind for column in COLUMNS} | {"holds": "json", "alive": "bool"}
    emit_record(app, document, [OutputColumn(name, kinds.get(name, "text")) for name in document])
