"""Streams that a program forgets: their turns end, and never in the middle of a transaction."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from llmctl import Chat, Hub
from tests.harness import query, wait_until


@pytest.fixture(autouse=True)
def no_automatic_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def abandon_stream(chat: Chat) -> None:
    """Begin a turn and leave it in a cycle, as the traceback of a cancelled task does."""
    pieces = iter(chat.stream("one two three", options={"delay": 0.01}))
    assert next(pieces)
    cycle: list[Any] = [pieces]
    cycle.append(cycle)


def statuses(hub: Hub) -> list[str]:
    return [status for (status,) in query(hub.path, "SELECT status FROM jobs ORDER BY created_at")]


def test_stream_collected_in_a_write_transaction_does_not_wait_for_it(hub: Hub) -> None:
    abandon_stream(hub.create_chat(model="echo"))
    with closing(sqlite3.connect(hub.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        gc.collect()  # would wait for the lock that this thread holds
        assert statuses(hub) == ["running"]
        other.execute("COMMIT")
    wait_until(lambda: statuses(hub) == ["cancelled"])
    assert query(hub.path, "SELECT status, content FROM messages WHERE role = 'assistant'") == [("interrupted", "one")]


def test_collected_stream_is_finished_by_the_next_use_of_the_hub(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    abandon_stream(chat)
    gc.collect()
    assert [message["status"] for message in chat.messages()][-1] in ("interrupted", "pending")
    assert str(chat.ask("next")) == "next"
    wait_until(lambda: statuses(hub) == ["cancelled", "completed"])


def test_collected_stream_is_finished_when_the_hub_is_closed(env: dict[str, str]) -> None:
    with Hub(env=env) as hub:
        abandon_stream(hub.create_chat(model="echo"))
        gc.collect()
    assert statuses(hub) == ["cancelled"]


def test_collected_stream_of_an_in_memory_hub_is_finished_by_its_thread() -> None:
    with Hub(":memory:", env={}) as hub:
        chat = hub.create_chat(model="echo")
        abandon_stream(chat)
        gc.collect()
        assert str(chat.ask("next")) == "next"
        assert [row["status"] for row in hub.query("SELECT status FROM jobs ORDER BY rowid")] == [
            "cancelled",
            "completed",
        ]


def test_child_process_leaves_the_streams_of_its_parent_alone(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    pieces = iter(chat.stream("one two three", options={"delay": 0.01}))
    assert next(pieces)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            del pieces
            gc.collect()
            code = 0 if str(hub.create_chat(model="echo").ask("in the child")) == "in the child" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "".join(pieces).endswith("three")
    assert sorted(statuses(hub)) == ["completed", "completed"]
