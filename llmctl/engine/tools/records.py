"""The tool calls of a model as rows and as words: what it asked for, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.messages import Message, ToolCall, ToolResult
from llmctl.core.stored_json import dumps, loads
from llmctl.core.tools import Tool
from llmctl.engine.jobs.recovery import TOOL_DIED
from llmctl.engine.tools.toolset import Tools
from llmctl.engine.turn.begin import Staged
from llmctl.engine.turn.result import ToolRun
from llmctl.store.database import Row

#: Characters of a name that a model is told; it made the name up.
_MOST_NAME = 100


class Ending(NamedTuple):
    """How a call ended. ``text`` is what the model is told."""

    status: str
    text: str
    error: str | None = None
    exit_status: int | None = None
    halts: bool = False


def call_rows(message_id: str, calls: Iterable[ToolCall], staged: Staged, step: int, tools: Tools) -> list[Row]:
    """Return a pending row for each call; an id that the provider used twice gets a suffix."""
    taken: set[str] = set()
    now = clock.now()
    rows = []
    for call in calls:
        grant = tools.named(call.name)
        rows.append(
            {
                "id": new_id(),
                "tool_id": grant.tool.id if grant else None,
                "message_id": message_id,
                "tool_call_id": _untaken(call.id, taken),
                "provider_call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "parameters": _parameters(call.arguments),
                "thought_signature": call.metadata.get("thought_signature"),
                "status": "pending",
                "step": step,
                "job_id": staged.job_id,
                "origin": "llmctl",
                "created_at": now,
                "updated_at": now,
            }
        )
    return rows


def run_of(row: Row, ending: Ending | None = None) -> ToolRun:
    """Return a call as it is told to the user."""
    result, status = (ending.text, ending.status) if ending else (None, "pending")
    return ToolRun(row["tool_call_id"], row["name"], row["arguments"], result, status)


def message_of(row: Row, ending: Ending) -> Message:
    """Return the result of a call as the model's message."""
    call_id = row["provider_call_id"] or row["tool_call_id"]
    return Message("tool", (ToolResult(call_id, row["name"], ending.text, is_error=ending.status != "completed"),))


def ending_of(row: Row) -> Ending | None:
    """Return how a call ended, as its row says: in this process or another. None where it waits."""
    if row["status"] == "pending":
        return None
    error = row.get("error")
    match row["status"]:
        case "completed":
            text = row["result"] or ""
        case "denied":
            text = row["result"] or denied_text(loads(row["decision"], {}) if row.get("decision") else {})
        case "failed":
            text = row["result"] or failed_text(row["name"], error or TOOL_DIED)
        case _:
            text = failed_text(row["name"], error or TOOL_DIED)
    status = row["status"] if row["status"] != "running" else "failed"
    return Ending(status, text, error, row.get("exit_status"), halts=bool(row.get("halts")))


def failed_text(name: str, error: str) -> str:
    return f"Error executing tool '{shown_name(name)}': {error}"


def denied_text(decision: Mapping[str, Any]) -> str:
    """Return what a model is told whose call was denied, with the reason where one was given."""
    because = decision.get("because")
    if decision.get("by") == "user":
        return "Action cancelled by user." + (f" {because}" if because else "")
    return "This action is not permitted." + (f" {because}" if because else "")


def unavailable_text(name: str, names: Iterable[str]) -> str:
    """Return what a model is told that calls a tool which is not there."""
    return f"Model tried to call unavailable tool '{shown_name(name)}'. Available tools: [{', '.join(names)}]."


def shown_name(name: str) -> str:
    """Return a name that a model made up, short and without control characters."""
    printable = "".join(c if c.isprintable() else "\ufffd" for c in name[:_MOST_NAME])
    return printable + ("…" if len(name) > _MOST_NAME else "")


def fingerprint(tool: Tool | None, arguments: str) -> str:
    """Return what a decision is about: if one letter of it changes, nobody has decided anything."""
    # A function of this process is known by its name only.
    about = [tool.type, dict(tool.data) if tool.type != "function" else tool.name] if tool else None
    return sha256(dumps([about, arguments]).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def parsed_arguments(text: str) -> Any:
    """Return a call's arguments as a value; text that is no JSON stays text. Decodes until it is no string."""
    value: Any = text
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _parameters(text: str) -> str | None:
    value = parsed_arguments(text)
    try:
        return dumps(value) if isinstance(value, dict | list) else None
    except (ValueError, RecursionError):
        return None


def _untaken(call_id: str, taken: set[str]) -> str:
    wanted, number = call_id, 1
    while wanted in taken:
        number += 1
        wanted = f"{call_id}#{number}"
    taken.add(wanted)
    return wanted
