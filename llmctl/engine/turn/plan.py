"""Everything a turn is made of, before it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llmctl.core.chat import ChatRequest
from llmctl.core.errors import UsageError
from llmctl.engine.agents.context import Party
from llmctl.engine.chats import attachments
from llmctl.engine.connections.target import Target
from llmctl.engine.tools.toolset import Tools
from llmctl.engine.turn.history import Entry
from llmctl.engine.turn.hooks import Hooks
from llmctl.engine.turn.options import Ask, Keep, Manner, Origin, Surroundings
from llmctl.store.database import Row


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a turn is made of. ``chat`` is None for a new one."""

    chat: Row | None
    target: Target
    ask: Ask
    manner: Manner
    keep: Keep
    origin: Origin
    around: Surroundings
    tools: Tools = field(default_factory=Tools)
    #: The agent that is talked to, if it is one.
    party: Party | None = None
    #: The job that this one's is a part of.
    parent_job_id: str | None = None
    #: What the program around us hears and changes.
    hooks: Hooks = field(default_factory=Hooks)
    #: Called before each wait for more: what was yielded should be visible by then. May raise to end the turn.
    on_idle: Callable[[], None] = lambda: None


def require_talk(target: Target) -> None:
    """Raise UsageError for a connection whose model does not talk."""
    if target.type in ("embedding", "moderation"):
        raise UsageError(
            f'the connection "{target.connection}" is for {target.type}, not for chats',
            hint=f"name a model: -m {target.connection}:MODEL" + ("; or: llmctl embed" * (target.type == "embedding")),
            reason="no_chat",
        )


def request_of(plan: Plan, entries: Iterable[Entry]) -> ChatRequest:
    """Return what will be asked: the turn's options before the alias's and the connection's; null takes one back."""
    options = {**plan.target.options, **plan.target.alias_options, **plan.manner.options}
    return ChatRequest(
        model=plan.target.model,
        messages=attachments.fit((entry.message for entry in entries), plan.target)[0],
        stream=plan.manner.stream,
        options={name: value for name, value in options.items() if value is not None},
        thinking=plan.manner.thinking,
        shows_thinking=plan.manner.shows_thinking,
        tools=plan.tools.specs(),
        schema=plan.manner.schema,
    )
