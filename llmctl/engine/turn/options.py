"""What one turn is made of before it begins: input, options, and the hooks of the program around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmctl.core.chat import ChatRequest, ChatResponse
from llmctl.core.errors import UsageError
from llmctl.core.messages import File, Message, Text
from llmctl.engine.agents.context import AgentContext
from llmctl.engine.billing.budget import CostLimits
from llmctl.engine.connections.target import Target
from llmctl.engine.events import ToolEvent
from llmctl.engine.runtime import CallerInfo, RuntimeEnv
from llmctl.engine.tools.toolset import Toolset
from llmctl.store.records.types import ChatRow


class UserInput(NamedTuple):
    """What the user says. Without prompt and messages the turn resumes what the rows say is unfinished."""

    prompt: str | None = None
    files: tuple[File, ...] = ()
    system: str | None = None
    #: A conversation to start with, oldest first; its last message is the one to answer.
    messages: tuple[Message, ...] = ()

    def to_messages(self) -> tuple[Message, ...]:
        """Return the messages that the turn adds to the conversation, oldest first."""
        system = () if self.system is None else (Message.from_text("system", self.system),)
        if self.prompt is None and not self.files:
            return (*system, *self.messages)
        text = (Text(self.prompt),) if self.prompt else ()
        return (*system, *self.messages, Message("user", (*text, *self.files)))

    @property
    def instructions(self) -> str | None:
        """The system prompt from now on, None where it does not change."""
        return next((m.text for m in reversed(self.to_messages()) if m.role == "system"), None)

    @property
    def is_resume(self) -> bool:
        """Whether there is nothing new for the model: the turn resumes what is unfinished."""
        return not any(message.role != "system" for message in self.to_messages())


class CallOptions(NamedTuple):
    """How the model is called."""

    options: Mapping[str, Any] = {}
    thinking: str | int | None = None
    shows_thinking: bool = False
    #: JSON Schema of the answer, and how often an answer that does not match is sent back.
    schema: Mapping[str, Any] | None = None
    fix: int = 0
    stream: bool = True
    #: Seconds for the whole turn; None: no limit.
    timeout_s: float | None = None
    #: Seconds to wait for another job to unlock the thread.
    wait_s: float = 0.0
    retries: int = 2
    max_steps: int = 20
    #: How many earlier turns are sent; None: all.
    history: int | None = None
    cost_limits: CostLimits = CostLimits()


class PersistOptions(NamedTuple):
    """What of the turn stays in the hub, and how it is labelled."""

    #: False: no text is stored, only the ledger row.
    log: bool = True
    #: Kinds of rows that are deleted when the turn is finished: tool-calls, requests, network, streams.
    without: frozenset[str] = frozenset()
    #: A failed answer is deleted even if it has some text.
    rollback: bool = False
    name: str | None = None
    metadata: Mapping[str, Any] = {}
    references: Mapping[str, str] = {}
    #: Custom columns of chats.
    fields: Mapping[str, Any] = {}
    tag: str | None = None


Observer = Callable[[Any], object]


class Hooks(NamedTuple):
    """Functions of the program around llmctl, each kind in calling order, called in the turn's thread.

    Only ``before_request`` can change a turn or make it fail.
    """

    #: Called before every request of a turn; each may return another request. An exception ends the turn, unsent.
    before_request: tuple[Callable[[ChatRequest], ChatRequest | None], ...] = ()
    #: Called with every complete answer of a model.
    after_response: tuple[Observer, ...] = ()
    tool_start: tuple[Observer, ...] = ()
    tool_end: tuple[Observer, ...] = ()
    error: tuple[Observer, ...] = ()

    def change_request(self, request: ChatRequest) -> ChatRequest:
        """Return the request to send."""
        for change in self.before_request:
            request = change(request) or request
        return request

    def notify_response(self, response: ChatResponse) -> None:
        notify(self.after_response, response)

    def notify_tool_start(self, event: ToolEvent) -> None:
        notify(self.tool_start, event)

    def notify_tool_end(self, event: ToolEvent) -> None:
        notify(self.tool_end, event)

    def notify_error(self, error: BaseException) -> None:
        notify(self.error, error)


def notify(observers: Iterable[Observer], value: object) -> None:
    """Call each observer; an exception goes to the logger ``llmctl`` and has no other effect."""
    for observer in observers:
        try:
            observer(value)
        except Exception:
            import logging  # not needed until something goes wrong

            logging.getLogger("llmctl").exception("a hook failed; the turn continues")


@dataclass(frozen=True, slots=True)
class TurnPlan:
    """Everything a turn is made of. ``chat`` is None for a new one."""

    chat: ChatRow | None
    target: Target
    input: UserInput
    call_options: CallOptions
    persist: PersistOptions
    caller: CallerInfo
    runtime: RuntimeEnv
    tools: Toolset = field(default_factory=Toolset)
    #: The agent of the chat, if it has one.
    agent: AgentContext | None = None
    #: The job that this turn's job is a part of.
    parent_job_id: str | None = None
    hooks: Hooks = field(default_factory=Hooks)


def apply_chat_defaults(
    call_options: CallOptions, persist: PersistOptions, settings: Mapping[str, Any]
) -> tuple[CallOptions, PersistOptions]:
    """Fill in the chat's settings, which its first turn has left, where nothing else was chosen."""
    call_options = call_options._replace(
        options={**settings.get("options", {}), **call_options.options},
        thinking=call_options.thinking if call_options.thinking is not None else settings.get("thinking"),
    )
    return call_options, persist._replace(without=persist.without | frozenset(settings.get("without", ())))


def require_chat_model(target: Target) -> None:
    """Raise UsageError for a connection whose model cannot chat."""
    if target.type in ("embedding", "moderation"):
        raise UsageError(
            f'the connection "{target.connection}" is for {target.type}, not for chats',
            hint=f"choose a model: -m {target.connection}:MODEL"
            + ("; or: llmctl embed" * (target.type == "embedding")),
            reason="no_chat",
        )


def build_chat_request(plan: TurnPlan, messages: tuple[Message, ...]) -> ChatRequest:
    """Return the request for these messages: the turn's options override the alias's and the connection's.

    An option that is null takes back what those set.
    """
    options = {**plan.target.options, **plan.target.alias_options, **plan.call_options.options}
    return ChatRequest(
        model=plan.target.model,
        messages=messages,
        stream=plan.call_options.stream,
        options={name: value for name, value in options.items() if value is not None},
        thinking=plan.call_options.thinking,
        shows_thinking=plan.call_options.shows_thinking,
        tools=plan.tools.specs(),
        schema=plan.call_options.schema,
    )
