"""Commands on batches: many requests that a provider answers within a day, at half price."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmctl.cli import common_options, listing_args
from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output, record_output
from llmctl.cli.console.output import emit_list, emit_record
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.options import TurnOptions, check_seconds
from llmctl.core.stored_values import loads
from llmctl.core.values import Value
from llmctl.store.database import Database
from llmctl.store.records import jobs, provider_batches
from llmctl.store.records.types import JobRow, ProviderBatchRow

if TYPE_CHECKING:
    from llmctl.engine.batches.exchange import LinePlan
    from llmctl.engine.batches.run import BatchJob, BatchSource
    from llmctl.engine.bulk.spec import MapSpec
    from llmctl.engine.connections.target import Target

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("job_id", "id", header="job"),
    OutputColumn("connection"),
    OutputColumn("model"),
    OutputColumn("status", "status"),
    OutputColumn("total", "number", header="rows"),
    OutputColumn("completed", "number"),
    OutputColumn("failed", "number"),
    OutputColumn("submitted_at", "time", header="submitted"),
    OutputColumn("expires_at", "time", is_default=False),
    OutputColumn("finished_at", "time", is_default=False),
    OutputColumn("fetched_at", "time", is_default=False),
    OutputColumn("remote_id", is_default=False),
    OutputColumn("remote_status", is_default=False),
    OutputColumn("provider", is_default=False),
    OutputColumn("error", is_default=False),
    OutputColumn("marker", is_default=False),
    OutputColumn("counts", "json", is_default=False),
    OutputColumn("files", "json", is_default=False),
    OutputColumn("references", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]
BatchFlags = Annotated[TurnOptions, ("model", "connection", "tag", "max_cost", "retries", "timeout")]
BatchArgument = Annotated[str, typer.Argument(metavar="ID", help="Batch or its job: id or id prefix.")]


@list_output
def list_(ctx: typer.Context, limit: common_options.LimitOption = listing_args.DEFAULT_LIMIT) -> None:
    """List batches, newest first.

    Examples:
      llmctl batch list
      llmctl batch list --json
    """
    app: App = ctx.obj
    database = app.hub()
    extent = listing_args.extent(limit, "batches", lambda: provider_batches.count(database))
    records = provider_batches.list_records(database, extent.limit)
    emit_list(app.console, map(_with_counts, records), COLUMNS, extent)


@record_output
def show(ctx: typer.Context, ref: BatchArgument) -> None:
    """Show a batch as the hub has it; batch fetch asks the provider.

    Examples:
      llmctl batch show 3f2a9c1e
    """
    app: App = ctx.obj
    record = _with_counts(provider_batches.get_record(app.hub(), ref))
    kinds = {column.name: column.kind for column in COLUMNS}
    emit_record(app.console, record, [OutputColumn(name, kinds.get(name, "text")) for name in record])


def _with_counts(record: Any) -> dict[str, Any]:
    counts = record["counts"] if isinstance(record["counts"], dict) else loads(record["counts"], {})
    return {**record, **{name: counts.get(name) for name in ("total", "completed", "failed")}}


def wait(
    ctx: typer.Context,
    ref: BatchArgument,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Wait no longer than this.")] = None,
    resubmit: Annotated[
        bool, typer.Option("--resubmit", help="Send what an ended or lost batch left unanswered.")
    ] = False,
    adopt: Annotated[
        str | None, typer.Option(metavar="REMOTE_ID", help="Take this batch of the provider as the one submitted.")
    ] = None,
) -> None:
    """Wait for the batches of a job and take in their results.

    Rows that are in no batch yet are submitted as the provider's limits allow. The output of the job is written when
    every row has ended. What an expired or cancelled batch answered is kept; --resubmit sends the rest.

    Examples:
      llmctl batch wait 3f2a9c1e
      llmctl batch wait 3f2a9c1e --timeout 3600 || echo "exit code $?"
    """
    app: App = ctx.obj
    limit_s = check_seconds(timeout, "--timeout")
    with _open_job(app, ref) as opened:
        if adopt is not None or resubmit:
            _decide(opened, adopt)
        opened.batches.wait(limit_s, repeats=resubmit)
        opened.finish()


def fetch(ctx: typer.Context, ref: BatchArgument) -> None:
    """Take in the results of batches that have ended, without waiting.

    Exit code 8: some still run.

    Examples:
      llmctl batch fetch 3f2a9c1e || echo "exit code $?"
    """
    app: App = ctx.obj
    with _open_job(app, ref) as opened:
        opened.batches.refresh()
        opened.batches.submit_pending()
        opened.finish()


def cancel(ctx: typer.Context, ref: BatchArgument) -> None:
    """Ask the provider to end the batches of a job.

    What they have answered so far is kept; batch fetch takes it in.

    Examples:
      llmctl batch cancel 3f2a9c1e
    """
    app: App = ctx.obj
    with _open_job(app, ref) as opened:
        opened.batches.cancel()
        opened.batches.refresh()
        opened.finish()


@record_output
def run(
    ctx: typer.Context,
    flags: BatchFlags,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Lines in OpenAI's batch format.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the results here. [stdout]")
    ] = None,
    wait_: Annotated[bool, typer.Option("--wait", help="Wait until all lines are answered.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again instead of going on.")] = False,
) -> None:
    """Answer the lines of a file in OpenAI's batch format, by any provider.

    Lines are {"custom_id", "method", "url", "body"}, as OpenAI and vLLM's run-batch take them; results have their
    format, too, in the order of the lines. Where the provider has a batch API the lines are submitted, and the same
    command again, or batch wait, takes the results in; other hosts answer at once. -m overrides the lines' model.
    Exit codes: 8 while a batch runs, 14 where lines failed.

    Examples:
      llmctl batch run lines.jsonl -o results.jsonl -m echo
      llmctl batch run lines.jsonl -o results.jsonl --wait
    """
    app: App = ctx.obj
    if output is not None:
        require_writable_path(output)
    database = app.hub("create")
    job = _find_or_begin(app, database, _RunArgs(file, output, restart), flags)
    with _open_lines(app, database, job, None, flags) as opened:
        opened.work(wait=wait_)


class _RunArgs(Value):
    file: str
    output: str | None
    restart: bool


def _find_or_begin(app: App, database: Database, args: _RunArgs, flags: TurnOptions) -> JobRow:
    """Return the job of a file: one that has not ended, or a new one with all its lines."""
    from llmctl.engine.batches import lines

    text = _read_input(app, args.file)
    label = "stdin" if args.file == "-" else f'"{args.file}"'
    model = flags.model or _first_model(text, label, has_connection=bool(flags.connection))
    payload = {
        "input": "-" if args.file == "-" else os.path.abspath(args.file),
        "output": os.path.abspath(args.output) if args.output else None,
        "hash": sha256(text.encode("utf-8", "replace")).hexdigest(),
        "model": model,
        "connection": flags.connection,
        "overrides_model": flags.model is not None,
        "tag": flags.tag,
    }
    found = None if args.restart else lines.find_job(database, payload)
    if found is not None:
        if change := _find_change(loads(found.payload, {}), payload):
            raise UsageError(
                f"cannot go on with job {found.id[:8]}: {change} changed", hint="begin again with --restart"
            )
        return found
    name = args.file.rpartition("/")[2] if args.file != "-" else "stdin"
    return lines.begin_job(database, name, payload, lines.read_lines(iter(text.splitlines()), label), label)


def _find_change(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    labels = {"hash": "the input", "model": "the model", "connection": "--connection"}
    return next((label for name, label in labels.items() if then.get(name) != now[name]), None)


def _first_model(text: str, label: str, *, has_connection: bool) -> str:
    """Return the model of all lines. Raises UsageError where they name more than one, or none."""
    from llmctl.engine.batches.lines import read_lines

    models = {line["body"].get("model") for line in read_lines(iter(text.splitlines()), label)}
    if len(models) > 1:
        names = ", ".join(sorted(map(str, models)))
        raise UsageError(f"{label} has lines for several models: {names}", hint="choose one with -m")
    model = models.pop() if models else None
    if not isinstance(model, str):
        raise UsageError(f'{label}: the lines name no "model"', hint="choose one with -m")
    return model


def _read_input(app: App, file: str) -> str:
    from llmctl.core.text_files import read_text_file

    if file != "-":
        return read_text_file(file)
    data: bytes = sys.stdin.buffer.read()
    return data.decode("utf-8", "replace")


class OpenedJob:
    """A job that this process works on, and what it is worked on with."""

    def __init__(self, database: Database, job: JobRow, batch: ProviderBatchRow | None, source: BatchSource) -> None:
        self._database = database
        self._job = job
        self._source = source
        self.batch = batch
        self.at_provider: BatchJob | None = None

    @property
    def batches(self) -> BatchJob:
        """Raises UsageError for a job that is answered at once."""
        if self.at_provider is None:
            raise UsageError(f"job {self._job.id[:8]} has no batches", hint="llmctl batch list")
        return self.at_provider

    def work(self, *, wait: bool, repeats: bool = False) -> None:
        """Submit what is in no batch, take in what has ended, and finish; raise what the job came to."""
        if self.at_provider is None:
            from llmctl.engine.batches.lines import LineSource

            assert isinstance(self._source, LineSource)
            self._source.answer_all()
        elif wait:
            self.at_provider.wait(None, repeats=repeats)
        else:
            self.at_provider.refresh()
            self.at_provider.submit_pending(repeats=repeats)
            self.at_provider.refresh()
        self.finish()

    def finish(self) -> None:
        from llmctl.engine.batches.run import finish_rows

        finish_rows(self._database, self._job.id, self._source)


@contextmanager
def _open_job(app: App, ref: str) -> Iterator[OpenedJob]:
    database = app.hub("write")
    batch = provider_batches.find(database, ref)
    if batch is not None and batch.job_id is None:
        raise NotFoundError(f"the job of batch {batch.id[:8]} was deleted")
    job = jobs.get(database, str(batch.job_id) if batch else ref)
    if not provider_batches.list_of_job(database, job.id):
        raise UsageError(f"job {job.id[:8]} has no batches", hint="llmctl batch list")
    if job.type == "map":
        from llmctl.engine.bulk.spec import from_payload

        with open_map(app, database, job, from_payload(job), TurnOptions(), batch) as opened:
            yield opened
    else:
        with _open_lines(app, database, job, batch, TurnOptions()) as opened:
            yield opened


@contextmanager
def open_map(
    app: App,
    database: Database,
    job: JobRow,
    spec: MapSpec,
    flags: TurnOptions,
    batch: ProviderBatchRow | None = None,
) -> Iterator[OpenedJob]:
    """Hold a map and open what works on it through a batch API."""
    from llmctl.engine.batches.host import BatchHost
    from llmctl.engine.batches.maps import MapSource
    from llmctl.engine.batches.run import BatchJob, hold_job
    from llmctl.engine.bulk.jobs import build_turn
    from llmctl.engine.connections.target import resolve_endpoint

    turn = build_turn(database, spec, flags, app.caller_info(), app.runtime_env())
    resolved = resolve_endpoint(database, turn.target, turn.runtime)
    host = BatchHost(turn.target, resolved, turn.runtime, turn.options.retries)
    with hold_job(database, job):
        source = MapSource(database, job, spec, turn, resolved, app.console.io.write)
        opened = OpenedJob(database, job, batch, source)
        name = turn.target.connection or turn.target.provider.name
        opened.at_provider = BatchJob(database, job, name, host, source, turn.runtime, app.console.note)
        try:
            yield opened
        finally:
            source.close()


@contextmanager
def _open_lines(
    app: App, database: Database, job: JobRow, batch: ProviderBatchRow | None, flags: TurnOptions
) -> Iterator[OpenedJob]:
    """Hold a job of ``batch run`` and open what works on it."""
    from llmctl.engine.batches import lines
    from llmctl.engine.batches.host import BatchHost, find_protocol
    from llmctl.engine.batches.run import BatchJob, hold_job
    from llmctl.engine.connections.target import resolve_endpoint

    payload = loads(job.payload, {})
    target = _find_target(app, database, payload)
    resolved = resolve_endpoint(database, target, app.runtime_env())
    protocol = find_protocol(target)
    plan = _build_plan(app, database, job, target, flags.replace(tag=flags.tag or payload.get("tag")))
    from llmctl.core.redaction import Redaction

    plan = plan.replace(
        endpoint=resolved.endpoint, redact=Redaction(resolved.secrets), processing="batch" if protocol else None
    )
    with hold_job(database, job):
        model = target.model if payload.get("overrides_model") else None
        source = lines.LineSource(database, job, plan, model, lambda chunks: _write_output(app, payload, chunks))
        opened = OpenedJob(database, job, batch, source)
        try:
            if protocol is not None:
                host = BatchHost(target, resolved, app.runtime_env(), plan.turn.options.retries)
                name = target.connection or target.provider.name
                opened.at_provider = BatchJob(database, job, name, host, source, app.runtime_env(), app.console.note)
            yield opened
        finally:
            source.close()


def _find_target(app: App, database: Database, payload: dict[str, Any]) -> Target:
    from llmctl.engine.connections import target

    if connection := payload.get("connection"):
        return target.with_model(target.for_connection(database, connection, app.env), payload["model"])
    return target.resolve(database, payload["model"], app.env)


def _build_plan(app: App, database: Database, job: JobRow, target: Target, flags: TurnOptions) -> LinePlan:
    """Return what all lines have in common, still without endpoint and secrets."""
    from llmctl.core.http import Endpoint
    from llmctl.core.redaction import Redaction
    from llmctl.engine.batches.exchange import LinePlan
    from llmctl.engine.billing.cost import CommandBudget, PriceCache, cost_limits
    from llmctl.engine.turn.plan import TurnPlan, UserInput, resolve_options
    from llmctl.store.opening import open_sibling
    from llmctl.store.records import settings

    changed = settings.list_changed(database)
    budget = None if flags.max_cost is None else CommandBudget(flags.max_cost)
    turn = TurnPlan(
        chat=None,
        target=target.replace(options={}, alias_options={}),
        input=UserInput(),
        options=resolve_options(flags, changed, env=app.env),
        caller=app.caller_info().restrict_to(changed.get("audit.context")),
        runtime=app.runtime_env(),
        cost_limits=cost_limits(changed, budget),
    )
    prices = PriceCache(open_sibling(database))
    return LinePlan(turn, Endpoint(target.base_url), Redaction(()), job.id, prices)


def _write_output(app: App, payload: dict[str, Any], chunks: Iterable[str]) -> None:
    if payload.get("output"):
        write_file(payload["output"], chunks)
        return
    for chunk in chunks:
        app.console.io.write(chunk)


def _decide(opened: OpenedJob, adopt: str | None) -> None:
    """Settle by hand whether a batch was submitted."""
    row = opened.batch
    is_open = row is not None and row.status in ("pending", "submitting")
    if adopt is not None and not is_open:
        raise UsageError("--adopt needs the id of a batch that may have been submitted", hint="llmctl batch list")
    if is_open and row is not None:
        if adopt is not None:
            opened.batches.adopt(row, adopt)
        else:
            opened.batches.release(row)
