"""What ``embed`` and ``image`` share: their common flags, running their requests, and the usage line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.argument_parsers import parse_pairs
from llmctl.cli.console.output import emit_json
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.humanize import format_dollars, format_duration
from llmctl.engine.billing.budget import CommandBudget, cost_limits
from llmctl.engine.connections import target
from llmctl.engine.connections.target import TargetKind
from llmctl.engine.single_request import SingleRequestPlan, SingleRequestRunner, UsageSummary
from llmctl.engine.turn.options import CallOptions, PersistOptions
from llmctl.store.records import settings as settings_rows

_MAX_TIMEOUT_S = 1e9


@dataclass(frozen=True, slots=True)
class RequestFlags:
    """The flags of both commands."""

    model: str | None = None
    connection: str | None = None
    option: tuple[str, ...] = ()
    tag: str | None = None
    no_log: bool = False
    timeout: float | None = None
    retries: int | None = None
    max_cost: float | None = None
    usage: bool = False

    def validate(self) -> None:
        """Raise UsageError for a value that is out of range."""
        for name, text in (("--model", self.model), ("--connection", self.connection)):
            if text == "":
                raise UsageError(f"{name} must not be empty", hint="check that the variable it comes from is set")
        if self.timeout is not None and not 0 < self.timeout <= _MAX_TIMEOUT_S:
            raise UsageError(f'--timeout must be greater than 0, got "{self.timeout:g}"')
        if self.retries is not None and self.retries < 0:
            raise UsageError(f'--retries must be 0 or more, got "{self.retries}"')
        if self.max_cost is not None and not 0 <= self.max_cost < float("inf"):
            raise UsageError(f'--max-cost must be 0 or more, got "{self.max_cost:g}"')


def build_plan(app: App, kind: TargetKind, flags: RequestFlags) -> SingleRequestPlan:
    """Return what the requests of a command have in common."""
    flags.validate()
    database = app.hub("create")
    settings = settings_rows.list_changed(database)
    budget = None if flags.max_cost is None else CommandBudget(flags.max_cost)
    return SingleRequestPlan(
        kind=kind,
        target=target.resolve_for(database, kind, flags.model, flags.connection, app.env),
        call_options=CallOptions(
            options=parse_pairs(flags.option, "-o", parse_values=True),
            timeout_s=flags.timeout or settings.get("timeout"),
            retries=settings.get("retries", CallOptions().retries) if flags.retries is None else flags.retries,
            cost_limits=cost_limits(settings, budget),
        ),
        persist=PersistOptions(log=not flags.no_log, tag=flags.tag),
        caller=app.caller_info().restrict_to(settings.get("audit.context")),
        runtime=app.runtime_env(),
    )


@contextmanager
def open_runner(
    app: App, plan: SingleRequestPlan, document: Callable[[UsageSummary], Mapping[str, Any]]
) -> Iterator[SingleRequestRunner]:
    """Yield what sends the requests of a plan; with ``--json`` the document is printed even if one fails."""

    def note_retry(seconds: float, error: LlmctlError) -> None:
        app.note(f"{error.message}; retrying in {format_duration(seconds * 1000)}")

    runner = SingleRequestRunner(app.hub("create"), plan, on_retry=note_retry)
    try:
        with runner:
            yield runner
    except LlmctlError:
        if app.format.kind == "json" and runner.summary.request_ids:
            emit_json(app, document(runner.summary))
        raise


def finish(app: App, runner: SingleRequestRunner, flags: RequestFlags) -> None:
    """Print the usage line if it is wanted; raise what kept the hub from being written."""
    app.io.flush()
    is_terminal = app.io.stdout_tty and app.io.stderr_tty
    if (flags.usage or is_terminal) and not app.quiet:
        app.write_stderr_line(format_usage(runner.summary))
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
