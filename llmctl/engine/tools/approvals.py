"""Decisions on calls that wait, from any shell. Each is made once: the first one counts."""

from __future__ import annotations

from typing import Any, Literal

from llmctl.core import clock
from llmctl.core.errors import DeniedError, NotFoundError, UsageError
from llmctl.core.tools import Tool
from llmctl.engine.tools import authorize, records
from llmctl.engine.tools.toolset import tool_of
from llmctl.store.database import Database, Row
from llmctl.store.records import invocations, tools

#: The call that waits for what is said in a chat: a session of an agent that was asked has the id of the call.
_ASKING = """
SELECT i.* FROM {agent_sessions} s JOIN {tool_invocations} i ON i.id = s.id
WHERE s.chat_id = ? AND i.status IN ('pending', 'running')
"""


def undecided(database: Database) -> list[Row]:
    """Return the calls that wait for a person, oldest first; those that have waited for too long are denied."""
    return invocations.undecided(database, authorize.oldest_pending(database))


def approve(database: Database, row: Row, *, because: str | None = None, always: bool = False) -> None:
    """Allow a call: exactly this tool with these arguments. ``always`` remembers it for the chat or the agent.

    Raises DeniedError for one that has waited for too long, UsageError for one that does not wait.
    """
    tool = _tool(database, row)
    decision = _decision("allow", because) | {"fingerprint": records.fingerprint(tool, row["arguments"])}
    if row["created_at"] < authorize.oldest_pending(database):
        expired = {"effect": "deny", "by": "expiry", "at": clock.now(), "because": "Nobody decided in time."}
        invocations.decide(database, row["id"], expired, denied=True)
        raise DeniedError(f'"{row["id"][:8]}" has waited for too long', hint="the setting pending.expiry says how long")
    _settle(database, row, decision, denied=False)
    if always and tool.id:
        _remember(database, row, tool.id, "allow")


def deny(database: Database, row: Row, *, because: str | None = None, never: bool = False) -> None:
    """Refuse a call; the model is told why. ``never`` remembers it for the chat or the agent."""
    _settle(database, row, _decision("deny", because), denied=True)
    if never:
        tool = tools.find(database, row["tool_id"] or row["name"])
        if tool is None:
            raise NotFoundError(f'the tool "{row["name"]}" is gone', hint="the call itself is denied")
        _remember(database, row, tool["id"], "deny")


def chat_of(database: Database, row: Row) -> str:
    """Return the id of the chat that a call belongs to; UsageError for one that a person made."""
    chat_id = database.value(
        "SELECT t.chat_id FROM {messages} m JOIN {message_threads} t ON t.id = m.thread_id WHERE m.id = ?",
        (row["message_id"],),
    )
    if chat_id is None:
        raise UsageError(f'"{row["id"][:8]}" belongs to no chat')
    return str(chat_id)


def root_of(database: Database, row: Row) -> str:
    """Return the id of the chat to go on with: that of the call, or of the agents' that wait for its agent."""
    return root(database, chat_of(database, row))


def root(database: Database, chat_id: str) -> str:
    """Return the id of the chat in which a person asked the agent that asked, or of the chat itself."""
    asking = database.one(_ASKING, (chat_id,))
    return root_of(database, asking) if asking else chat_id


def _tool(database: Database, row: Row) -> Tool:
    """Return the tool of a call; one that is in no hub is a function of a program, which goes on with it."""
    try:
        return tool_of(database, row["tool_id"] or row["name"])
    except NotFoundError:
        if row["tool_id"]:
            raise
        return Tool(row["name"], "function")


def _settle(database: Database, row: Row, decision: dict[str, Any], *, denied: bool) -> None:
    if invocations.decide(database, row["id"], decision, denied=denied):
        return
    now = invocations.get(database, row["id"])
    if now["status"] == "pending":
        raise UsageError(
            f'"{row["id"][:8]}" is approved already',
            hint=f"go on with: llmctl chat --chat {root_of(database, row)[:8]}",
        )
    raise UsageError(f'"{row["id"][:8]}" does not wait any more: it is {now["status"]}')


def _decision(effect: Literal["allow", "deny"], because: str | None) -> dict[str, Any]:
    found = {"effect": effect, "by": "user", "at": clock.now(), "because": because}
    return {name: value for name, value in found.items() if value}


def _remember(database: Database, row: Row, tool_id: str, effect: str) -> None:
    chat = database.one("SELECT * FROM {chats} WHERE id = ?", (chat_of(database, row),))
    agent_id = chat["source_id"] if chat and chat["type"] == "agent" else None
    authorize.remember(database, tool_id, effect, arguments={}, chat_id=chat["id"] if chat else None, agent_id=agent_id)
