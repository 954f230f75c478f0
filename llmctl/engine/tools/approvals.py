"""Approve or deny pending tool calls, from any process. The first decision on a call counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmctl.core import clock
from llmctl.core.errors import DeniedError, InvalidOutputError, NotFoundError, UsageError
from llmctl.core.tools import Tool
from llmctl.engine.connections import trust
from llmctl.engine.tools import authorize, records
from llmctl.engine.tools.toolset import get_tool
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, invocations, tools
from llmctl.store.records.types import InvocationRow


def list_pending(database: Database) -> list[Row]:
    """Return the calls that wait for the user's approval, oldest first, without expired ones."""
    return invocations.list_pending_approvals(database, authorize.pending_cutoff(database))


def approve(
    database: Database,
    row: InvocationRow,
    env: Mapping[str, str],
    *,
    reason: str | None = None,
    always: bool = False,
    arguments: str | None = None,
) -> None:
    """Allow a call: exactly this tool with these arguments. ``always`` also stores a rule for the chat or agent.

    ``arguments`` (JSON text) take the place of the model's. Raises DeniedError if the call has expired, UsageError if
    it is not pending, InvalidOutputError for arguments that the tool does not take.
    """
    tool = _get_tool(database, row)
    if arguments is not None:
        _require_usable_arguments(database, row, tool, arguments)
    decision = _build_decision("allow", reason, arguments)
    decision["fingerprint"] = records.fingerprint_call(tool, row.arguments if arguments is None else arguments)
    if row.created_at < authorize.pending_cutoff(database):
        expired = {"effect": "deny", "by": "expiry", "at": clock.now(), "because": "There was no decision in time."}
        invocations.decide(database, row.id, expired, denied=True)
        raise DeniedError(f'tool call "{row.id[:8]}" expired', hint="see: llmctl settings get pending.expiry")
    is_recorded = trust.approve_call(database, row.id, decision["fingerprint"], env)
    if not (is_recorded and row.status == "pending" and row.decision):  # an approval that did not count until now
        _record_decision(database, row, decision, denied=False)
    if always and tool.id:
        _remember_decision(database, row, tool.id, "allow")
        trust.add_made_tool(database, tool, env)


def describe_untrusted(database: Database, row: InvocationRow, env: Mapping[str, str]) -> str | None:
    """Return what the tool of a call does and which keys it takes, if it came with a file and is not trusted yet."""
    tool = _get_tool(database, row)
    return None if trust.is_tool_trusted(database, tool, env) else trust.describe_tool_use(tool)


def deny(database: Database, row: InvocationRow, *, reason: str | None = None, never: bool = False) -> None:
    """Deny a call; the model gets the reason. ``never`` also stores a rule for the chat or agent."""
    _record_decision(database, row, _build_decision("deny", reason), denied=True)
    if never:
        tool = tools.find(database, row.tool_id or row.name)
        if tool is None:
            raise NotFoundError(f'no tool "{row.name}"', hint="it was deleted; the call itself is denied")
        _remember_decision(database, row, tool.id, "deny")


def get_chat_id(database: Database, row: InvocationRow) -> str:
    """Return the id of the chat of a call. Raises UsageError if the user made it."""
    chat_id = invocations.find_chat_id(database, row.message_id)
    if chat_id is None:
        raise UsageError(f'"{row.id[:8]}" does not belong to a chat')
    return chat_id


def root_chat_of_call(database: Database, row: InvocationRow) -> str:
    """Return the id of the chat to continue: that of the call, or the one in which its sub-agent was called."""
    return root_chat_of_chat(database, get_chat_id(database, row))


def root_chat_of_chat(database: Database, chat_id: str) -> str:
    """Return the id of the chat in which the user called the chain of agents, or of the chat itself."""
    call = invocations.find_subagent_call(database, chat_id)
    return root_chat_of_call(database, call) if call else chat_id


def _get_tool(database: Database, row: InvocationRow) -> Tool:
    """Return the tool of a call. One that is not in the hub is a function of the program that continues the turn."""
    try:
        return get_tool(database, row.tool_id or row.name)
    except NotFoundError:
        if row.tool_id:
            raise
        return Tool(row.name, "function")


def _record_decision(database: Database, row: InvocationRow, decision: dict[str, Any], *, denied: bool) -> None:
    if invocations.decide(database, row.id, decision, denied=denied):
        return
    current = invocations.get(database, row.id)
    if current.status == "pending":
        raise UsageError(
            f'tool call "{row.id[:8]}" is already approved',
            hint=f"continue with: llmctl chat --chat {root_chat_of_call(database, row)[:8]}",
        )
    raise UsageError(f'"{row.id[:8]}" is already {current.status}')


def _require_usable_arguments(database: Database, row: InvocationRow, tool: Tool, arguments: str) -> None:
    chat = chats.find_by_id(database, get_chat_id(database, row))
    agent_id = chat.source_id if chat and chat.type == "agent" else None
    rules = (
        tools.list_active_rules(database, tool.id, chat_id=chat.id if chat else None, agent_id=agent_id)
        if tool.id
        else []
    )
    if problem := authorize.check_edited_arguments(tool, arguments, rules)[1]:
        raise InvalidOutputError(
            f'invalid arguments for "{tool.name}": {problem}',
            hint=f"see: llmctl tool show {tool.name}",
            reason="arguments",
        )


def _build_decision(
    effect: Literal["allow", "deny"], reason: str | None, arguments: str | None = None
) -> dict[str, Any]:
    values = {"effect": effect, "by": "user", "at": clock.now(), "because": reason, "arguments": arguments}
    return {name: value for name, value in values.items() if value}


def _remember_decision(database: Database, row: InvocationRow, tool_id: str, effect: str) -> None:
    chat = chats.find_by_id(database, get_chat_id(database, row))
    agent_id = chat.source_id if chat and chat.type == "agent" else None
    authorize.remember_decision(
        database, tool_id, effect, arguments={}, chat_id=chat.id if chat else None, agent_id=agent_id
    )
