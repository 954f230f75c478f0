"""Tool calls as rows, events and messages, and the texts that a model gets instead of a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import File, Message, Part, Thinking, ToolCall, ToolResult
from llmctl.core.errors import LlmctlError, PendingError
from llmctl.core.stored_values import decode_arguments, dumps, loads, new_id
from llmctl.core.tools import Tool, printable_name
from llmctl.core.values import Value
from llmctl.engine.runtime import ApprovalNeeded, ToolEvent, Toolset
from llmctl.store.records.types import InvocationRow

#: Error of a tool that ran in a process that died. It is not run again automatically.
TOOL_DIED_ERROR = "the process that ran it died before it was complete; whether it had an effect is not known"


class ToolOutcome(Value):
    """How a call ended. ``text`` is the result for the model."""

    status: str
    text: str
    error: str | None = None
    exit_status: int | None = None
    halts: bool = False
    #: Files of the result; they become attachments of its message.
    files: tuple[File, ...] = ()


def invocation_rows(
    message_id: str,
    calls: Iterable[ToolCall],
    job_id: str,
    step: int,
    tools: Toolset,
    thoughts: Mapping[int, str] | None = None,
) -> list[InvocationRow]:
    """Return a pending row for each call. ``thoughts`` is the thinking that led to a call, by its number."""
    now = clock.now()
    rows = []
    for number, call in enumerate(calls):
        grant = tools.find(call.name)
        rows.append(
            InvocationRow(
                id=new_id(),
                tool_id=grant.tool.id if grant else None,
                message_id=message_id,
                tool_call_id=call.id,
                provider_call_id=call.metadata.get("provider_id") or call.id,
                name=call.name,
                arguments=call.arguments,
                parameters=_encode_parameters(call.arguments),
                thought=(thoughts or {}).get(number),
                thought_signature=call.metadata.get("thought_signature"),
                status="pending",
                step=step,
                job_id=job_id,
                origin="llmctl",
                created_at=now,
                updated_at=now,
            )
        )
    return rows


def thoughts_by_call(parts: Iterable[Part]) -> dict[int, str]:
    """Return the thinking right before calls, by the number of the call in its answer."""
    thoughts: dict[int, str] = {}
    number, thought = 0, ""
    for part in parts:
        if isinstance(part, Thinking):
            thought += part.text
        elif isinstance(part, ToolCall):
            if thought.strip():
                thoughts[number] = thought
            number, thought = number + 1, ""
    return thoughts


def event_from_row(row: InvocationRow, outcome: ToolOutcome | None = None, hint: str | None = None) -> ToolEvent:
    """Return a call, with its result if there is one, as an event."""
    if outcome is None:
        return ToolEvent(row.tool_call_id, row.name, row.arguments)
    return ToolEvent(row.tool_call_id, row.name, row.arguments, outcome.text, outcome.status, outcome.error, hint)


def result_message(row: InvocationRow, outcome: ToolOutcome) -> Message:
    """Return the result of a call as a message for the model."""
    # The provider's own id may occur twice in a message.
    call_id = row.tool_call_id if row.origin == "llmctl" else row.provider_call_id or row.tool_call_id
    result = ToolResult(call_id, row.name, outcome.text, is_error=outcome.status != "completed")
    return Message("tool", (result, *outcome.files))


def outcome_from_row(row: InvocationRow) -> ToolOutcome | None:
    """Return how a call ended according to its row, in this process or another; None if it is pending."""
    if row.status == "pending":
        return None
    error = row.error
    match row.status:
        case "completed":
            text = row.result or ""
        case "denied":
            text = row.result or denied_text(loads(row.decision, {}) if row.decision else {})
        case "failed":
            text = row.result or failed_text(row.name, error or TOOL_DIED_ERROR)
        case _:
            text = failed_text(row.name, error or TOOL_DIED_ERROR)
    status = row.status if row.status != "running" else "failed"
    return ToolOutcome(status, text, error, row.exit_status, halts=bool(row.halts))


def note_edited_arguments(outcome: ToolOutcome, decision: Mapping[str, Any] | None) -> ToolOutcome:
    """Return the outcome of a run; a model is told if it ran with other arguments than its own."""
    if not (decision and decision.get("arguments")) or outcome.halts:
        return outcome
    return outcome.replace(text=f"[The user changed the arguments to {decision['arguments']}]\n{outcome.text}")


def not_run_outcome(name: str, reason: str) -> ToolOutcome:
    """Return the outcome of a call that never ran."""
    return ToolOutcome("cancelled", f"The tool '{printable_name(name)}' was not run: {reason}", reason)


def failed_text(name: str, error: str) -> str:
    return f"Error executing tool '{printable_name(name)}': {error}"


def denied_text(decision: Mapping[str, Any]) -> str:
    """Return the result of a denied call, with the user's reason if there is one."""
    reason = decision.get("because")
    if decision.get("by") == "user":
        return "Action cancelled by user." + (f" {reason}" if reason else "")
    return "This action is not permitted." + (f" {reason}" if reason else "")


def unavailable_text(name: str, names: Iterable[str]) -> str:
    """Return the result of a call of a tool that does not exist."""
    return f"Model tried to call unavailable tool '{printable_name(name)}'. Available tools: [{', '.join(names)}]."


def fingerprint_call(tool: Tool | None, arguments: str) -> str:
    """Return the fingerprint of tool and arguments; a decision applies to exactly this fingerprint."""
    # A function of this process is identified by its name only.
    identity = [tool.type, dict(tool.data) if tool.type != "function" else tool.name] if tool else None
    return sha256(dumps([identity, arguments]).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _encode_parameters(text: str) -> str | None:
    value = decode_arguments(text)
    try:
        return dumps(value) if isinstance(value, dict | list) else None
    except (ValueError, RecursionError):
        return None


# --- suspended calls: they continue where they stopped when their turn continues


def _list_uses(calls: Iterable[ApprovalNeeded]) -> Iterable[tuple[str, str]]:
    """Return what the tools do that came with a file, each once."""
    return {call.name: call.use for call in calls if call.use}.items()


class ApprovalPending(PendingError):
    """Tool calls of this turn, or of sub-agents in it, wait for the user's approval."""

    def __init__(self, calls: Sequence[ApprovalNeeded], *, is_logged: bool) -> None:
        self.calls = tuple(calls)
        names = ", ".join(dict.fromkeys(f'"{printable_name(call.name)}"' for call in calls))
        verb = "needs" if len({call.name for call in calls}) == 1 else "need"
        uses = "".join(f'; "{printable_name(name)}" is not trusted here: {use}' for name, use in _list_uses(calls))
        super().__init__(f"{names} {verb} your approval{uses}", hint=self._hint(is_logged), reason="approval")

    def _hint(self, is_logged: bool) -> str:
        if is_logged:
            return f"llmctl tool approve {' '.join(call.invocation_id[:8] for call in self.calls)} --continue"
        approve = " ".join(f"--approve {name}" for name in dict.fromkeys(call.name for call in self.calls))
        return f"this turn is not logged, so approve it beforehand: {approve}"


class Suspended(LlmctlError):
    """Raised by a tool that continues later; the turn that called it stops with ``cause``."""

    def __init__(self, cause: LlmctlError) -> None:
        super().__init__(cause.message, hint=cause.hint, reason=cause.reason)
        self.cause = cause
