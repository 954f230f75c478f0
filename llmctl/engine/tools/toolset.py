"""Which tools a turn may use, and how freely."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from llmctl.core.chat import ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.tools import PERMISSIONS, Permission, Tool

if TYPE_CHECKING:  # of which a turn without tools needs nothing
    from llmctl.engine.turn.result import ToolRun
    from llmctl.store.database import Database

#: What a person says to a call: this time, from now on, not this time, never again, end the run.
Reply = Literal["once", "always", "no", "never", "stop"]


class Question(NamedTuple):
    """A call that a person is asked about. ``arguments`` is the whole JSON text, ``agent`` a name."""

    name: str
    arguments: str
    description: str = ""
    agent: str | None = None


class Grant(NamedTuple):
    """A tool that a chat or an agent has, and how freely it runs."""

    tool: Tool
    permission: Permission = "user-permitted"


class Tools(NamedTuple):
    """The tools of a turn. Hooks are called in the main thread, around each run."""

    grants: tuple[Grant, ...] = ()
    #: Names that the user allows for this turn (``--approve``); what is denied stays denied.
    approved: frozenset[str] = frozenset()
    #: Asks the person at the terminal; None where there is nobody.
    ask: Callable[[Question], Reply] | None = None
    #: Whose tools these are, for what is remembered: an agent's, or else the chat's.
    agent_id: str | None = None
    agent: str | None = None
    on_start: Callable[[ToolRun], None] | None = None
    on_end: Callable[[ToolRun], None] | None = None

    def __bool__(self) -> bool:
        return bool(self.grants)

    def named(self, name: str) -> Grant | None:
        return next((grant for grant in self.grants if grant.tool.name == name), None)

    def names(self) -> list[str]:
        """Return the names that a model may call."""
        return [grant.tool.name for grant in self.grants if grant.permission != "denied"]

    def specs(self) -> tuple[ToolSpec, ...]:
        """Return the tools as a model is told of them; of what is denied it hears nothing."""
        return tuple(
            ToolSpec(grant.tool.name, grant.tool.description, grant.tool.schema or _NO_ARGUMENTS)
            for grant in self.grants
            if grant.permission != "denied"
        )

    def kept(self) -> dict[str, Permission]:
        """Return what a chat keeps of them: those that are in the hub."""
        return {grant.tool.name: grant.permission for grant in self.grants if grant.tool.id}

    def and_also(self, grants: Iterable[Grant]) -> Tools:
        """Return these and further ones; of two with one name the later counts."""
        found = {grant.tool.name: grant for grant in (*self.grants, *grants)}
        return self._replace(grants=tuple(found.values()))


_NO_ARGUMENTS = {"type": "object", "properties": {}}


def parsed(text: str) -> tuple[str, Permission]:
    """Read ``NAME[:PERMISSION]``; alone it is ``user-permitted``."""
    name, colon, word = text.partition(":")
    if colon and word not in PERMISSIONS:
        raise UsageError(f'no permission "{word}"', hint="automatic, user-permitted or denied; or auto, ask, deny")
    if not name:
        raise UsageError(f'"{text}" names no tool', hint="NAME or NAME:PERMISSION")
    return name, PERMISSIONS[word] if colon else "user-permitted"


def resolve(database: Database, wanted: Mapping[str, Permission], *, writable: bool = True) -> tuple[Grant, ...]:
    """Return the tools of these names (or REFs). Built-in ones need not be added before.

    Raises NotFoundError with near names for one that is nowhere.
    """
    return tuple(Grant(tool_of(database, ref, writable=writable), permission) for ref, permission in wanted.items())


def resumed(database: Database, thread_id: str, tools: Tools) -> Tools:
    """Return these tools and those that the unfinished turn has called already."""
    from llmctl.store.records import invocations

    ids = invocations.tools_of(database, thread_id)
    if not ids:
        return tools
    from llmctl.store.records.tools import as_tool, of_ids

    called = [Grant(as_tool(row)) for row in of_ids(database, ids)]
    return tools.and_also(grant for grant in called if tools.named(grant.tool.name) is None)


def tool_of(database: Database, ref: str, *, writable: bool = True) -> Tool:
    """Return the tool of a name or REF; a built-in one is put into the hub when it is used first."""
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    row = tools.find(database, ref)
    if row is not None:
        return tools.as_tool(row)
    if ref not in BUILTINS:
        raise _unknown(database, ref)
    return _builtin(database, ref, writable)


def unused_builtins(database: Database) -> list[str]:
    """Return the names of the built-in tools that are not in the hub yet."""
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    known = {row["name"] for row in tools.listed(database)}
    return [name for name in BUILTINS if name not in known]


def _builtin(database: Database, name: str, writable: bool) -> Tool:
    from llmctl.core.stored_json import dumps
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    own, data = BUILTINS[name], {"builtin": name}
    if not writable:
        return Tool(name, "builtin", own.description, own.schema, data)
    schema = dumps(own.schema)
    values = {"name": name, "type": "builtin", "description": own.description, "schema": schema, "data": dumps(data)}
    return tools.as_tool(tools.ensure(database, values))


def _unknown(database: Database, ref: str) -> Exception:
    from llmctl.core.errors import NotFoundError
    from llmctl.core.registry import unknown
    from llmctl.store.records import tools
    from llmctl.tools.builtin import BUILTINS

    return unknown("tool", ref, {*(row["name"] for row in tools.listed(database)), *BUILTINS}, error=NotFoundError)
