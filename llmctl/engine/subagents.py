"""Agents as tools of other agents: a call is a turn of its own, in a session of its own, in the same purse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from llmctl.core.errors import PendingError, RejectedError
from llmctl.core.tools import Tool
from llmctl.engine import agents, grants
from llmctl.engine.agents import MOST_DEPTH
from llmctl.engine.asking import Ask, Keep, Manner, Origin, Surroundings
from llmctl.engine.definitions import Definition
from llmctl.engine.grants import Grant, Tools
from llmctl.engine.plan import Plan
from llmctl.engine.turn import Turn
from llmctl.store import agents as rows
from llmctl.store.database import Database
from llmctl.store.opening import open_hub

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


def granted(database: Database, names: Sequence[str], asker: Asker) -> tuple[Grant, ...]:
    """Return a tool for each agent that may be asked. What they may do themselves is asked for each time.

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
    return replace(manner, options=dict(definition.options), **chosen)


def _tool(database: Database, name: str, asker: Asker) -> Tool:
    row = rows.get(database, name)
    data = {"function": _function(row["id"], asker)}
    return Tool(row["name"], "function", row["description"] or f"Ask the agent {row['name']}.", _SCHEMA, data)


def _function(agent_id: str, asker: Asker) -> Callable[[str], str]:
    def ask(prompt: str) -> str:
        # A connection of its own: tools run in threads.
        with closing(open_hub(asker.hub_path, "write")) as database:
            return _answer(database, agent_id, prompt, asker)

    return ask


def _answer(database: Database, agent_id: str, prompt: str, asker: Asker) -> str:
    plan = _plan(database, agent_id, prompt, asker)
    try:
        with Turn(database, plan) as turn:
            for _ in turn.events():
                pass
    except PendingError as error:
        name = plan.party.name if plan.party else ""
        raise RejectedError(f'the agent "{name}" waits: {error.message} ({error.hint})', reason="pending") from error
    response = turn.outcome.response
    return response.message.text if response else ""


def _plan(database: Database, agent_id: str, prompt: str, asker: Asker) -> Plan:
    row = rows.get(database, agent_id)
    definition = agents.definition_of(database, row)
    depth = asker.depth + 1
    party = agents.party(database, row, definition, None, depth=depth)
    manner = fitted(Manner(caps=asker.manner.caps, stream=asker.manner.stream), definition)
    own = replace(asker, depth=depth, manner=manner)
    return Plan(
        chat=None,
        target=agents.target_of(database, definition, asker.around.env),
        ask=Ask(prompt=prompt, system=agents.instructions(definition, {})),
        manner=manner,
        keep=Keep(log=asker.keep.log, without=asker.keep.without, tag=asker.keep.tag or definition.tag),
        origin=asker.origin,
        around=asker.around,
        tools=tools(database, row["id"], row["name"], definition, own),
        party=party,
    )


def tools(database: Database, agent_id: str, name: str, definition: Definition, asker: Asker) -> Tools:
    """Return the tools of an agent, and the agents it may ask."""
    named = dict(grants.parsed(text) for text in definition.tools)
    own = grants.resolve(database, named)
    return Tools((*own, *granted(database, definition.agents, asker)), agent_id=agent_id, agent=name)
