"""Run one tool for the user: the same rows, checks and limits as for a model, but nobody to ask for approval."""

from __future__ import annotations

from llmctl.core import clock
from llmctl.core.errors import DeniedError, InvalidOutputError, LlmctlError, RejectedError
from llmctl.core.ids import new_id
from llmctl.core.signals import defer_signals
from llmctl.core.stored_json import dumps
from llmctl.core.tools import Tool
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.tools import authorize, records
from llmctl.engine.tools.authorize import PendingToolCall
from llmctl.engine.tools.execute import ToolExecutor
from llmctl.engine.tools.records import ToolOutcome
from llmctl.engine.tools.toolset import ToolGrant, Toolset
from llmctl.store.database import Database
from llmctl.store.records import invocations, permission_rules
from llmctl.store.records.types import InvocationRow
from llmctl.store.writes import Insert


def invoke_tool(
    database: Database, job_id: str, tool: Tool, arguments: str, runtime: RuntimeEnv, *, timeout_s: float | None = None
) -> tuple[InvocationRow, LlmctlError | None]:
    """Run a tool within a running job; return the row of the call, and the error if it failed.

    The error is InvalidOutputError for invalid arguments (JSON text), DeniedError if a rule denies the call, else what
    the run raised: UnavailableError on timeout, RejectedError on failure.
    """
    call = _create_call(database, tool, arguments, job_id)
    error = _authorize(database, tool, call)
    executor = ToolExecutor(database, job_id, runtime, Toolset((ToolGrant(tool, "automatic"),)), timeout_s=timeout_s)
    try:
        if error:
            database.commit(executor.finish_write(call, {"decision": authorize.encode_decision(call)}, "pending"))
        for writes in executor.run([call]):
            database.commit(*writes)
    finally:
        with defer_signals():
            database.commit(*executor.abort())
        executor.close()
    return invocations.get(database, call.id), error or _call_error(call)


def _authorize(database: Database, tool: Tool, call: PendingToolCall) -> LlmctlError | None:
    """Validate the arguments and apply stored rules; otherwise the user's own call is permitted."""
    call.arguments, errors = authorize.parse_arguments(tool, call.row.arguments)
    if errors:
        problem = "; ".join(errors)
        call.outcome = ToolOutcome("failed", f"Invalid tool arguments: {problem}", f"invalid arguments: {problem}")
        return InvalidOutputError(
            f'invalid arguments for "{tool.name}": {problem}',
            hint=f"see: llmctl tool show {tool.name}",
            reason="arguments",
        )
    rules = permission_rules.list_active(database, tool.id, chat_id=None, agent_id=None) if tool.id else []
    decision = authorize.decide(ToolGrant(tool, "automatic"), call.arguments, rules, ())
    call.decision = decision.to_json(clock.now()) | ({"by": "user"} if decision.effect == "allow" else {})
    if decision.effect == "allow":
        return None
    call.outcome = ToolOutcome("denied", records.denied_text(call.decision), f"denied by {decision.by}")
    return DeniedError(f'"{tool.name}" is denied by a rule', hint=f"see: llmctl tool show {tool.name}", reason="rule")


def _call_error(call: PendingToolCall) -> LlmctlError | None:
    if call.error is not None or call.outcome is None or call.outcome.status == "completed":
        return call.error
    return RejectedError(f'"{call.row.name}" failed: {call.outcome.error}', reason="tool_failed")


def _create_call(database: Database, tool: Tool, arguments: str, job_id: str) -> PendingToolCall:
    id, now = new_id(), clock.now()
    value = records.decode_arguments(arguments)
    row = InvocationRow(
        id=id,
        tool_id=tool.id,
        tool_call_id=id,
        name=tool.name,
        arguments=arguments,
        parameters=dumps(value) if isinstance(value, dict | list) else None,
        status="pending",
        job_id=job_id,
        origin="llmctl",
        created_at=now,
        updated_at=now,
    )
    database.commit(Insert("tool_invocations", row.to_dict()), durable=True)
    return PendingToolCall(row, tool)
