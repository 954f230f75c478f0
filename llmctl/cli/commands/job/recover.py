"""``llmctl job recover``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.job.common import COLUMNS
from llmctl.cli.console.output import emit_list, list_output
from llmctl.engine import recovery
from llmctl.store.records import jobs as records_jobs


@list_output
def recover(ctx: typer.Context) -> None:
    """Recover the jobs of processes that died.

    Their messages keep what was received, their threads are unlocked. Jobs that are still running are left alone.

    Examples:
      llmctl job recover
    """
    app: App = ctx.obj
    database = app.hub("write")
    jobs = recovery.recover_dead_jobs(database)
    app.note(f"recovered {len(jobs)} job{'' if len(jobs) == 1 else 's'}")
    emit_list(app, [records_jobs.get_record(database, job.id) for job in jobs], COLUMNS)
