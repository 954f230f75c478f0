"""``llmctl job log``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.job.common import JobArgument
from llmctl.cli.console.terminal import safe_text
from llmctl.core.errors import NotFoundError
from llmctl.engine.jobs import lease
from llmctl.store.database import Database, Row
from llmctl.store.records import jobs

_POLL_INTERVAL_S = 0.2


def log(
    ctx: typer.Context,
    ref: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the job ends.")] = False,
) -> None:
    """Print the log of a job.

    Examples:
      llmctl job log 4a15aa97 --follow
    """
    app: App = ctx.obj
    database = app.hub()
    job_id = jobs.get(database, ref).id
    printed: dict[str, int] = {}
    while True:
        job = jobs.get(database, job_id)
        is_over = not lease.is_alive(job)
        if job.text_log_id is None and (is_over or not follow):
            reason = f"it {job.status} with: {job.error}" if job.error else None
            raise NotFoundError(f"job {job_id[:8]} has no log", hint=reason)
        if job.text_log_id is not None:
            _write_new(app, database, job.text_log_id, printed)
        if is_over or not follow:
            return
        time.sleep(_POLL_INTERVAL_S)


def _write_new(app: App, database: Database, log_id: str, printed: dict[str, int]) -> None:
    """Write what was added since the last call; ``printed`` counts the characters of each piece written so far."""
    pieces: list[Row] = jobs.list_log_pieces(
        database, log_id, after=max(0, len(printed) - 1)
    )  # the last may have grown
    for piece in pieces:
        text = piece["text"][printed.get(piece["id"], 0) :]
        printed[piece["id"]] = len(piece["text"])
        app.io.write(safe_text(text) if app.io.stdout_tty else text)
    app.io.flush()
