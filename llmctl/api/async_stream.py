"""A streamed answer for asyncio: the turn runs in a thread, which is asked for one event at a time."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any
from weakref import finalize

from llmctl.api.response import Response
from llmctl.api.stream import Stream
from llmctl.core.chat import TextDelta
from llmctl.core.interrupt import Interrupt
from llmctl.core.signals import block_signals
from llmctl.engine.runtime import TurnEvent

#: An event loop, and the future in it that waits for something.
Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]"]

#: How long closing a hub waits for the turn to finish its rows.
_CLOSE_TIMEOUT_S = 10.0


class AsyncStream:
    """Iterate over it with ``async for`` for the text, or over :meth:`events`; :attr:`response` is the result.

    The twin of :class:`Stream`, from :meth:`Chat.stream_async`. Cancelling the task, ``asyncio.timeout`` and
    :meth:`aclose` stop the turn, also while it waits for the model, and return when the text so far is stored as an
    interrupted answer and the chat is unlocked. ``async with chat.stream_async(...) as stream`` closes it; a loop that
    is left by ``break`` stops the turn, too, but does not wait for it.
    """

    def __init__(self, stream: Stream, interrupt: Interrupt) -> None:
        self._stream = stream
        #: The thread of the turn.
        self.worker = TurnWorker(stream, interrupt)
        # A stream that is dropped half-way must not keep its chat locked.
        finalize(self, self.worker.stop).atexit = False

    @property
    def response(self) -> Response:
        """The result of the turn; before its end, the result so far."""
        return self._stream.response

    async def events(self) -> AsyncGenerator[TurnEvent, None]:
        """Yield all events, as :meth:`Stream.events` does."""
        try:
            while (event := await self._next_event()) is not None:
                yield event
        finally:
            self.worker.stop()

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        try:
            while (event := await self._next_event()) is not None:
                if isinstance(event, TextDelta):
                    yield event.text
        finally:
            self.worker.stop()

    async def aclose(self) -> None:
        """Interrupt the turn if it is still running, and wait until its rows are finished."""
        self.worker.stop()
        await self.worker.wait_for_end()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next_event(self) -> TurnEvent | None:
        """Return the next event; None at the end."""
        try:
            event = await self.worker.next_event()
        except GeneratorExit:
            raise  # the task was dropped: it cannot wait for anything
        except BaseException:
            await self.aclose()
            raise
        if event is None:
            await self.aclose()
        return event


class TurnWorker:
    """The thread that runs one turn. It starts when the first event is asked for, and waits while none is."""

    def __init__(self, stream: Stream, interrupt: Interrupt) -> None:
        self._stream = stream
        self._events = stream.events()
        self._interrupt = interrupt
        self._requests: SimpleQueue[Waiter | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        #: Guards what follows: another thread may close the hub, and the garbage collector may stop the turn anywhere.
        self._lock = threading.RLock()
        self._is_stopping = False
        self._has_ended = False
        self._waiting_for_end: list[Waiter] = []

    async def next_event(self) -> TurnEvent | None:
        """Return the next event of the turn; None at its end."""
        with self._lock:
            if self._is_stopping:
                return None
            self._start()
            loop = asyncio.get_running_loop()
            future: asyncio.Future[TurnEvent | None] = loop.create_future()
            self._requests.put((loop, future))
        return await future

    async def wait_for_end(self) -> None:
        """Wait until the thread has finished the rows of the turn."""
        with self._lock:
            if self._has_ended:
                return
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self._waiting_for_end.append((loop, future))
        await future

    def stop(self) -> None:
        """Interrupt the turn if it is still running. Returns at once, while the thread finishes the rows."""
        with self._lock:
            if self._is_stopping:
                return
            self._is_stopping = True
            self._interrupt.set()
            if self._thread is not None:
                self._requests.put(None)
                return
            self._has_ended = True
        self._stream.close()

    def close(self) -> None:
        """Interrupt the turn and wait for its end, as closing the hub does."""
        self.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _start(self) -> None:
        if self._thread is not None:
            return
        # Hooks see the caller's context variables, as in ``asyncio.to_thread``.
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run,), daemon=True)
        with block_signals():
            self._thread.start()

    def _run(self) -> None:
        while (waiter := self._requests.get()) is not None:
            try:
                event = next(self._events, None)
            except BaseException as error:
                _resolve(waiter, error=error)
            else:
                _resolve(waiter, event)
        try:
            self._stream.close()
        finally:
            with self._lock:
                self._has_ended = True
                waiters, self._waiting_for_end = self._waiting_for_end, []
            for waiter in waiters:
                _resolve(waiter)


def _resolve(waiter: Waiter, value: object = None, *, error: BaseException | None = None) -> None:
    """Hand a value or an error to a future of an event loop, unless its task was cancelled."""
    loop, future = waiter

    def set_outcome() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    with suppress(RuntimeError):  # the loop was closed in the meantime
        loop.call_soon_threadsafe(set_outcome)
