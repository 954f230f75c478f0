"""What a hub shares with its chats: connections, environment, middlewares, and the streams that are still open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakSet

from llmctl.api.abandoned import AbandonedTurns
from llmctl.api.middleware import Middleware
from llmctl.api.pool import ConnectionPool
from llmctl.api.stream import Stream
from llmctl.engine.runtime import RuntimeEnv
from llmctl.store.database import Database


class OpenTurn(Protocol):
    """A turn that closing the hub closes."""

    def close(self) -> None: ...


@dataclass(slots=True, weakref_slot=True)
class Runtime:
    """The part of an open hub that chats and sessions need; they keep it alive, not the hub itself."""

    pool: ConnectionPool
    env: Mapping[str, str]
    runtime_env: RuntimeEnv
    middlewares: list[Middleware]
    streams: WeakSet[OpenTurn] = field(default_factory=WeakSet)
    process_id: int = field(default_factory=os.getpid)
    abandoned: AbandonedTurns = field(init=False)

    def __post_init__(self) -> None:
        self.abandoned = AbandonedTurns(threaded=not self.pool.is_in_memory)

    @contextmanager
    def connection(self) -> Iterator[Database]:
        """Lend a connection to the hub for the block; turns that were abandoned are finished first."""
        self.abandoned.finish()
        with self.pool.connection() as database:
            yield database

    def track_stream(self, stream: Stream) -> Stream:
        """Remember a stream, to close it with the hub or once nobody refers to it, and return it."""
        self.streams.add(stream)
        self.abandoned.watch(stream, stream.turn)
        return stream

    def track_worker(self, worker: OpenTurn) -> None:
        """Remember the thread of an asynchronous stream, to end it with the hub."""
        self.streams.add(worker)

    def close(self) -> None:
        """Close all streams, so that their rows are finished, then the connections. A forked child closes nothing."""
        if self.process_id != os.getpid():
            return
        for stream in list(self.streams):
            stream.close()
        self.abandoned.close()
        self.pool.close()
