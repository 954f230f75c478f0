"""A chat in the hub, for Python programs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from llmctl.api import ask_options
from llmctl.api.ask_options import AskOptions, ChatDefaults
from llmctl.api.middleware import Middleware
from llmctl.api.response import Response
from llmctl.api.runtime import Runtime
from llmctl.api.stream import Stream, StreamState
from llmctl.core.signals import Interrupted
from llmctl.engine.inspect import transcript
from llmctl.engine.maintenance import delete as maintenance_delete
from llmctl.engine.runtime import TurnEvent
from llmctl.engine.turn.plan import Hooks, TurnPlan
from llmctl.engine.turn.turn import Turn, attempt_turn
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records import chat_summaries, chats, invocations, requests
from llmctl.store.records.types import ChatRow
from llmctl.store.stats import query

if TYPE_CHECKING:  # asyncio: only for programs that use it
    from llmctl.api.async_stream import AsyncStream

F = TypeVar("F", bound=Callable[..., Any])


class Chat:
    """A chat, from :meth:`Hub.create_chat` or :meth:`Hub.load_chat`. It can be used from any thread.

    Messages, tool calls and costs are in the hub; the object holds only the id and what exists in code only:
    functions, hooks and middlewares.

    >>> from llmctl import Hub
    >>> with Hub(":memory:") as hub:
    ...     chat = hub.create_chat(model="echo", instructions="You are helpful.")
    ...     answer = chat.ask("What is the capital of France?")
    ...     [message["role"] for message in chat.messages()]
    ['system', 'user', 'assistant']
    """

    def __init__(self, runtime: Runtime, chat_id: str, defaults: ChatDefaults) -> None:
        self._runtime = runtime
        self._defaults = defaults
        #: Id of the chat's row.
        self.chat_id = chat_id

    @property
    def id(self) -> str:
        return self.chat_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def ask(
        self,
        prompt: str | None = None,
        *,
        on_event: Callable[[TurnEvent], object] | None = None,
        **how: Unpack[AskOptions],
    ) -> Response:
        """Send a prompt and return the complete answer; ``on_event`` receives the events of the turn.

        Without a prompt, resume an unfinished turn: one that was interrupted or waits for an approval. Raises
        :class:`LlmctlError` with ``chat_id`` and ``request_id``; the prompt and any partial answer are in the hub.
        """
        with self.stream(prompt, **how) as stream:
            for event in stream.events():
                if on_event:
                    on_event(event)
            return stream.response

    def stream(self, prompt: str | None = None, **how: Unpack[AskOptions]) -> Stream:
        """Send a prompt and return the answer as a stream; keywords as for :meth:`ask`."""
        options = self._defaults.merged_with(how)
        return self._runtime.track_stream(Stream(lambda state: self._run_turn(state, prompt, options)))

    async def ask_async(
        self,
        prompt: str | None = None,
        *,
        on_event: Callable[[TurnEvent], object] | None = None,
        **how: Unpack[AskOptions],
    ) -> Response:
        """Do what :meth:`ask` does without blocking the event loop: the turn runs in a thread of its own.

        Cancelling the task stops the turn; the text so far is stored as an interrupted answer. ``on_event`` is called
        in the event loop, hooks, tools and ``confirm`` in threads. Not for in-memory hubs: they have one thread.
        """
        async with self.stream_async(prompt, **how) as stream:
            async for event in stream.events():
                if on_event:
                    on_event(event)
            return stream.response

    def stream_async(self, prompt: str | None = None, **how: Unpack[AskOptions]) -> AsyncStream:
        """Send a prompt and return the answer as an asynchronous stream: ``async for piece in chat.stream_async(…)``.

        Keywords as for :meth:`ask`, threads as for :meth:`ask_async`.
        """
        from llmctl.api.async_stream import AsyncStream
        from llmctl.core.interrupt import Interrupt

        options, interrupt = self._defaults.merged_with(how), Interrupt()
        running = AsyncStream(Stream(lambda state: self._run_turn(state, prompt, options), interrupt), interrupt)
        self._runtime.track_worker(running.worker)  # it lives as long as its thread
        return running

    def messages(self, *, steps: bool = False) -> list[Row]:
        """Return the messages as records, oldest first: ``role content status tool_calls attachments`` …

        The system message comes first where there are instructions; the last answer is ``messages()[-1]``.
        With ``steps``, include the intermediate steps of turns: tool calls and their results.
        """
        with self._runtime.connection() as database:
            thread = chats.find_thread(database, self.chat_id)
            return transcript.conversation(database, thread.id, steps=steps) if thread else []

    def stats(self) -> Row:
        """Return the usage of this chat, as ``stats --json`` has it."""
        with self._runtime.connection() as database:
            return query.chat_stats(database, self.chat_id)

    def requests(self, limit: int | None = None) -> list[Row]:
        """Return the chat's model calls, newest first, as ``request list --json`` has them."""
        with self._runtime.connection() as database:
            return list(requests.list_(database, requests.RequestFilter(chat_id=self.chat_id), limit))

    def record(self) -> Row:
        """Return the chat's row as a record: name, model, metadata, custom fields …"""
        with self._runtime.connection() as database:
            return Serializer(database, "chats").to_record(chat_summaries.get(database, self.chat_id))

    def pending(self) -> list[Row]:
        """Return the tool calls that wait for approval; ``ask(approve=[name])`` approves and continues."""
        with self._runtime.connection() as database:
            thread = chats.find_thread(database, self.chat_id)
            return invocations.list_pending_columns(database, thread.id) if thread else []

    def delete(self, *, with_usage: bool = False) -> None:
        """Delete the chat with every copy of its text. Usage still counts, unless ``with_usage`` deletes it too."""
        with self._runtime.connection() as database:
            maintenance_delete.delete_chats(database, [self.chat_id], with_usage=with_usage)

    def having(self, **how: Unpack[AskOptions]) -> Self:
        """Return a copy of the object, for the same chat, with these options for all its turns."""
        return self._copy_with(replace(self._defaults, options=self._defaults.merged_with(how)))

    def with_tool(self, *tools: Any) -> Self:
        """Return a copy with additional tools: ``chat.with_tool(weather).ask("How is it in London?")``.

        The chat itself does not change: to keep the tools, keep the copy: ``chat = chat.with_tool(weather)``.
        """
        return self.having(tools=tools)

    def with_instructions(self, text: str) -> Self:
        """Return the same chat with another system prompt, used from the next turn on."""
        return self.having(instructions=text)

    def use(self, *middlewares: Middleware) -> Self:
        """Return the same chat with additional middlewares."""
        return self._copy_with(replace(self._defaults, middlewares=(*self._defaults.middlewares, *middlewares)))

    def before_request(self, function: F) -> F:
        """Register a hook, as a decorator; see :class:`Middleware`."""
        return self._add_hook("before_request", function)

    def after_response(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._add_hook("after_response", function)

    def on_tool_start(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._add_hook("on_tool_start", function)

    def on_tool_end(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._add_hook("on_tool_end", function)

    def on_error(self, function: F) -> F:
        """Register a hook, as a decorator."""
        return self._add_hook("on_error", function)

    def _add_hook(self, name: str, function: F) -> F:
        self._defaults = self.use(ask_options.hook_middleware(name, function))._defaults
        return function

    def _copy_with(self, defaults: ChatDefaults) -> Self:
        same = type(self).__new__(type(self))
        same.__dict__.update(self.__dict__)
        same._defaults = defaults
        return same

    def _build_hooks(self) -> Hooks:
        return ask_options.build_hooks((*self._runtime.middlewares, *self._defaults.middlewares))

    def _build_plan(
        self, database: Database, chat: ChatRow, prompt: str | None, how: AskOptions, hooks: Hooks
    ) -> TurnPlan:
        user_input, options = ask_options.parse_prompt(prompt, how), ask_options.to_turn_options(how)
        plan = ask_options.build_plan(database, chat, user_input, options, self._runtime.runtime_env)
        return ask_options.add_tools(database, plan, how.get("tools", ()), self._defaults.confirm, hooks)

    def _run_turn(self, state: StreamState, prompt: str | None, how: AskOptions) -> Generator[TurnEvent, None, None]:
        """Run the turn; if a model cannot be used, try the fallbacks in order."""
        hooks = self._build_hooks()
        with self._runtime.connection() as database:
            try:
                chat = chats.get(database, self.chat_id)
                plan = self._build_plan(database, chat, prompt, how, hooks)
                plan = plan.replace(runtime=plan.runtime.replace(interrupt=state.interrupt))
                for attempt in attempt_turn(database, plan, note=state.notes.append):
                    with attempt as turn:
                        yield from _turn_events(turn, state)
                        return
            except Exception as error:
                hooks.notify_error(error)
                raise
            except Interrupted:
                return  # another thread closed the stream: it ends here


def _turn_events(turn: Turn, state: StreamState) -> Generator[TurnEvent, None, None]:
    state.result = turn.result
    with turn:
        for event in turn.events():
            turn.flush()  # the program may display an event at once, so it must be stored
            yield event
