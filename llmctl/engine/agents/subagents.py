"""Agents as tools of other agents: a call is a turn in its own session, within the budget of the command.

The session has the id of the call. So a call that stopped for an approval or a cost limit, was interrupted, or died
with its process continues where it was when the calling turn continues.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from llmctl.core.errors import BudgetError, DeniedError, LlmctlError, NotFoundError
from llmctl.core.options import TurnOptions
from llmctl.core.tools import Tool
from llmctl.engine.agents import agents, files
from llmctl.engine.agents.agents import MAX_DEPTH
from llmctl.engine.agents.definition import Definition
from llmctl.engine.billing.cost import CostLimits
from llmctl.engine.runtime import AskUser, CallerInfo, RuntimeEnv, ToolGrant, Toolset
from llmctl.engine.tools import toolset
from llmctl.engine.tools.records import ApprovalPending, Suspended
from llmctl.engine.turn import begin
from llmctl.engine.turn.plan import TurnPlan, UserInput, resolve_options
from llmctl.engine.turn.turn import Turn
from llmctl.store.database import Database
from llmctl.store.opening import open_hub
from llmctl.store.records import agents as rows
from llmctl.store.records import chats
from llmctl.store.records.settings import list_changed
from llmctl.store.records.types import SessionRow
from llmctl.tools import Context

_SCHEMA = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "description": "What to ask, with all necessary context."}},
    "required": ["prompt"],
    "additionalProperties": False,
}


#: Options of the calling turn that hold for its sub-agents, too.
_INHERITED = ("no_stream", "no_persist", "tag", "cache", "refresh", "cached_only")


@dataclass(frozen=True, slots=True)
class SubagentContext:
    """What sub-agents inherit from the agent that calls them: of its options, those of :data:`_INHERITED`."""

    hub_path: str
    options: TurnOptions
    log: bool
    cost_limits: CostLimits
    caller: CallerInfo
    runtime: RuntimeEnv
    depth: int = 0
    #: Names that the user approved for this turn, and the function that asks the user on the terminal.
    approved: frozenset[str] = frozenset()
    ask: AskUser | None = None

    @classmethod
    def from_plan(
        cls,
        database: Database,
        plan: TurnPlan,
        *,
        depth: int = 0,
        ask: AskUser | None = None,
    ) -> SubagentContext:
        """Return what the sub-agents of a turn inherit."""
        return cls(
            database.path,
            plan.options,
            plan.log,
            plan.cost_limits,
            plan.caller,
            plan.runtime,
            depth=depth,
            approved=frozenset(plan.options.approve),
            ask=ask,
        )


def subagent_grants(database: Database, names: Sequence[str], parent: SubagentContext) -> tuple[ToolGrant, ...]:
    """Return a tool for each sub-agent; their own tools keep their own permissions.

    Returns none at the maximum depth. Raises NotFoundError for an agent that does not exist.
    """
    if parent.depth + 1 >= MAX_DEPTH:
        return ()
    return tuple(ToolGrant(_build_tool(database, name, parent), "automatic") for name in names)


def agent_toolset(
    database: Database, agent_id: str, name: str, definition: Definition, parent: SubagentContext
) -> Toolset:
    """Return the tools of an agent, including its sub-agents."""
    permissions = dict(toolset.parse_grant(text) for text in definition.turn.tools)
    own = toolset.resolve_grants(database, permissions, is_stored=True)
    subagents = subagent_grants(database, definition.agents, parent)
    return Toolset((*own, *subagents), approved=parent.approved, ask=parent.ask, agent_id=agent_id, agent_name=name)


def _build_tool(database: Database, name: str, parent: SubagentContext) -> Tool:
    row = rows.find(database, name)
    if row is None:
        raise NotFoundError(f'no agent "{name}"', hint="list agents: llmctl agent list")
    # No time limit of its own: that of the calling turn applies.
    data = {"function": _build_function(row.id, parent), "takes_context": True, "timeout": math.inf}
    return Tool(row.name, "function", row.description or f"Ask the agent {row.name}.", _SCHEMA, data)


def _build_function(agent_id: str, parent: SubagentContext) -> Callable[[Context, str], str]:
    def ask(context: Context, prompt: str) -> str:
        # Its own connection: tools run in threads.
        with closing(open_hub(parent.hub_path, "write")) as database:
            return _ask_agent(database, agent_id, prompt, parent, context)

    return ask


def _ask_agent(database: Database, agent_id: str, prompt: str, parent: SubagentContext, context: Context) -> str:
    """Return the answer of a sub-agent; if its session exists already, continue it."""
    session = rows.find_session(database, context.run_id)
    answer = _find_answer(database, session)
    if answer is not None:
        return answer
    plan = _build_plan(database, agent_id, prompt, parent, context, session)
    turn = Turn(database, plan, on_commit=lambda: _raise_if_over(context))
    try:
        with turn:
            for _ in turn.events():
                _raise_if_over(context)
    except (ApprovalPending, BudgetError) as error:  # these stop the calling turns, too
        raise Suspended(error) from error
    except DeniedError as error:
        raise (Suspended(error) if error.reason == "stopped" else error) from error
    response = turn.result.response
    return response.message.text if response else ""


def _raise_if_over(context: Context) -> None:
    """Raise an error if the calling turn has ended."""
    if context.is_over():
        raise LlmctlError("interrupted")


def _find_answer(database: Database, session: SessionRow | None) -> str | None:
    """Return the complete answer that is already in a session, or None."""
    thread = chats.find_thread(database, session.chat_id) if session else None
    if thread is None or begin.find_unfinished(database, thread.id) is not None:
        return None
    last = chats.find_last_message(database, thread.id)
    return str(last.content or "") if last and last.role == "assistant" else None


def _build_plan(
    database: Database,
    agent_id: str,
    prompt: str,
    parent: SubagentContext,
    context: Context,
    session: SessionRow | None,
) -> TurnPlan:
    row = files.refresh_from_file(database, rows.get(database, agent_id), parent.runtime.env, lambda note: None)
    definition = agents.definition_from_row(database, row)
    agent = agents.build_context(database, row, definition, session, depth=parent.depth + 1)
    given = parent.options.only(_INHERITED).over(agents.turn_defaults(definition))
    options = resolve_options(given, list_changed(database), env=parent.runtime.env)
    options = options.replace(timeout=_shorter_timeout(options.timeout, context.timeout_s))
    child = replace(parent, depth=parent.depth + 1, options=options)
    chat = chats.find_by_id(database, session.chat_id) if session else None
    return TurnPlan(
        chat=chat,
        target=agents.resolve_target(database, definition, parent.runtime.env),
        input=UserInput(prompt=None if chat else prompt, system=agents.render_instructions(definition, agent.metadata)),
        options=options,
        log=parent.log,
        cost_limits=parent.cost_limits,
        caller=parent.caller,
        runtime=parent.runtime,
        tools=agent_toolset(database, row.id, row.name, definition, child),
        agent=agent if session else agent.replace(session_id=context.run_id),
        parent_job_id=context.job_id,
    )


def _shorter_timeout(limit_s: float | None, remaining_s: float) -> float | None:
    return min(limit_s or math.inf, remaining_s) if limit_s or remaining_s < math.inf else None
