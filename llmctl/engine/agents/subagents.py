"""Agents as tools of other agents: a call is a turn of its own, in a session of its own, in the same purse.

The session has the id of the call. So a call that stopped at a permission or a cap, was interrupted or died with its
process is gone on with where it was, when the turn that asked is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from llmctl.core.errors import BudgetError, DeniedError, LlmctlError, NotFoundError
from llmctl.core.tools import Tool
from llmctl.engine.agents import agents, files
from llmctl.engine.agents.agents import MOST_DEPTH
from llmctl.engine.agents.definition import Definition
from llmctl.engine.tools import toolset
from llmctl.engine.tools.suspend import Parked, WaitsForPerson
from llmctl.engine.tools.toolset import Grant, Question, Reply, Tools
from llmctl.engine.turn import resume
from llmctl.engine.turn.options import Ask, Keep, Manner, Origin, Surroundings
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.turn import Turn
from llmctl.store.database import Database, Row
from llmctl.store.opening import open_hub
from llmctl.store.records import agents as rows
from llmctl.store.records import threads
from llmctl.tools import Context

_SCHEMA = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "description": "What to ask, with all that has to be known."}},
    "required": ["prompt"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Asker:
    """What an agent lends to those that it asks."""

    hub_path: str
    manner: Manner
    keep: Keep
    origin: Origin
    around: Surroundings
    depth: int = 0
    #: Names that the user allows for this turn, and what asks the person at the terminal.
    approved: frozenset[str] = frozenset()
    ask: Callable[[Question], Reply] | None = None


def granted(database: Database, names: Sequence[str], asker: Asker) -> tuple[Grant, ...]:
    """Return a tool for each agent that may be asked. What they may do themselves is asked for as in their own chats.

    None where agents ask agents too deep already. Raises NotFoundError for one that is not there.
    """
    if asker.depth + 1 >= MOST_DEPTH:
        return ()
    return tuple(Grant(_tool(database, name, asker), "automatic") for name in names)


def fitted(manner: Manner, definition: Definition) -> Manner:
    """Return the manner of a turn with the agent's own words, where its caller has said nothing else."""
    own: dict[str, Any] = {
        "thinking": definition.thinking,
        "schema": definition.schema,
        "fix": definition.fix,
        "max_steps": definition.max_steps,
        "history": definition.history,
        "timeout_s": definition.timeout,
        "retries": definition.retries,
    }
    chosen = {name: value for name, value in own.items() if value is not None}
    return manner._replace(options=dict(definition.options), **chosen)


def _tool(database: Database, name: str, asker: Asker) -> Tool:
    row = rows.find(database, name)
    if row is None:
        hint = "take it from those that may be asked: llmctl agent detach NAME " + name
        raise NotFoundError(f'the agent "{name}", which this one may ask, is gone', hint=hint)
    # It takes as long as it takes: the time of the turn that asks bounds it.
    data = {"function": _function(row["id"], asker), "lends": True, "timeout": math.inf}
    return Tool(row["name"], "function", row["description"] or f"Ask the agent {row['name']}.", _SCHEMA, data)


def _function(agent_id: str, asker: Asker) -> Callable[[Context, str], str]:
    def ask(context: Context, prompt: str) -> str:
        # A connection of its own: tools run in threads.
        with closing(open_hub(asker.hub_path, "write")) as database:
            return _answer(database, agent_id, prompt, asker, context)

    return ask


def _answer(database: Database, agent_id: str, prompt: str, asker: Asker, context: Context) -> str:
    """Return what the agent says; where it began before, go on with that. The session has the id of the call."""
    session = rows.session_of_call(database, context.run_id)
    said = _said(database, session)
    if said is not None:
        return said
    turn = Turn(database, _plan(database, agent_id, prompt, asker, context, session))
    try:
        with turn:
            for _ in turn.events():
                _go_on(context)
    except (WaitsForPerson, BudgetError) as error:  # which stop the turns of all who asked
        raise Parked(error) from error
    except DeniedError as error:
        raise (Parked(error) if error.reason == "stopped" else error) from error
    response = turn.outcome.response
    return response.message.text if response else ""


def _go_on(context: Context) -> None:
    """Raise where the turn of those who asked is over."""
    if context.is_over():
        raise LlmctlError("interrupted")


def _said(database: Database, session: Row | None) -> str | None:
    """Return the answer that is in a session already; None where there is none, or it is not complete."""
    thread = threads.of_chat(database, session["chat_id"]) if session else None
    if thread is None or resume.find(database, thread["id"]) is not None:
        return None
    last = threads.last(database, thread["id"])
    return str(last["content"] or "") if last and last["role"] == "assistant" else None


def _plan(database: Database, agent_id: str, prompt: str, asker: Asker, context: Context, session: Row | None) -> Plan:
    row = files.renewed(database, rows.get(database, agent_id), asker.around.env, lambda note: None)
    definition = agents.definition_of(database, row)
    depth = asker.depth + 1
    party = agents.party(database, row, definition, session, depth=depth)
    manner = fitted(Manner(caps=asker.manner.caps, stream=asker.manner.stream), definition)
    manner = manner._replace(timeout_s=_sooner(manner.timeout_s, context.timeout_s))
    own = replace(asker, depth=depth, manner=manner)
    chat = database.one("SELECT * FROM {chats} WHERE id = ?", (session["chat_id"],)) if session else None
    return Plan(
        chat=chat,
        target=agents.target_of(database, definition, asker.around.env),
        ask=Ask(prompt=None if chat else prompt, system=agents.instructions(definition, party.metadata)),
        manner=manner,
        keep=Keep(log=asker.keep.log, without=asker.keep.without, tag=asker.keep.tag or definition.tag),
        origin=asker.origin,
        around=asker.around,
        tools=tools(database, row["id"], row["name"], definition, own),
        party=party if session else party._replace(session_id=context.run_id),
        parent_job_id=context.job_id,
        on_idle=lambda: _go_on(context),
    )


def _sooner(limit_s: float | None, remaining_s: float) -> float | None:
    return min(limit_s or math.inf, remaining_s) if limit_s or remaining_s < math.inf else None


def tools(database: Database, agent_id: str, name: str, definition: Definition, asker: Asker) -> Tools:
    """Return the tools of an agent, and the agents it may ask."""
    named = dict(toolset.parsed(text) for text in definition.tools)
    own = toolset.resolve(database, named)
    asked = granted(database, definition.agents, asker)
    return Tools((*own, *asked), approved=asker.approved, ask=asker.ask, agent_id=agent_id, agent=name)
