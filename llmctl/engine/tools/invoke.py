"""One tool, run by a person or a script: the same rows, checks and limits as for a model, and nobody to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import DeniedError, InvalidOutputError, LlmctlError, RejectedError
from llmctl.core.ids import new_id
from llmctl.core.signals import uninterrupted
from llmctl.core.stored_json import dumps
from llmctl.core.tools import Tool
from llmctl.engine.jobs import lease
from llmctl.engine.jobs.heartbeat import Heartbeat
from llmctl.engine.tools import authorize, permissions, records
from llmctl.engine.tools.authorize import Call
from llmctl.engine.tools.execute import Workbench
from llmctl.engine.tools.records import Ending
from llmctl.engine.tools.toolset import Grant, Tools
from llmctl.engine.turn.options import Surroundings
from llmctl.store.database import Database, Row
from llmctl.store.records import invocations, permission_rules
from llmctl.store.writes import Insert, Update


def invoke(
    database: Database, tool: Tool, arguments: str, around: Surroundings, *, timeout_s: float | None = None
) -> tuple[Row, LlmctlError | None]:
    """Run a tool; return the row of the run, and the error where it did not succeed.

    The error is InvalidOutputError for arguments (JSON text) that do not meet the schema, DeniedError where a rule of
    the hub denies it, else what the run raised: UnavailableError after its time, RejectedError where it failed.
    """
    with _job(database, tool) as job_id:
        call = _staged(database, tool, arguments, job_id)
        problem = _vetted(database, tool, call)
        bench = Workbench(database, job_id, around, Tools((Grant(tool, "automatic"),)), timeout_s=timeout_s)
        try:
            if problem:
                database.commit(bench.finished(call, {"decision": authorize.decision_text(call)}, "pending"))
            for writes in bench.run([call]):
                database.commit(*writes)
        finally:
            with uninterrupted():
                database.commit(*bench.break_off())
            bench.close()
        return invocations.get(database, call.id), problem or _problem(call)


def _vetted(database: Database, tool: Tool, call: Call) -> LlmctlError | None:
    """Take the arguments in and look at the hub's own rules; what a person runs, the person permits."""
    call.arguments, wrong = authorize.read_arguments(tool, call.row["arguments"])
    if wrong:
        text = f"Invalid tool arguments: {'; '.join(wrong)}"
        call.ending = Ending("failed", text, f"invalid arguments: {'; '.join(wrong)}")
        return InvalidOutputError(
            f'the arguments of "{tool.name}" do not meet its schema: {"; ".join(wrong)}',
            hint=f"see: llmctl tool show {tool.name}",
            reason="arguments",
        )
    held = permission_rules.holding(database, tool.id, chat_id=None, agent_id=None) if tool.id else []
    verdict = permissions.judge(Grant(tool, "automatic"), call.arguments, held, ())
    call.decision = verdict.as_decision(clock.now()) | ({"by": "user"} if verdict.effect == "allow" else {})
    if verdict.effect == "allow":
        return None
    call.ending = Ending("denied", records.denied_text(call.decision), f"denied by {verdict.by}")
    return DeniedError(f'"{tool.name}" is denied by a rule', hint=f"see: llmctl tool show {tool.name}", reason="rule")


def _problem(call: Call) -> LlmctlError | None:
    if call.problem is not None or call.ending is None or call.ending.status == "completed":
        return call.problem
    return RejectedError(f'"{call.row["name"]}" failed: {call.ending.error}', reason="tool_failed")


def _staged(database: Database, tool: Tool, arguments: str, job_id: str) -> Call:
    id, now = new_id(), clock.now()
    value = records.parsed_arguments(arguments)
    row: Row = {
        "id": id,
        "tool_id": tool.id,
        "tool_call_id": id,
        "name": tool.name,
        "arguments": arguments,
        "parameters": dumps(value) if isinstance(value, dict | list) else None,
        "status": "pending",
        "job_id": job_id,
        "origin": "llmctl",
        "created_at": now,
        "updated_at": now,
    }
    database.commit(Insert("tool_invocations", row), durable=True)
    return Call(row, tool)


@contextmanager
def _job(database: Database, tool: Tool) -> Iterator[str]:
    """Keep a job while the tool runs, so that a death in the middle is found out."""
    job_id, now = new_id(), clock.now()
    row = {
        "id": job_id,
        "name": tool.name,
        "type": "invocation",
        "status": "running",
        **lease.current()._asdict(),
        "lease_expires_at": lease.lease(),
        "started_at": now,
        "created_at": now,
        "updated_at": now,
    }
    database.commit(Insert("jobs", row))
    heartbeat = Heartbeat(database.path, job_id)
    ended: dict[str, Any] = {"status": "cancelled", "error": "interrupted"}
    try:
        yield job_id
        ended = {"status": "completed", "error": None}
    finally:
        heartbeat.stop()
        now = clock.now()
        with uninterrupted():
            database.commit(Update("jobs", job_id, {**ended, "finished_at": now, "updated_at": now}), durable=True)
