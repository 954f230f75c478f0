"""The log of a job, printed to its end or as it grows."""

from __future__ import annotations

import time

from llmctl.cli.app import App
from llmctl.cli.console.terminal import safe_text
from llmctl.core.errors import NotFoundError
from llmctl.engine.jobs import lease
from llmctl.store.database import Database, Row
from llmctl.store.records import job_log

#: Seconds between two looks at a log that grows.
_PAUSE_S = 0.2


def write_log(app: App, database: Database, job_id: str, *, follow: bool) -> None:
    """Write what the log has; with ``follow`` also what comes, until the job ends or its process dies."""
    printed: dict[str, int] = {}
    while True:
        job = job_log.get(database, job_id)
        is_over = not lease.is_alive(job)
        if job["text_log_id"] is None and (is_over or not follow):
            raise NotFoundError(f"the job {job_id[:8]} has no log", hint=_reason(job))
        if job["text_log_id"] is not None:
            _write_new(app, job_log.pieces(database, job["text_log_id"], after=max(0, len(printed) - 1)), printed)
        if is_over or not follow:
            return
        time.sleep(_PAUSE_S)


def _write_new(app: App, pieces: list[Row], printed: dict[str, int]) -> None:
    """Write what was added since the last look: the last piece may have grown."""
    for piece in pieces:
        text = piece["text"][printed.get(piece["id"], 0) :]
        printed[piece["id"]] = len(piece["text"])
        app.io.write(safe_text(text) if app.io.stdout_tty else text)
    app.io.flush()


def _reason(job: Row) -> str | None:
    return f"it {job['status']} with: {job['error']}" if job["error"] else None
