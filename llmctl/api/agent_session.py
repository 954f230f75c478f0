"""An agent session: behavior comes from the class, history from the hub."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from llmctl.api import ask_options
from llmctl.api.agent import Agent
from llmctl.api.ask_options import AskOptions, ChatDefaults, Confirm
from llmctl.api.chat import Chat
from llmctl.api.runtime import Runtime
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.agents import agents, files, subagents
from llmctl.engine.agents import definition as agents_definition
from llmctl.engine.agents.definition import Definition
from llmctl.engine.agents.subagents import SubagentContext
from llmctl.engine.runtime import ToolGrant
from llmctl.engine.tools import toolset
from llmctl.engine.turn.plan import Hooks, TurnPlan
from llmctl.store.database import Database
from llmctl.store.records import agents as rows
from llmctl.store.records import chats
from llmctl.store.records.types import AgentRow, ChatRow, SessionRow


class AgentSession(Chat):
    """A chat with an agent, from :meth:`Hub.create_agent_session` or :meth:`Hub.load_agent_session`.

    Model, tools, instructions and options come from the class as it is now; history and metadata from the hub. Each
    request records the fingerprint of the definition, including the source of its functions.

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

    #: None if the agent is defined in the hub, not by a class.
    _agent: type[Agent] | None
    #: The agent's row in the hub.
    _row: AgentRow
    _session_id: str

    @classmethod
    def _create(
        cls,
        runtime: Runtime,
        database: Database,
        agent: type[Agent] | str,
        metadata: Mapping[str, Any],
        columns: Mapping[str, Any],
    ) -> Self:
        """Create a session in the hub."""
        row = _sync_agent(database, agent, runtime.env)
        target = agents.resolve_target(database, agents.definition_from_row(database, row), runtime.env)
        chat = {"source_id": row.id, "model": target.model, "provider": target.provider.nodellm_id, **columns}
        with database.transaction(durable=True):
            chats.require_free_name(database, columns.get("name"))
            stored = dumps(dict(metadata)) if metadata else None
            session_id = rows.add_session(database, chat, row.name, stored)
        return cls._from_row(runtime, agent, row, rows.get_session(database, session_id))

    @classmethod
    def _load(
        cls, runtime: Runtime, database: Database, agent: type[Agent] | str, session: str, *, force: bool
    ) -> Self:
        """Load a session; raise UsageError if it belongs to another agent, unless ``force``."""
        row, found = _sync_agent(database, agent, runtime.env), rows.get_session(database, session)
        try:
            agents.require_owner(found, row, force=force)
        except UsageError as error:
            error.hint = "pass force=True to continue it with this agent"
            raise
        return cls._from_row(runtime, agent, row, found)

    @classmethod
    def _from_row(cls, runtime: Runtime, agent: type[Agent] | str, row: AgentRow, session: SessionRow) -> Self:
        kind = None if isinstance(agent, str) else agent
        self = cls(runtime, session.chat_id, ChatDefaults({}, (kind(),) if kind else ()))
        self._agent, self._row, self._session_id = kind, row, session.id
        return self

    @property
    def id(self) -> str:
        return self._session_id

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's metadata, as it is in the hub now."""
        with self._runtime.connection() as database:
            return dict(loads(rows.get_session(database, self._session_id).metadata, {}))

    def update_metadata(self, **changes: Any) -> dict[str, Any]:
        """Update keys of the metadata, safe against concurrent updates; None removes a key. Return all of it."""
        with self._runtime.connection() as database:
            return rows.update_session_metadata(database, self._session_id, changes)

    def with_instructions(self, text: str, *, replace: bool = False) -> Self:
        """Return the same session with instructions added to those of the class, or in their place."""
        if replace:
            return self.having(instructions=text)
        return self._copy_with(_add_instructions(self._defaults, text))

    def confirmed(self, confirm: Confirm | None) -> Self:
        """Return the same session with a callback that confirms tool calls."""
        return self._copy_with(replace(self._defaults, confirm=confirm)) if confirm else self

    def _build_plan(
        self, database: Database, chat: ChatRow, prompt: str | None, how: AskOptions, hooks: Hooks
    ) -> TurnPlan:
        definition = agents.definition_from_row(database, self._row)
        session = rows.get_session(database, self._session_id)
        own = [one for one in self._agent.tools if not isinstance(one, str)] if self._agent else []
        grants = [grant for one in own for grant in ask_options.parse_tool(database, one)]
        context = agents.build_context(
            database, self._row, definition, session, functions=_function_documents(self._agent, grants)
        )
        user_input = ask_options.parse_prompt(prompt, how)
        if user_input.system is None:
            instructions = _render_instructions(self._agent, definition, {**context.metadata, **how.get("inputs", {})})
            user_input = user_input.replace(
                system="\n".join(filter(None, (instructions, *self._defaults.extra_instructions))) or None
            )
        plan = ask_options.build_plan(
            database,
            chat,
            user_input,
            ask_options.to_turn_options(how).over(agents.turn_defaults(definition)),
            self._runtime.runtime_env,
            own=lambda: agents.resolve_target(database, definition, self._runtime.env),
        )
        plan = plan.replace(agent=context)
        requested = [*definition.turn.tools, *own, *how.get("tools", ())]
        plan = ask_options.add_tools(database, plan, requested, self._defaults.confirm, hooks)
        subagent_context = SubagentContext.from_plan(database, plan)
        subagent_grants = subagents.subagent_grants(database, definition.agents, subagent_context)
        tools = plan.tools.with_grants(subagent_grants).replace(agent_id=self._row.id, agent_name=self._row.name)
        return plan.replace(tools=tools)


def _sync_agent(database: Database, agent: type[Agent] | str, env: Mapping[str, str]) -> AgentRow:
    """Return the agent's row, updated from its class or file."""
    if isinstance(agent, str):
        return files.refresh_from_file(database, rows.get(database, agent), env, _discard_note)
    defaults = agent.words() | {"tools": [one for one in agent.tools if isinstance(one, str)]}
    if agent.has_fixed_instructions() and agent.instructions:
        defaults["instructions"] = agent.instructions
    if not isinstance(agent.schema, str | None):
        defaults["schema"] = ask_options.parse_schema(agent.schema)
    definition = agents_definition.from_values(defaults, agent.__qualname__)
    return files.upsert_class(database, definition, env, module=agent.__module__, file=_file_of(agent))


def _add_instructions(defaults: ChatDefaults, text: str) -> ChatDefaults:
    return replace(defaults, extra_instructions=(*defaults.extra_instructions, text))


def _file_of(agent: type[Agent]) -> str | None:
    try:
        return inspect.getsourcefile(agent)
    except (OSError, TypeError):  # defined interactively
        return None


def _discard_note(note: str) -> None:
    """Ignore a note."""


def _render_instructions(agent: type[Agent] | None, definition: Definition, metadata: Mapping[str, Any]) -> str | None:
    """Return the instructions: a template is rendered, the result of a function is used as it is."""
    if agent is None or agent.has_fixed_instructions():
        return agents.render_instructions(definition, metadata)
    return agent.instructed(metadata)


def _function_documents(agent: type[Agent] | None, grants: list[ToolGrant]) -> dict[str, Any]:
    """Return schema and source of the class's functions, for the fingerprint."""
    found: dict[str, Any] = {
        grant.tool.name: {"schema": dict(grant.tool.schema), "source": grant.tool.data["source"]} for grant in grants
    }
    if agent and not agent.has_fixed_instructions():
        raw = inspect.getattr_static(agent, "instructions")
        found["instructions()"] = {"source": toolset.source_hash(getattr(raw, "__func__", raw))}
    return found
