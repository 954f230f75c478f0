"""Another model takes over where the first one gave nothing. What was asked is in the hub already."""

from __future__ import annotations

from dataclasses import replace

from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.engine.chats import lookup
from llmctl.engine.connections.target import Target
from llmctl.engine.turn.options import Ask
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.result import Outcome
from llmctl.store.database import Database


def is_worth_it(error: LlmctlError, outcome: Outcome) -> bool:
    """Say whether another model may help: this one could not be reached or paid, and nothing of its answer came."""
    nothing = outcome.response is None or not outcome.response.message.parts
    return nothing and (isinstance(error, UnavailableError) or error.reason == "quota")


def next_plan(database: Database, plan: Plan, target: Target, outcome: Outcome) -> Plan:
    """Return the plan with the other model; what was said and kept is not said again."""
    if outcome.chat_id is None:
        return replace(plan, target=target)
    return replace(plan, target=target, ask=Ask(), chat=lookup.by_reference(database, outcome.chat_id))
