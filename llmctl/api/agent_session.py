"""A session of an agent: its class is code, what was said is in the hub."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from llmctl.api import ask_options
from llmctl.api.agent import Agent
from llmctl.api.ask_options import Asking, Confirm, Habits
from llmctl.api.chat import Chat
from llmctl.core.stored_json import dumps
from llmctl.engine.agents import agents, files, subagents
from llmctl.engine.agents import definition as agents_definition
from llmctl.engine.agents.definition import Definition
from llmctl.engine.agents.subagents import Asker
from llmctl.engine.tools import functions
from llmctl.engine.tools.toolset import Grant
from llmctl.engine.turn.hooks import Hooks
from llmctl.engine.turn.plan import Plan
from llmctl.store.database import Database, Row
from llmctl.store.records import agents as rows
from llmctl.store.records import chats

if TYPE_CHECKING:
    from llmctl.api.hub import Hub

#: What an agent's class says of each turn, under the names of :class:`Asking`.
_VALUES = ("schema", "fix", "thinking", "max_cost", "max_steps", "history", "timeout", "retries", "fallback", "tag")


class AgentSession(Chat):
    """A chat with an agent: made by :meth:`Hub.create_agent_session`, found again by :meth:`Hub.load_agent_session`.

    Model, tools, instructions and options are those of the class as it is now; history and metadata come from the
    hub. Each request carries the fingerprint of the definition, with the source of its functions.

    >>> from llmctl import Agent, Hub
    >>> class Support(Agent):
    ...     model = "echo"
    ...     instructions = "You help {{ user }}."
    >>> with Hub(":memory:") as hub:
    ...     session = hub.create_agent_session(Support, metadata={"user": "Ann"})
    ...     answer = session.ask("Where is my order #789?")
    ...     again = hub.load_agent_session(Support, session.id)
    ...     again.messages()[0]["content"]
    'You help Ann.'
    """

    #: None where the agent is the hub's own, and no class.
    _agent: type[Agent] | None
    #: The row of the agent in the hub.
    _row: Row
    _session_id: str

    @classmethod
    def begun(
        cls,
        hub: Hub,
        database: Database,
        agent: type[Agent] | str,
        metadata: Mapping[str, Any],
        columns: Mapping[str, Any],
    ) -> Self:
        """Begin a session in the hub."""
        row = _in_hub(database, agent, hub.env)
        target = agents.target_of(database, agents.definition_of(database, row), hub.env)
        chat = {"source_id": row["id"], "model": target.model, "provider": target.provider.nodellm_id, **columns}
        with database.transaction(durable=True):
            chats.check_name(database, columns.get("name"))
            known = dumps(dict(metadata)) if metadata else None
            session_id = rows.begin_session(database, chat, row["name"], known)
        return cls._of(hub, agent, row, rows.session_record(database, session_id))

    @classmethod
    def loaded(cls, hub: Hub, database: Database, agent: type[Agent] | str, session: str, *, force: bool) -> Self:
        """Find a session in the hub; raise UsageError where it is another agent's."""
        row, found = _in_hub(database, agent, hub.env), rows.session(database, session)
        agents.require_own(found, row, force=force)
        return cls._of(hub, agent, row, found)

    @classmethod
    def _of(cls, hub: Hub, agent: type[Agent] | str, row: Row, session: Row) -> Self:
        kind = None if isinstance(agent, str) else agent
        self = cls(hub, session["chat_id"], Habits({}, (kind(),) if kind else ()))
        self._agent, self._row, self._session_id = kind, row, session["id"]
        return self

    @property
    def id(self) -> str:
        return self._session_id

    @property
    def metadata(self) -> dict[str, Any]:
        """What the session knows, as it is in the hub now."""
        with self._hub.lent() as database:
            return dict(rows.session_record(database, self._session_id)["metadata"] or {})

    def update_metadata(self, **changes: Any) -> dict[str, Any]:
        """Change some of the metadata, whoever changes more of it meanwhile; None takes a key away. Return it."""
        with self._hub.lent() as database:
            return rows.change_metadata(database, self._session_id, changes)

    def with_instructions(self, text: str, *, replace: bool = False) -> Self:
        """Return the same session with more instructions, after those of the class, or instead of them."""
        if replace:
            return self.having(instructions=text)
        return self._with(_added(self._habits, text))

    def confirmed(self, confirm: Confirm | None) -> Self:
        """Return the same session with somebody to ask about calls."""
        return self._with(replace(self._habits, confirm=confirm)) if confirm else self

    def _plan(self, database: Database, chat: Row, prompt: str | None, how: Asking, hooks: Hooks) -> Plan:
        definition = agents.definition_of(database, self._row)
        session = rows.session_record(database, self._session_id)
        own = [one for one in self._agent.tools if not isinstance(one, str)] if self._agent else []
        granted = [ask_options.grant_of(database, one) for one in own]
        party = agents.party(database, self._row, definition, session, functions=_documents(self._agent, granted))
        how = _over(definition, how)
        ask = ask_options.ask_of(prompt, how)
        if ask.system is None:
            told = _told(self._agent, definition, {**party.metadata, **how.get("inputs", {})})
            ask = ask._replace(system="\n".join(filter(None, (told, *self._habits.added))) or None)
        target = agents.target_of(database, definition, self._hub.env)
        plan = replace(ask_options.plan(database, chat, ask, how, target, self._hub.around), party=party)
        named: Asking = {**how, "tools": [*definition.tools, *own, *how.get("tools", ())]}
        plan = ask_options.with_tools(database, plan, named, self._habits.confirm, hooks)
        asker = Asker(database.path, plan.manner, plan.keep, plan.origin, plan.around)
        asked = subagents.granted(database, definition.agents, asker)
        tools = plan.tools.and_also(asked)._replace(agent_id=self._row["id"], agent=self._row["name"])
        return replace(plan, tools=tools)


