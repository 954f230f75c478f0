"""Begin a map, or take one over that did not end: its rows in the hub, and its job held by this process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import Message
from llmctl.core.errors import LlmctlError, LockedError, UsageError
from llmctl.core.humanize import pluralize
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import Redaction
from llmctl.core.signals import defer_signals
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine import recovery
from llmctl.engine.billing.cost import CommandBudget, cost_limits
from llmctl.engine.bulk.rows import InputRow
from llmctl.engine.bulk.spec import MapSpec
from llmctl.engine.connections.target import resolve
from llmctl.engine.jobs import lease
from llmctl.engine.runtime import CallerInfo, RuntimeEnv
from llmctl.engine.template_limits import TemplateRenderer
from llmctl.engine.turn.plan import TurnPlan, UserInput, require_chat_model, resolve_options
from llmctl.store.database import Database, Delete, Insert, Update
from llmctl.store.records import jobs, map_items
from llmctl.store.records.settings import list_changed
from llmctl.store.records.types import JobRow

#: Rows that are read into the hub in one transaction: others may write in between.
_CHUNK = 2000
#: The variable with the whole row, for columns whose name is no identifier.
ROW = "row"


class PromptTemplates:
    """The templates of a map. A row's columns are their variables, and ``row`` is all of it."""

    def __init__(self, spec: MapSpec) -> None:
        self._params = dict(spec.params)
        self._prompt = TemplateRenderer(spec.prompt, "the prompt")
        self._system = None if spec.system is None else TemplateRenderer(spec.system, "the system prompt")
        self._names = self._prompt.names | (self._system.names if self._system else frozenset())

    def render_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Message, ...] | UsageError]:
        """Return the messages to send for each row, or why there are none."""
        values = [{ROW: row, **self._params, **row} for row in rows]
        prompts = self._prompt.render_rows(values)
        systems: Sequence[str | UsageError | None] = (
            self._system.render_rows(values) if self._system else [None] * len(rows)
        )
        return [_to_messages(system, prompt) for system, prompt in zip(systems, prompts, strict=True)]

    def check(self, row: InputRow) -> None:
        """Raise UsageError for a row that lacks a column without which its prompt cannot be made."""
        if repeated := self._params.keys() & row.values.keys():
            name = min(repeated)
            raise UsageError(f'"{name}" is a column and a parameter', hint=f"remove -p {name}=, or rename the column")
        if not self._names:
            columns = ", ".join(row.values)
            raise UsageError(
                "the prompt uses no column",
                hint=f"columns: {columns}; such as {{{{ {next(iter(row.values), 'name')} }}}}",
            )
        if not self._names - row.values.keys() - self._params.keys() - {ROW}:
            return
        rendered = self.render_rows([row.values])[0]
        if isinstance(rendered, UsageError):
            columns = ", ".join(row.values) or "none"
            raise UsageError(f"{row.place}: {rendered.message}", hint=f"columns: {columns}", reason="unknown_column")


def _to_messages(system: str | UsageError | None, prompt: str | UsageError) -> tuple[Message, ...] | UsageError:
    for text in (system, prompt):
        if isinstance(text, UsageError):
            return text
    assert isinstance(prompt, str)
    if not prompt.strip():
        return UsageError("the prompt of this row is empty", reason="no_prompt")
    user = Message.from_text("user", prompt.rstrip("\n"))
    return (user,) if not isinstance(system, str) or not system.strip() else (_system(system), user)


def _system(text: str) -> Message:
    return Message.from_text("system", text.rstrip("\n"))


def begin_map(database: Database, spec: MapSpec, redact: Redaction) -> JobRow:
    """Create the job of a map with all its rows, and return it: running, held by this process.

    Raises UsageError for malformed input, unknown columns and repeated ids; then the hub is as before.
    """
    now, job_id = clock.now(), new_id()
    row = {
        "id": job_id,
        "name": redact.text(spec.name),
        "type": map_items.TYPE,
        "status": "running",
        "payload": spec.to_payload(),
        **_holder_columns(now),
        "created_at": now,
    }
    database.commit(Insert("jobs", row), durable=True)
    try:
        count = _add_rows(database, job_id, spec)
        if not count:
            raise UsageError(f"{spec.source.label} has no rows")
        payload = dumps(loads(spec.to_payload(), {}) | {"rows": count})
        database.commit(Update("jobs", job_id, {"payload": payload}), durable=True)
    except BaseException:
        with defer_signals():
            database.commit(Delete("jobs", {"id": job_id}))
        raise
    return jobs.get(database, job_id)


def _holder_columns(now: str) -> dict[str, Any]:
    return {
        **lease.process_identity().to_dict(),
        "lease_expires_at": lease.lease_expiry(),
        "started_at": now,
        "updated_at": now,
    }


def _add_rows(database: Database, job_id: str, spec: MapSpec) -> int:
    templates, count, missing = PromptTemplates(spec), 0, {name for name in (*spec.select, spec.id_column) if name}
    columns: dict[str, None] = {}
    rows = spec.source.iter_rows()
    while chunk := list(islice(rows, _CHUNK)):
        count += len(chunk)
        for row in chunk:
            templates.check(row)
            missing -= row.values.keys()
            columns |= dict.fromkeys(row.values)
        _add_chunk(database, job_id, spec, chunk)
    if missing and count:
        name = min(missing)
        flag = "--id" if name == spec.id_column else "--select"
        raise UsageError(f'{flag}: no column "{name}"', hint=f"columns: {', '.join(columns)}")
    return count


