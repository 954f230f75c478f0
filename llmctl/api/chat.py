"""A conversation in the hub, as a program talks in it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from llmctl.api import ask_options
from llmctl.api.ask_options import Asking, Habits
from llmctl.api.middleware import Middleware
from llmctl.api.response import Response
from llmctl.api.stream import Course, Stream
from llmctl.core.errors import LlmctlError
from llmctl.engine.chats import lookup
from llmctl.engine.connections import target
from llmctl.engine.inspect import transcript
from llmctl.engine.maintenance import delete as maintenance_delete
from llmctl.engine.turn import fallback
from llmctl.engine.turn.hooks import Hooks
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.result import TurnEvent
from llmctl.engine.turn.turn import Turn
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, invocations, threads
from llmctl.store.serialize import Shape
from llmctl.store.stats import query

if TYPE_CHECKING:
    from llmctl.api.hub import Hub

F = TypeVar("F", bound=Callable[..., Any])


class Chat:
    """A chat: made by :meth:`Hub.create_chat`, found again by :meth:`Hub.load_chat`, from any thread.

    What is said, called, answered and paid is in the hub; the object itself knows only its id and what only code can
    hold: functions, hooks and middlewares.

    >>> from llmctl import Hub
    >>> with Hub(":memory:") as hub:
    ...     chat = hub.create_chat(model="echo", instructions="You are helpful.")
    ...     answer = chat.ask("What is the capital of France?")
    ...     [message["role"] for message in chat.messages()]
    ['system', 'user', 'assistant']
    """

    def __init__(self, hub: Hub, chat_id: str, habits: Habits) -> None:
        self._hub = hub
        self._habits = habits
        #: The id of the chat's row.
        self.chat_id = chat_id

    @property
    def id(self) -> str:
        return self.chat_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def ask(
        self, prompt: str | None = None, *, on_event: Callable[[TurnEvent], object] | None = None, **how: Unpack[Asking]
    ) -> Response:
        """Say something and return the answer, when it is complete; ``on_event`` is told what happens meanwhile.

        Without a prompt an unfinished turn is gone on with: one that was broken off, or waits for an approval.
        Raises the :class:`LlmctlError` of what went wrong, with ``chat_id`` and ``request_id``; what was said and
        what came of it is in the hub with its status.
        """
        with self.stream(prompt, **how) as stream:
            for event in stream.events():
                if on_event:
                    on_event(event)
            return stream.response

    def stream(self, prompt: str | None = None, **how: Unpack[Asking]) -> Stream:
        """Say something and return the answer as it comes; keywords are those of :meth:`ask`."""
        return self._hub.opened(Stream(lambda course: self._turns(course, prompt, self._habits.over(how))))

    def messages(self, *, steps: bool = False) -> list[Row]:
        """Return the messages as records, oldest first: ``role content status tool_calls attachments`` …

        With ``steps`` all of the thread: what stands between a question and its answer, too.
        """
        with self._hub.lent() as database:
            thread = threads.of_chat(database, self.chat_id)
            return transcript.conversation(database, thread["id"], steps=steps) if thread else []

    def stats(self) -> Row:
        """Return the figures of ``stats --json``, of this chat: counted in the hub, from the ledger."""
        with self._hub.lent() as database:
            return query.chat_stats(database, self.chat_id)

    def record(self) -> Row:
        """Return the chat's row as a record: name, model, metadata, custom fields …"""
        with self._hub.lent() as database:
            return Shape(database, "chats").record(chats.one(database, self.chat_id))

    def pending(self) -> list[Row]:
        """Return the calls that wait for a decision; ``ask(approve=[name])`` goes on with them."""
        with self._hub.lent() as database:
            thread = threads.of_chat(database, self.chat_id)
            rows = invocations.unanswered(database, thread["id"]) if thread else []
            return [row for row in rows if row["status"] == "pending"]

    def delete(self, *, with_usage: bool = False) -> None:
        """Delete every copy of its text. The numbers stay in the ledger, unless ``with_usage``."""
        with self._hub.lent() as database:
            maintenance_delete.erase(database, [self.chat_id], with_usage=with_usage)

    def having(self, **how: Unpack[Asking]) -> Self:
        """Return the same chat with these keywords for each of its turns."""
        return self._with(replace(self._habits, asking=self._habits.over(how)))

    def with_tool(self, *tools: Any) -> Self:
        """Return the same chat with further tools: ``chat.with_tool(weather).ask("How is it in London?")``."""
        return self.having(tools=tools)

    def with_instructions(self, text: str) -> Self:
        """Return the same chat with another system prompt; it counts from the next turn on."""
        return self.having(instructions=text)

    def use(self, *middlewares: Middleware) -> Self:
        """Return the same chat with further middlewares."""
        return self._with(replace(self._habits, middlewares=(*self._habits.middlewares, *middlewares)))

    def before_request(self, function: F) -> F:
        """Register a hook, as a decorator; see :class:`Middleware`."""
        return self._heard("before_request", function)

    def after_response(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._heard("after_response", function)

    def on_tool_start(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._heard("on_tool_start", function)

    def on_tool_end(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._heard("on_tool_end", function)

    def on_error(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._heard("on_error", function)

    def _heard(self, name: str, function: F) -> F:
        self._habits = self.use(ask_options.heard(name, function))._habits
        return function

    def _with(self, habits: Habits) -> Self:
        same = type(self).__new__(type(self))
        same.__dict__.update(self.__dict__)
        same._habits = habits
        return same

    def _hooks(self) -> Hooks:
        return ask_options.hooks_of((*self._hub.middlewares, *self._habits.middlewares))

    def _plan(self, database: Database, chat: Row, prompt: str | None, how: Asking, hooks: Hooks) -> Plan:
        ask = ask_options.ask_of(prompt, how)
        plan = ask_options.plan(database, chat, ask, how, None, self._hub.around)
        return ask_options.with_tools(database, plan, how, self._habits.confirm, hooks)

    def _turns(self, course: Course, prompt: str | None, how: Asking) -> Generator[TurnEvent, None, None]:
        """Run the turn; where a model gives nothing, the fallbacks take over."""
        hooks = self._hooks()
        with self._hub.lent() as database:
            try:
                chat = lookup.by_reference(database, self.chat_id)
                plan = self._plan(database, chat, prompt, how, hooks)
                for ref in how.get("fallback") or ():
                    other = target.resolve(database, ref, self._hub.env)
                    try:
                        yield from _events(database, plan, course)
                        return
                    except LlmctlError as error:
                        if not fallback.is_worth_it(error, course.outcome):
                            raise
                        course.notes.append(f"{error.message}; going on with {other.connection or other.provider.name}")
                    plan = fallback.next_plan(database, plan, other, course.outcome)
                yield from _events(database, plan, course)
            except Exception as error:
                hooks.failed(error)
                raise


def _events(database: Database, plan: Plan, course: Course) -> Generator[TurnEvent, None, None]:
    turn = Turn(database, plan)
    course.outcome = turn.outcome
    with turn:
        for event in turn.events():
            turn.settle()  # what a program gets may be shown at once
            yield event
