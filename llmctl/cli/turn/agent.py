"""The agent of a turn as the command line names it: by name, by file, or by the chat that is gone on with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.turn import approval
from llmctl.cli.turn import tools as turn_tools
from llmctl.cli.turn.input import Wishes
from llmctl.cli.values import pairs
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.ids import new_id
from llmctl.engine.agents import agents, files, subagents
from llmctl.engine.agents.context import Party
from llmctl.engine.agents.definition import Definition
from llmctl.engine.agents.subagents import Asker
from llmctl.engine.chats import lookup
from llmctl.engine.connections.target import Target
from llmctl.engine.tools import toolset
from llmctl.engine.tools.toolset import Tools
from llmctl.engine.turn.options import Ask, Manner
from llmctl.engine.turn.plan import Plan
from llmctl.store.database import Database, Row
from llmctl.store.records import agents as rows

#: Flags that an agent's definition may say too, and where nobody gave one.
_VALUES = ("schema", "fix", "thinking", "max_cost", "max_steps", "history", "timeout", "retries")


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that is talked to."""

    row: Row
    definition: Definition
    party: Party
    #: What ``-p`` says for this turn alone.
    params: Mapping[str, Any]

    def fill_in(self, app: App) -> None:
        """Let the definition say what no flag does."""
        definition = self.definition
        given = {name: getattr(definition, name) for name in _VALUES}
        if isinstance(given["thinking"], int):
            given["thinking"] = str(given["thinking"])
        app.asking |= {name: value for name, value in given.items() if app.asking.get(name) is None}
        app.asking["fallback"] = app.asking["fallback"] or list(definition.fallback)
        app.asking["tag"] = app.asking["tag"] or definition.tag
        for switch in ("no_stream", "extract"):
            app.asking[switch] = app.asking[switch] or getattr(definition, switch)

    def target(self, app: App, database: Database) -> Target:
        return agents.target_of(database, self.definition, app.env)

    def manner(self, manner: Manner) -> Manner:
        return manner._replace(options={**self.definition.options, **manner.options})

    def ask(self, ask: Ask) -> Ask:
        """Return what is said with the instructions as they are now, unless a flag says others."""
        if ask.system is not None:
            return ask
        return ask._replace(system=agents.instructions(self.definition, {**self.party.metadata, **self.params}))

    def tools(self, app: App, database: Database, plan: Plan) -> Tools:
        """Return its tools, those of the flags, and the agents that it may ask."""
        own = turn_tools.tools(app, database, _permissions(self.definition), writable=not app.asking["dry_run"])
        lent = (plan.manner, plan.keep, plan.origin, plan.around, self.party.depth)
        asker = Asker(database.path, *lent, frozenset(app.asking["approve"]), approval.asker(app))
        asked = subagents.granted(database, self.definition.agents, asker)
        return own.and_also(asked)._replace(agent_id=self.row["id"], agent=self.row["name"])


def chosen(app: App, database: Database, wishes: Wishes, chat: Row | None) -> Agent | None:
    """Return the agent of ``agent run``, or that of the chat, or None for a chat with a model."""
    row = _row(app, database, wishes.agent) if wishes.agent is not None else agents.of_chat(database, chat)
    if row is None:
        return None
    if wishes.agent is None:
        row = files.renewed(database, row, app.env, app.note_once, writable=not app.asking["dry_run"])
    only_file = (
        _definition(app, wishes.agent) if wishes.agent is not None and _is_only_read(app, wishes.agent) else None
    )
    definition = only_file or agents.definition_of(database, row)
    session = rows.session_of_chat(database, chat["id"]) if chat else None
    return _agent(app, database, row, definition, session, pairs(wishes.params, "-p"))


def chat_of(app: App, database: Database, wishes: Wishes) -> Row | None:
    """Return the chat of the session that ``agent run`` goes on with; None for a new session."""
    row = _row(app, database, str(wishes.agent))
    session = _session(database, wishes, row)
    return database.one("SELECT * FROM {chats} WHERE id = ?", (session["chat_id"],)) if session else None


def _agent(
    app: App, database: Database, row: Row, definition: Definition, session: Row | None, params: Mapping[str, Any]
) -> Agent:
    metadata: Mapping[str, Any] = pairs(app.asking["metadata"], "--metadata")
    party = agents.party(database, row, definition, session, metadata=metadata)
    if session is not None:
        last = rows.last_version(database, session["id"])
        if last and last != party.version:
            app.note(
                f'the agent "{row["name"]}" changed since the last turn of this session; '
                f"see: llmctl agent session diff {session['id'][:8]}"
            )
    return Agent(row, definition, party, params)


def _row(app: App, database: Database, ref: str) -> Row:
    writable = not app.asking["dry_run"]
    if not files.is_file(ref):
        return files.renewed(database, rows.get(database, ref), app.env, app.note_once, writable=writable)
    definition = _definition(app, ref)
    if _is_only_read(app, ref):
        return rows.find_named(database, str(definition.name)) or {"id": new_id(), "name": definition.name}
    return files.apply(database, definition, app.env, source=os.path.realpath(ref))


def _is_only_read(app: App, ref: str) -> bool:
    """Tell whether a file is looked at, and nothing of it kept."""
    return bool(app.asking["dry_run"]) and files.is_file(ref)


def _definition(app: App, path: str) -> Definition:
    return files.read(os.path.realpath(path), app.env)


def _session(database: Database, wishes: Wishes, row: Row) -> Row | None:
    if wishes.session:
        session = rows.session(database, wishes.session)
        agents.require_own(session, row, force=wishes.force)
        return session
    if wishes.name:
        return _named(database, wishes.name, row, force=wishes.force)
    if not wishes.continue_:
        return None
    newest = rows.newest_session(database, row["id"])
    if newest is None:
        raise NotFoundError(
            f'the agent "{row["name"]}" has no session to continue', hint=f"begin one: llmctl agent run {row['name']} …"
        )
    return newest


def _named(database: Database, name: str, row: Row, *, force: bool) -> Row | None:
    """Return the session whose chat has the name; None where there is no such chat: it begins."""
    chat = lookup.by_name(database, name)
    if chat is None:
        return None
    session = rows.session_of_chat(database, chat["id"])
    if session is None:
        raise UsageError(f'the chat "{name}" is with a model, not with an agent', hint="choose another name")
    agents.require_own(session, row, force=force)
    return session


def _permissions(definition: Definition) -> dict[str, Any]:
    return dict(map(toolset.parsed, definition.tools))
