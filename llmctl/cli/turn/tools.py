"""The tools of a turn as the command line gives them: ``--tool``, ``--approve``, and what the chat keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.cli.app import App
from llmctl.core.errors import NotFoundError
from llmctl.engine.tools import toolset
from llmctl.engine.tools.toolset import Tools
from llmctl.store.database import Database


def tools(app: App, database: Database, kept: Mapping[str, Any] | None, *, writable: bool = True) -> Tools:
    """Return the tools of a turn; what a flag says of a tool comes before what the chat keeps."""
    named = dict(toolset.parsed(text) for text in app.asking.get("tool") or ())
    approved = frozenset(app.asking.get("approve") or ())
    if not named and not kept and not approved:
        return Tools()
    found = list(toolset.resolve(database, named, writable=writable))
    known = {grant.tool.name for grant in found}
    earlier = [
        grant for name in kept or {} if name not in known for grant in _kept(app, database, name, kept, writable)
    ]
    from llmctl.cli.turn.approval import asker

    return Tools(grants=(*earlier, *found), approved=approved, ask=asker(app))


def _kept(app: App, database: Database, name: str, kept: Any, writable: bool) -> tuple[toolset.Grant, ...]:
    try:
        return toolset.resolve(database, {name: kept[name]}, writable=writable)
    except NotFoundError:
        app.note(f'the tool "{name}" of this chat is gone')
        return ()
