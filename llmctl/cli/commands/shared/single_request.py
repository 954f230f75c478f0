"""What ``embed`` and ``image`` share: their common flags, running their requests, and the usage line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_json
from llmctl.core.errors import LlmctlError
from llmctl.core.humanize import format_dollars, format_duration
from llmctl.core.options import TurnOptions
from llmctl.engine.billing.cost import CommandBudget, cost_limits
from llmctl.engine.connections import target
from llmctl.engine.connections.target import TargetKind
from llmctl.engine.single_request import SingleRequestPlan, SingleRequestRunner, UsageSummary
from llmctl.engine.turn.plan import resolve_options
from llmctl.store.records import settings as settings_rows


def build_plan(app: App, kind: TargetKind, flags: TurnOptions, *, no_log: bool) -> SingleRequestPlan:
    """Return what the requests of a command have in common."""
    database = app.hub("create")
    settings = settings_rows.list_changed(database)
    budget = None if flags.max_cost is None else CommandBudget(flags.max_cost)
    return SingleRequestPlan(
        kind=kind,
        target=target.resolve_for(database, kind, flags.model, flags.connection, app.env),
        options=resolve_options(flags, settings, env=app.env),
        caller=app.caller_info().restrict_to(settings.get("audit.context")),
        runtime=app.runtime_env(),
        log=not no_log,
        cost_limits=cost_limits(settings, budget),
    )


@contextmanager
def open_runner(
    app: App, plan: SingleRequestPlan, document: Callable[[UsageSummary], Mapping[str, Any]]
) -> Iterator[SingleRequestRunner]:
    """Yield what sends the requests of a plan; with ``--json`` the document is printed even if one fails."""

    def note_retry(seconds: float, error: LlmctlError) -> None:
        app.console.note(f"{error.message}; retrying in {format_duration(seconds * 1000)}")

    runner = SingleRequestRunner(app.hub("create"), plan, on_retry=note_retry)
    try:
        with runner:
            yield runner
    except LlmctlError:
        if app.console.format.kind == "json" and runner.summary.request_ids:
            emit_json(app.console, document(runner.summary))
        raise


def finish(app: App, runner: SingleRequestRunner, flags: TurnOptions) -> None:
    """Print the usage line if it is wanted; raise what kept the hub from being written."""
    app.console.io.flush()
    is_terminal = app.console.io.stdout_tty and app.console.io.stderr_tty
    if (flags.usage or is_terminal) and not app.console.quiet:
        app.console.write_stderr_line(format_usage(runner.summary))
    if runner.storage_error:
        raise runner.storage_error


def format_usage(summary: UsageSummary) -> str:
    """Return such as ``812 in, 0 out, $0.0041, 3.2 s, text-embedding-3-small``."""
    usage = summary.usage
    parts = [f"{usage.input_tokens} in", f"{usage.output_tokens} out"] if summary.usage_known else []
    if summary.cost is not None:
        parts.append(format_dollars(summary.cost))
    return ", ".join([*parts, format_duration(summary.duration_ms), summary.model])


def target_fields(plan: SingleRequestPlan) -> dict[str, Any]:
    """Return what a document says of where its requests were sent."""
    return {"provider": plan.target.provider.name, "connection": plan.target.connection}