def _in_hub(database: Database, agent: type[Agent] | str, env: Mapping[str, str]) -> Row:
    """Return the agent's row, brought to what its class or its file says now."""
    if isinstance(agent, str):
        return files.renewed(database, rows.get(database, agent), env, _silent)
    said = agent.words() | {"tools": [one for one in agent.tools if isinstance(one, str)]}
    if agent.has_fixed_instructions() and agent.instructions:
        said["instructions"] = agent.instructions
    if not isinstance(agent.schema, str | None):
        said["schema"] = ask_options.schema_of(agent.schema)
    definition = agents_definition.of_values(said, agent.__qualname__)
    return files.keep_class(database, definition, env, module=agent.__module__, file=_file_of(agent))


def _added(habits: Habits, text: str) -> Habits:
    return replace(habits, added=(*habits.added, text))


def _file_of(agent: type[Agent]) -> str | None:
    try:
        return inspect.getsourcefile(agent)
    except (OSError, TypeError):  # typed in, not read from a file
        return None


def _silent(note: str) -> None:
    """Tell nobody."""


def _told(agent: type[Agent] | None, definition: Definition, metadata: Mapping[str, Any]) -> str | None:
    """Return the instructions: a template is filled in, what a function says is taken as it is."""
    if agent is None or agent.has_fixed_instructions():
        return agents.instructions(definition, metadata)
    return agent.instructed(metadata)


def _over(definition: Definition, how: Asking) -> Asking:
    """Return what is asked for before what the definition says."""
    said = {name: value for name in _VALUES if (value := getattr(definition, name)) is not None}
    given = {name: value for name, value in how.items() if value is not None}
    found: Any = {**said, **given, "options": {**definition.options, **how.get("options", {})}}
    result: Asking = found
    return result


def _documents(agent: type[Agent] | None, granted: list[Grant]) -> dict[str, Any]:
    """Return what the fingerprint has of the class's own functions: schema and source."""
    found: dict[str, Any] = {
        grant.tool.name: {"schema": dict(grant.tool.schema), "source": grant.tool.data["source"]} for grant in granted
    }
    if agent and not agent.has_fixed_instructions():
        raw = inspect.getattr_static(agent, "instructions")
        found["instructions()"] = {"source": functions.source_hash(getattr(raw, "__func__", raw))}
    return found
