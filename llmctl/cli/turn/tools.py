"""Build the toolset of a turn from ``--tool``, ``--approve`` and the tools of the chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.cli.app import App
from llmctl.core.errors import NotFoundError
from llmctl.engine.tools import toolset
from llmctl.engine.tools.toolset import Toolset
from llmctl.store.database import Database


def build_toolset(
    app: App, database: Database, chat_tools: Mapping[str, Any] | None, *, writable: bool = True
) -> Toolset:
    """Return the tools of a turn; a flag overrides the chat's permission for a tool."""
    named_tools = dict(toolset.parse_grant(text) for text in app.turn_flags.get("tool") or ())
    approved = frozenset(app.turn_flags.get("approve") or ())
    if not named_tools and not chat_tools and not approved:
        return Toolset()
    grants = list(toolset.resolve_grants(database, named_tools, writable=writable))
    names = {grant.tool.name for grant in grants}
    chat_grants = [
        grant
        for name in chat_tools or {}
        if name not in names
        for grant in _resolve_chat_tool(app, database, name, chat_tools, writable)
    ]
    from llmctl.cli.turn.approval import build_approval_prompt

    return Toolset(grants=(*chat_grants, *grants), approved=approved, ask=build_approval_prompt(app))


def _resolve_chat_tool(
    app: App, database: Database, name: str, chat_tools: Any, writable: bool
) -> tuple[toolset.ToolGrant, ...]:
    try:
        return toolset.resolve_grants(database, {name: chat_tools[name]}, writable=writable)
    except NotFoundError:
        app.note(f'tool "{name}" of this chat no longer exists')
        return ()
