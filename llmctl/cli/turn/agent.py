"""Resolve the agent of a turn: by name, by file, or from the chat that is continued."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.argument_parsers import parse_pairs
from llmctl.cli.turn import approval
from llmctl.cli.turn import tools as turn_tools
from llmctl.cli.turn.input import ChatArgs
from llmctl.core import clock
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.ids import new_id
from llmctl.engine.agents import agents, files, subagents
from llmctl.engine.agents.context import AgentContext
from llmctl.engine.agents.definition import Definition
from llmctl.engine.agents.subagents import SubagentContext
from llmctl.engine.connections.target import Target
from llmctl.engine.tools import toolset
from llmctl.engine.tools.toolset import Toolset
from llmctl.engine.turn.options import CallOptions, TurnPlan, UserInput
from llmctl.store.database import Database
from llmctl.store.records import agents as rows
from llmctl.store.records import chats
from llmctl.store.records.types import AgentRow, ChatRow, SessionRow

#: Flags whose default comes from the agent's definition.
_DEFINITION_FLAGS = ("schema", "fix", "thinking", "max_cost", "max_steps", "history", "timeout", "retries")


@dataclass(frozen=True, slots=True)
class TurnAgent:
    """The agent a turn runs with."""

    row: AgentRow
    definition: Definition
    party: AgentContext
    #: Instruction parameters of ``-p``, for this turn only.
    params: Mapping[str, Any]

    def apply_defaults(self, app: App) -> None:
        """Fill in flags that were not given from the definition."""
        definition = self.definition
        values = {name: getattr(definition, name) for name in _DEFINITION_FLAGS}
        if isinstance(values["thinking"], int):
            values["thinking"] = str(values["thinking"])
        app.turn_flags |= {name: value for name, value in values.items() if app.turn_flags.get(name) is None}
        app.turn_flags["fallback"] = app.turn_flags["fallback"] or list(definition.fallback)
        app.turn_flags["tag"] = app.turn_flags["tag"] or definition.tag
        for switch in ("no_stream", "extract"):
            app.turn_flags[switch] = app.turn_flags[switch] or getattr(definition, switch)

    def resolve_target(self, app: App, database: Database) -> Target:
        return agents.resolve_target(database, self.definition, app.env)

    def merge_call_options(self, call: CallOptions) -> CallOptions:
        return call._replace(options={**self.definition.options, **call.options})

    def add_instructions(self, user_input: UserInput) -> UserInput:
        """Return the input with the rendered instructions, unless a flag sets the system prompt."""
        if user_input.system is not None:
            return user_input
        return user_input._replace(
            system=agents.render_instructions(self.definition, {**self.party.metadata, **self.params})
        )

    def build_toolset(self, app: App, database: Database, plan: TurnPlan) -> Toolset:
        """Return the agent's tools, those of the flags, and its sub-agents."""
        own_toolset = turn_tools.build_toolset(
            app, database, _tool_permissions(self.definition), writable=not app.turn_flags["dry_run"]
        )
        inherited = (plan.call_options, plan.persist, plan.caller, plan.runtime, self.party.depth)
        subagent_context = SubagentContext(
            database.path, *inherited, frozenset(app.turn_flags["approve"]), approval.build_approval_prompt(app)
        )
        grants = subagents.subagent_grants(database, self.definition.agents, subagent_context)
        return own_toolset.with_grants(grants)._replace(agent_id=self.row.id, agent_name=self.row.name)


def select_agent(app: App, database: Database, args: ChatArgs, chat: ChatRow | None) -> TurnAgent | None:
    """Return the agent of ``agent run`` or of the chat; None for a chat with a model."""
    row = (
        _load_agent_row(app, database, args.agent) if args.agent is not None else agents.find_chat_agent(database, chat)
    )
    if row is None:
        return None
    if args.agent is None:
        row = files.refresh_from_file(database, row, app.env, app.note_once, writable=not app.turn_flags["dry_run"])
    file_definition = (
        _read_definition(app, args.agent) if args.agent is not None and _is_dry_run_file(app, args.agent) else None
    )
    definition = file_definition or agents.definition_from_row(database, row)
    session = rows.find_chat_session(database, chat.id) if chat else None
    return _build_agent(app, database, row, definition, session, parse_pairs(args.params, "-p"))


def find_session_chat(app: App, database: Database, args: ChatArgs) -> ChatRow | None:
    """Return the chat of the session that ``agent run`` continues; None for a new session."""
    row = _load_agent_row(app, database, str(args.agent))
    session = _find_session(database, args, row)
    return chats.find_by_id(database, session.chat_id) if session else None


def _build_agent(
    app: App,
    database: Database,
    row: AgentRow,
    definition: Definition,
    session: SessionRow | None,
    params: Mapping[str, Any],
) -> TurnAgent:
    metadata: Mapping[str, Any] = parse_pairs(app.turn_flags["metadata"], "--metadata")
    party = agents.build_context(database, row, definition, session, metadata=metadata)
    if session is not None:
        last = rows.last_agent_version(database, session.id)
        if last and last != party.version:
            app.note(
                f'agent "{row.name}" changed since the last turn of this session; '
                f"show changes: llmctl agent session diff {session.id[:8]}"
            )
    return TurnAgent(row, definition, party, params)


def _load_agent_row(app: App, database: Database, ref: str) -> AgentRow:
    writable = not app.turn_flags["dry_run"]
    if not files.is_file_ref(ref):
        return files.refresh_from_file(database, rows.get(database, ref), app.env, app.note_once, writable=writable)
    definition = _read_definition(app, ref)
    if _is_dry_run_file(app, ref):
        return rows.find_by_name(database, str(definition.name)) or _unsaved_agent(str(definition.name))
    return files.apply_definition(database, definition, app.env, source=os.path.realpath(ref))


def _unsaved_agent(name: str) -> AgentRow:
    now = clock.now()
    return AgentRow(id=new_id(), name=name, created_at=now, updated_at=now)


def _is_dry_run_file(app: App, ref: str) -> bool:
    """Return whether the agent is a file in a dry run: it is read, but not stored."""
    return bool(app.turn_flags["dry_run"]) and files.is_file_ref(ref)


def _read_definition(app: App, path: str) -> Definition:
    return files.read_definition(os.path.realpath(path), app.env)


def _find_session(database: Database, args: ChatArgs, row: AgentRow) -> SessionRow | None:
    if args.session:
        session = rows.get_session(database, args.session)
        agents.require_owner(session, row, force=args.force)
        return session
    if args.name:
        return _find_named_session(database, args.name, row, force=args.force)
    if not args.continue_:
        return None
    newest = rows.find_newest_session(database, row.id)
    if newest is None:
        raise NotFoundError(
            f'agent "{row.name}" has no session to continue', hint=f"start one: llmctl agent run {row.name}"
        )
    return newest


def _find_named_session(database: Database, name: str, row: AgentRow, *, force: bool) -> SessionRow | None:
    """Return the session whose chat has the name; None if there is no such chat yet."""
    chat = chats.find_by_name(database, name)
    if chat is None:
        return None
    session = rows.find_chat_session(database, chat.id)
    if session is None:
        raise UsageError(f'chat "{name}" belongs to a model, not to an agent', hint="choose another name")
    agents.require_owner(session, row, force=force)
    return session


def _tool_permissions(definition: Definition) -> dict[str, Any]:
    return dict(map(toolset.parse_grant, definition.tools))
