"""``llmctl job cancel``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.job.common import JobArgument
from llmctl.engine.jobs import control
from llmctl.engine.recovery import recover_job
from llmctl.store.records import jobs

_RESULTS = {"cancelled": "was cancelled before it started", "ended": "has ended", "recovered": "was already dead"}


def cancel(ctx: typer.Context, ref: JobArgument) -> None:
    """Cancel a job; what it has done so far is kept.

    Its process is asked to end, and killed if it does not.

    Examples:
      llmctl job cancel 4a15aa97
    """
    app: App = ctx.obj
    database = app.hub("write")
    job = jobs.get(database, ref)
    result = control.cancel_job(database, job, recover_job)
    app.note(f"job {job.id[:8]} {_RESULTS[result]}")
