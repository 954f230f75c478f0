"""What happens to the tool calls of a model: each is a row before it runs, and is finished with a status.

No tool can be given to a chat yet: every call is answered with the truth, that there is no such tool.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.jsontext import dumps
from llmctl.core.messages import Message, ToolCall, ToolResult
from llmctl.engine.outcome import ToolRun
from llmctl.engine.staging import Staged, message_writes
from llmctl.store.database import Row
from llmctl.store.writes import Insert, Update, Write


def call_writes(message_id: str, calls: Iterable[ToolCall], staged: Staged, step: int) -> list[Write]:
    """Return a pending row for each call; an id that the provider used twice gets a suffix."""
    writes: list[Write] = []
    taken: set[str] = set()
    now = clock.now()
    for call in calls:
        row = {
            "id": new_id(),
            "message_id": message_id,
            "tool_call_id": _untaken(call.id, taken),
            "provider_call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "parameters": _parameters(call.arguments),
            "status": "pending",
            "step": step,
            "job_id": staged.job_id,
            "origin": "llmctl",
            "created_at": now,
            "updated_at": now,
        }
        writes.append(Insert("tool_invocations", row))
    return writes


def answer(invocation: Row, staged: Staged) -> tuple[ToolRun, list[Write]]:
    """Finish one pending invocation; return how it went and the rows, the model's message among them."""
    part = unavailable(invocation["provider_call_id"], invocation["name"])
    now = clock.now()
    finished = {"status": "failed", "result": part.content, "error": "unavailable tool", "started_at": now}
    writes = [
        Update("tool_invocations", invocation["id"], finished | {"finished_at": now, "updated_at": now}),
        *message_writes(staged, Message("tool", (part,)), source_id=invocation["id"]),
    ]
    run = ToolRun(part.call_id, invocation["name"], invocation["arguments"], part.content, "failed")
    return run, writes


def unavailable(call_id: str, name: str) -> ToolResult:
    """Return what a model is told that calls a tool which is not there."""
    text = f"Model tried to call unavailable tool '{name}'. Available tools: []."
    return ToolResult(call_id, name, text, is_error=True)


def parsed_arguments(text: str) -> Any:
    """Return a call's arguments as a value; text that is no JSON stays text. Decodes until it is no string."""
    value: Any = text
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return value


def _parameters(text: str) -> str | None:
    value = parsed_arguments(text)
    return dumps(value) if isinstance(value, dict | list) else None


def _untaken(call_id: str, taken: set[str]) -> str:
    wanted, number = call_id, 1
    while wanted in taken:
        number += 1
        wanted = f"{call_id}#{number}"
    taken.add(wanted)
    return wanted
