"""Turns that a program forgot to finish. One whose last reference goes is closed at once, one that the garbage
collector finds is only noted, and closed elsewhere.

The collector runs anywhere, also inside a write transaction of the same thread: a turn that it closed there would wait
for that transaction, which waits for it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from weakref import finalize

from llmctl.core.signals import block_signals

Turn = Generator[Any, None, None]
#: ``put`` may be called by the collector at any moment. None ends the thread.
_Queue = SimpleQueue[Turn | None]

#: How long a closing hub waits for turns that are being closed.
_JOIN_TIMEOUT_S = 10.0


class _Collector:
    """Whether the garbage collector is running; other threads then only note their turns, too."""

    is_running = False

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        self.is_running = phase == "start"


_collector = _Collector()


class AbandonedTurns:
    """Closes turns whose stream was collected: in a thread of its own, and at every safe point of the program.

    Without ``threaded`` only there: an in-memory hub belongs to one thread.
    """

    def __init__(self, *, threaded: bool) -> None:
        if _collector not in gc.callbacks:
            gc.callbacks.append(_collector)
        self._threaded = threaded
        self._queue: _Queue = SimpleQueue()
        self._process = os.getpid()
        self._thread: Thread | None = None

    def watch(self, stream: object, turn: Turn) -> None:
        """Note the turn once its stream is collected. The turn must not refer to the stream."""
        if self._process != os.getpid():  # of the parent process, whose turns are its own
            self._queue, self._process, self._thread = SimpleQueue(), os.getpid(), None
        if self._threaded and self._thread is None:
            self._start()
        finalize(stream, _abandon, self._queue, self._process, turn).atexit = False

    def finish(self) -> None:
        """Close what was noted. Not to be called inside a transaction."""
        if self._process == os.getpid():
            with suppress(Empty):
                while True:
                    _close(self._queue.get_nowait())

    def close(self) -> None:
        """Close what was noted, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None and self._process == os.getpid():
            self._queue.put(None)
            thread.join(_JOIN_TIMEOUT_S)
        self.finish()

    def _start(self) -> None:
        self._thread = Thread(target=_close_all, args=(self._queue,), name="llmctl-abandoned", daemon=True)
        finalize(self, self._queue.put, None).atexit = False
        with block_signals():
            self._thread.start()


def _abandon(queue: _Queue, process: int, turn: Turn) -> None:
    if _collector.is_running or process != os.getpid():
        queue.put(turn)
    else:
        _close(turn)


def _close_all(queue: _Queue) -> None:
    while (turn := queue.get()) is not None:
        _close(turn)
        del turn


def _close(turn: Turn | None) -> None:
    with suppress(Exception):  # nobody is left to hear of it; the rows say how the turn ended
        if turn is not None:
            turn.close()
