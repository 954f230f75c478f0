"""``llmctl job retry``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.job.common import JobArgument
from llmctl.cli.console.output import answer_output
from llmctl.cli.turn.flags import with_turn_flags
from llmctl.core.errors import UsageError
from llmctl.core.stored_json import loads
from llmctl.store.records import jobs
from llmctl.store.records.types import JobRow


@answer_output
@with_turn_flags
def retry(ctx: typer.Context, ref: JobArgument) -> None:
    """Run a finished command again, or continue the chat of an interrupted turn.

    A command gets a new job, whose parent is the old one.

    Examples:
      llmctl job retry 4a15aa97
    """
    app: App = ctx.obj
    job = jobs.get(app.hub("write"), ref)
    if job.status in ("pending", "running"):
        raise UsageError(f"job {job.id[:8]} has not ended", hint=f"llmctl job cancel {job.id[:8]}")
    if job.type == "command":
        raise typer.Exit(_run_again(app, job))
    _continue_chat(app, job)


def _run_again(app: App, job: JobRow) -> int:
    from llmctl.cli.commands.job.foreground import run_in_foreground
    from llmctl.engine.jobs.command import CommandJob, job_from_row

    old = job_from_row(job)
    return run_in_foreground(
        app,
        CommandJob(old.command, old.name, old.folder, old.timeout_s, parent_id=job.id, attempt=old.attempt + 1),
    )


def _continue_chat(app: App, job: JobRow) -> None:
    from llmctl.engine.tools import approvals

    database = app.hub()
    chat_id = loads(job.payload, {}).get("chat_id")
    if job.type != "turn" or not chat_id:
        raise UsageError(f'cannot retry a job of type "{job.type}"')
    app.run_chat(chat=approvals.root_chat_of_chat(database, chat_id))
