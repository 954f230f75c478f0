"""Resolve the agent of a turn: by name, by file, or from the chat that is continued."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.turn import approval
from llmctl.cli.turn.input import ChatArgs
from llmctl.core import clock
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.options import TurnOptions, parse_pairs
from llmctl.core.stored_values import new_id
from llmctl.engine.agents import agents, files, subagents
from llmctl.engine.agents.definition import Definition
from llmctl.engine.agents.subagents import SubagentContext
from llmctl.engine.connections.target import Target
from llmctl.engine.runtime import AgentContext, Toolset
from llmctl.engine.tools import toolset
from llmctl.engine.turn.plan import TurnPlan, UserInput
from llmctl.store.database import Database
from llmctl.store.records import agents as rows
from llmctl.store.records import chats
from llmctl.store.records.types import AgentRow, ChatRow, SessionRow


@dataclass(frozen=True, slots=True)
class TurnAgent:
    """The agent a turn runs with."""

    row: AgentRow
    definition: Definition
    party: AgentContext
    #: Instruction parameters of ``-p``, for this turn only.
    params: Mapping[str, Any]

    def defaults(self) -> TurnOptions:
        """Return the options of the definition that flags override."""
        return agents.turn_defaults(self.definition)

    def resolve_target(self, app: App, database: Database) -> Target:
        return agents.resolve_target(database, self.definition, app.env)

    def add_instructions(self, user_input: UserInput) -> UserInput:
        """Return the input with the rendered instructions, unless a flag sets the system prompt."""
        if user_input.system is not None:
            return user_input
        return user_input.replace(
            system=agents.render_instructions(self.definition, {**self.party.metadata, **self.params})
        )

    def build_toolset(self, app: App, database: Database, plan: TurnPlan) -> Toolset:
        """Return the agent's tools, those of the flags, and its sub-agents."""
        options, ask = plan.options, approval.build_approval_prompt(app.console)
        own_toolset = toolset.build_toolset(
            database,
            options.tools,
            dict(map(toolset.parse_grant, self.definition.turn.tools)),
            approved=options.approve,
            note=app.console.note,
            writable=not options.dry_run,
        ).replace(ask=ask)
        subagent_context = SubagentContext.from_plan(database, plan, depth=self.party.depth, ask=ask)
        grants = subagents.subagent_grants(database, self.definition.agents, subagent_context)
        return own_toolset.with_grants(grants).replace(agent_id=self.row.id, agent_name=self.row.name)


def select_agent(
    app: App, database: Database, args: ChatArgs, options: TurnOptions, chat: ChatRow | None
) -> TurnAgent | None:
    """Return the agent of ``agent run`` or of the chat; None for a chat with a model."""
    writable = not options.dry_run
    file_definition = None
    if args.agent is None:
        row = agents.find_chat_agent(database, chat)
        if row is None:
            return None
        row = files.refresh_from_file(database, row, app.env, app.console.note_once, writable=writable)
    else:
        row = _load_agent_row(app, database, args.agent, writable=writable)
        if not writable and files.is_file_ref(args.agent):
            file_definition = _read_definition(app, args.agent)
    definition = file_definition or agents.definition_from_row(database, row)
    session = rows.find_chat_session(database, chat.id) if chat else None
    params = parse_pairs(args.params, "--param")
    party = agents.build_context(database, row, definition, session, metadata=options.metadata)
    if session is not None:
        last = rows.last_agent_version(database, session.id)
        if last and last != party.version:
            app.console.note(
                f'agent "{row.name}" changed since the last turn of this session; '
                f"show changes: llmctl agent session diff {session.id[:8]}"
            )
    return TurnAgent(row, definition, party, params)


def find_session_chat(app: App, database: Database, args: ChatArgs, options: TurnOptions) -> ChatRow | None:
    """Return the chat of the session that ``agent run`` continues; None for a new session."""
    row = _load_agent_row(app, database, str(args.agent), writable=not options.dry_run)
    session = _find_session(database, args, row)
    return chats.find_by_id(database, session.chat_id) if session else None


def _load_agent_row(app: App, database: Database, ref: str, *, writable: bool) -> AgentRow:
    """Return the row of an agent; unless ``writable``, an agent file is read, but not stored."""
    if not files.is_file_ref(ref):
        return files.refresh_from_file(
            database, rows.get(database, ref), app.env, app.console.note_once, writable=writable
        )
    definition = _read_definition(app, ref)
    if not writable:
        return rows.find_by_name(database, str(definition.name)) or _unsaved_agent(str(definition.name))
    return files.apply_definition(database, definition, app.env, source=os.path.realpath(ref))


def _unsaved_agent(name: str) -> AgentRow:
    now = clock.now()
    return AgentRow(id=new_id(), name=name, created_at=now, updated_at=now)


def _read_definition(app: App, path: str) -> Definition:
    return files.read_definition(os.path.realpath(path), app.env)


def _find_session(database: Database, args: ChatArgs, row: AgentRow) -> SessionRow | None:
    if args.session and args.session != "last":
        session = rows.get_session(database, args.session)
        agents.require_owner(session, row, force=args.force)
        return session
    if args.name:
        chat = chats.find_by_name(database, args.name)
        return _get_chat_session(database, chat, row, force=args.force) if chat else None
    if args.chat and args.chat != "last":
        return _get_chat_session(database, chats.get(database, args.chat), row, force=args.force)
    if not (args.continue_ or args.session or args.chat):
        return None
    newest = rows.find_newest_session(database, row.id)
    if newest is None:
        raise NotFoundError(
            f'agent "{row.name}" has no session to continue', hint=f"start one: llmctl agent run {row.name}"
        )
    return newest


def _get_chat_session(database: Database, chat: ChatRow, row: AgentRow, *, force: bool) -> SessionRow:
    """Return the session of a chat; raise UsageError if the chat is with a model, or with another agent."""
    session = rows.find_chat_session(database, chat.id) if chat.type == "agent" else None
    if session is None:
        ref = chat.name or chat.id[:8]
        raise UsageError(
            f'chat "{ref}" is not an agent session', hint=f"make it one: llmctl chats edit {ref} --agent {row.name}"
        )
    agents.require_owner(session, row, force=force)
    return session