def _add_chunk(database: Database, job_id: str, spec: MapSpec, chunk: Sequence[InputRow]) -> None:
    now = clock.now()
    items = [
        {
            "id": new_id(),
            "job_id": job_id,
            "position": row.position,
            "custom_id": _custom_id(row, spec.id_column),
            "input_hash": row.hash,
            "input": dumps(row.values),
            "now": now,
        }
        for row in chunk
    ]
    try:
        with database.transaction(durable=True):
            map_items.add_many(database, items)
    except sqlite3.IntegrityError as error:
        raise _find_repeated_id(database, job_id, items) or error from error


def _custom_id(row: InputRow, column: str | None) -> str:
    if column is None:
        return str(row.position)
    if column not in row.values:
        raise UsageError(f'--id: no column "{column}" in {row.place}', hint=f"columns: {', '.join(row.values)}")
    value = row.values[column]
    if value is None or value == "":
        raise UsageError(f'{row.place} has no "{column}"', hint="each row needs an id of its own, or leave out --id")
    return value if isinstance(value, str) else dumps(value)


def _find_repeated_id(database: Database, job_id: str, items: Sequence[Mapping[str, Any]]) -> UsageError | None:
    seen: dict[str, int] = {}
    for item in items:
        name = item["custom_id"]
        first = seen.get(name) or map_items.find_position(database, job_id, name)
        if first is not None:
            return UsageError(f'rows {first} and {item["position"]} have the same id "{name}"')
        seen[name] = item["position"]
    return None


def find_continued(database: Database, spec: MapSpec, *, with_failed: bool = False) -> JobRow | None:
    """Return the newest map of the same input and output that has not ended, or (``with_failed``) has failed rows."""
    for job in map_items.list_maps(database, spec.name):
        if not spec.continues(job) or "rows" not in loads(job.payload, {}):
            continue
        if job.status != "completed" or (with_failed and map_items.count_by_status(database, job.id).get("failed")):
            return job
    return None


def take_over(database: Database, job: JobRow, *, retries_failed: bool) -> JobRow:
    """Make this process the one that works on a job, with what a dead one left finished; return the job.

    Raises LockedError where a live process works on it.
    """
    with database.transaction(durable=True):
        current = jobs.get(database, job.id)
        if lease.is_alive(current):
            host = str(current.host).partition("/")[0]
            raise LockedError(
                f"job {job.id[:8]} is running: process {current.pid} on {host}",
                hint=f"watch it: llmctl job show {job.id[:8]}; stop it: llmctl job cancel {job.id[:8]}",
            )
        if current.status == "running":
            recovery.recover_job(database, current)
        now = clock.now()
        held = {"status": "running", "error": None, "exit_code": None, "finished_at": None}
        attempts = {"attempts": current.attempts + 1}
        database.commit(Update("jobs", job.id, {**held, **attempts, **_holder_columns(now)}))
        map_items.reset(database, job.id, "running", now)
        if retries_failed:
            map_items.reset(database, job.id, "failed", now)
    return jobs.get(database, job.id)


def require_same_input(database: Database, spec: MapSpec, job: JobRow, stored: MapSpec) -> None:
    """Raise UsageError where the input is not the one that a job has read, with the first difference."""
    if spec.fingerprint == stored.fingerprint:
        return
    change = _describe_change(map_items.iter_hashes(database, job.id), spec.source.iter_rows())
    if change:
        raise changed_error(job, f"{spec.source.label} changed: {change}")


def changed_error(job: JobRow, change: str) -> UsageError:
    """Return the error for a map that cannot go on as it began."""
    return UsageError(
        f"cannot resume job {job.id[:8]}: {change}",
        hint="begin again with --restart, or put back what changed",
        reason="changed",
    )


def _describe_change(stored: Iterator[tuple[int, str]], rows: Iterator[InputRow]) -> str | None:
    """Return the first difference between the rows that were read and those that are there; None: only their form."""
    for number, (position, hash) in enumerate(stored):
        row = next(rows, None)
        if row is None:
            return f"it has only {pluralize(number, 'row')} now"
        if (row.position, row.hash) != (position, hash):
            return f"{row.place} is not what row {position} was"
    extra = sum(1 for _ in rows)
    return f"{pluralize(extra, 'row')} more than before" if extra else None


def finish_job(
    database: Database, job_id: str, error: LlmctlError | None, *, is_cancelled: bool = False
) -> dict[str, Any]:
    """Write the end of a map and return its result: rows by status, and cost.

    With a PartialError the job is completed: every row has ended. Other errors leave rows to resume.
    """
    counts = map_items.count_by_status(database, job_id)
    result = {"rows": sum(counts.values()), **counts, "cost": map_items.sum_cost(database, job_id)}
    is_over = not counts.keys() & {"pending", "running", "submitted"}
    status = "cancelled" if is_cancelled else "completed" if is_over else "failed"
    now = clock.now()
    end = {
        "status": status,
        "exit_code": error.exit_code if error else None if is_cancelled else 0,
        "error": error.message if error else "interrupted" if is_cancelled else None,
        "result": dumps(result),
    }
    database.commit(Update("jobs", job_id, {**end, "finished_at": now, "updated_at": now}), durable=True)
    return result


def build_turn(
    database: Database, spec: MapSpec, flags: TurnOptions, caller: CallerInfo, runtime: RuntimeEnv
) -> TurnPlan:
    """Return the turn that every row is, without its text: nothing of a chat. ``flags`` are those of this run."""
    settings = list_changed(database)
    options = resolve_options(flags.over(spec.options), settings, env=runtime.env).replace(no_stream=True)
    target = resolve(database, spec.model, runtime.env)
    require_chat_model(target)
    budget = None if options.max_cost is None else CommandBudget(options.max_cost)
    return TurnPlan(
        chat=None,
        target=target,
        input=UserInput(),
        options=options,
        caller=caller.restrict_to(settings.get("audit.context")),
        runtime=runtime,
        cost_limits=cost_limits(settings, budget),
    )
