"""``ask_async`` and ``stream_async``: turns of a program that uses asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmctl import Chat, Hub, Response, RetryScheduled, StepStarted, TextDelta, ToolEvent, errors
from tests.api.support_agent import SupportAgent, calling, lookup_order
from tests.fakes.openai_server import HOLD, STALL, FakeServer, refusal, stream
from tests.harness import run_python, wait_until

#: A safety limit: a turn that nothing stops fails its test instead of blocking the run.
LIMIT_S = 20.0


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(LIMIT_S):
            return await work()

    return asyncio.run(bounded())


async def until(is_true: Callable[[], object]) -> None:
    """Wait for a condition by polling, if there is no event to wait for."""
    while not is_true():
        await asyncio.sleep(0.002)


def require_interrupted(hub: Hub, chat: Chat, content: str) -> None:
    """Assert that the turn left finished rows with the text so far, and an unlocked chat."""
    assert hub.query("SELECT status FROM jobs") == [{"status": "cancelled"}]
    assert hub.query("SELECT status FROM requests") == [{"status": "interrupted"}]
    answers = hub.query("SELECT status, content FROM messages WHERE role = 'assistant'")
    assert answers == ([{"status": "interrupted", "content": content}] if content else [])
    assert hub.query("SELECT locking_job_id AS job FROM message_threads") == [{"job": None}]


def test_answer_is_awaited(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    seen: list[Any] = []
    response = run(lambda: chat.ask_async("one two", on_event=seen.append))
    assert isinstance(response, Response)
    assert (response.status, response.content) == ("completed", "one two")
    assert isinstance(seen[0], StepStarted)
    assert "".join(one.text for one in seen if isinstance(one, TextDelta)) == "one two"


def test_pieces_are_streamed_and_kept_before_they_are_seen(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")

    async def work() -> str:
        seen = ""
        stream = chat.stream_async("one two three")
        async for piece in stream:
            seen += piece
            assert chat.messages()[-1]["content"] == seen
        assert stream.response.status == "completed"
        return seen

    assert run(work) == "one two three"


def test_session_of_an_agent_streams_its_events(hub: Hub) -> None:
    session = hub.create_agent_session(SupportAgent)

    async def work() -> list[str]:
        async with session.stream_async("x", options=calling('lookup_order {"order_id": "7"}')) as stream:
            events = [event async for event in stream.events()]
        assert stream.response.session_id == session.id
        return [one.status for one in events if isinstance(one, ToolEvent)]

    assert run(work) == ["pending", "completed"]


def test_event_loop_goes_on_while_the_model_is_silent(online: Hub, server: FakeServer) -> None:
    server.answer(stream("one two", hold=1))
    chat = online.create_chat(model="openai:fake-1")

    async def work() -> str:
        asking = asyncio.create_task(chat.ask_async("go"))
        await until(lambda: server.requests)
        server.release()  # only a loop that is not blocked gets here
        return str(await asking)

    assert run(work) == "one two"


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_cancelled_task_stops_a_silent_model_and_keeps_the_text(
    online: Hub, server: FakeServer, how: str, step: int
) -> None:
    server.answer(replace(stream("one two", insert={step: STALL}), headers={}))
    chat = online.create_chat(model="openai:fake-1")
    seen = asyncio.Event()

    def notice(event: object) -> None:
        if isinstance(event, TextDelta if step else StepStarted):
            seen.set()

    async def work() -> None:
        asking = asyncio.create_task(chat.ask_async("go", on_event=notice))
        await seen.wait()
        await until(lambda: server.requests and (step < 2 or chat.messages()[-1]["content"] == "one two"))
        if how == "cancel":
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await asking
        require_interrupted(online, chat, ("", "one", "one two")[step])
        assert str(await chat.ask_async("again")) == "echo: again"

    run(work)


def test_answer_that_never_begins_is_cancelled(online: Hub, server: FakeServer) -> None:
    """Its socket waits for headers."""
    arrived = threading.Event()

    def never(request: object) -> Any:
        arrived.set()
        server._stopped.wait(LIMIT_S)
        return stream("late")

    server.answer(never)
    chat = online.create_chat(model="openai:fake-1")

    async def work() -> None:
        asking = asyncio.create_task(chat.ask_async("go"))
        await until(arrived.is_set)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        require_interrupted(online, chat, "")

    run(work)


def test_pause_before_a_retry_is_cancelled(online: Hub, server: FakeServer) -> None:
    server.answer(refusal(503, headers={"retry-after": "50"}))
    chat = online.create_chat(model="openai:fake-1")

    async def work() -> None:
        async with chat.stream_async("go", retries=1) as stream:
            async for event in stream.events():
                if isinstance(event, RetryScheduled):
                    break
            waiting = asyncio.create_task(anext(stream.events(), None))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(work)
    assert online.query("SELECT status FROM jobs") == [{"status": "cancelled"}]


def test_wait_for_a_locked_chat_is_cancelled(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    holder = chat.stream("one two")
    next(holder)

    async def work() -> None:
        waiting = asyncio.create_task(chat.ask_async("me too", wait=LIMIT_S))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(work)
    assert list(holder) == [" two"]
    assert [one["content"] for one in chat.messages()] == ["one two", "one two"]


def test_tool_that_runs_is_cancelled(hub: Hub) -> None:
    started, go = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        go.wait(LIMIT_S)
        return "done"

    chat = hub.create_chat(model="echo", tools=[slow])

    async def work() -> None:
        asking = asyncio.create_task(chat.ask_async("x", options=calling("slow {}")))
        await until(started.is_set)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(work)
    go.set()
    assert hub.query("SELECT status FROM jobs") == [{"status": "cancelled"}]
    assert hub.query("SELECT status FROM tool_invocations") == [{"status": "cancelled"}]


@pytest.mark.parametrize("how", ["break", "raise", "aclose", "with", "events", "drop", "hub"])
def test_consumer_that_stops_early_leaves_finished_rows(env: Mapping[str, str], how: str) -> None:
    hub = Hub(env=env)
    chat = hub.create_chat(model="echo")

    async def work() -> None:
        if how == "with":
            async with chat.stream_async("one two three") as running:
                assert [await anext(aiter(running)) for _ in range(1)] == ["one"]
            return
        running = chat.stream_async("one two three")
        pieces = aiter(running)
        assert [await anext(pieces), await anext(pieces)] == ["one", " two"]
        if how == "raise":
            with pytest.raises(RuntimeError):
                async with aclosing(pieces):
                    raise RuntimeError("the consumer broke")
        elif how == "aclose":
            await running.aclose()
            assert running.response.status == "interrupted"
            assert [one async for one in running] == []
        elif how == "hub":
            hub.close()
            assert [one async for one in pieces] == []

    run(work)
    with Hub(env=env) as again:
        wait_until(lambda: again.query("SELECT status FROM jobs") == [{"status": "cancelled"}])
        require_interrupted(again, chat, "one" if how == "with" else "one two")


@pytest.mark.slow
def test_many_turns_run_at_once(online: Hub, server: FakeServer) -> None:
    """More than an executor of asyncio has threads."""
    count = 34
    server.answer(*[replace(stream("ok"), steps=(HOLD, *stream("ok").steps)) for _ in range(count)])
    chats = [online.create_chat(model="openai:fake-1") for _ in range(count)]

    async def work() -> list[str]:
        asking = [asyncio.create_task(chat.ask_async("go")) for chat in chats]
        await until(lambda: len(server.requests) == count)
        server.release()
        return [str(one) for one in await asyncio.gather(*asking)]

    assert run(work) == ["ok"] * count


def test_error_of_a_turn_is_raised_where_it_is_awaited(online: Hub, server: FakeServer) -> None:
    server.answer(refusal(400))
    chat = online.create_chat(model="openai:fake-1")
    with pytest.raises(errors.RejectedError) as caught:
        run(lambda: chat.ask_async("go"))
    assert caught.value.chat_id == chat.id


def test_hooks_see_the_context_variables_of_the_task(hub: Hub) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []
    chat = hub.create_chat(model="echo")
    chat.before_request(lambda request: seen.append(variable.get()))

    async def work() -> None:
        variable.set("set")
        await chat.ask_async("x")

    run(work)
    assert seen == ["set"]


def test_in_memory_hub_says_that_it_has_one_thread(env: Mapping[str, str]) -> None:
    with Hub(":memory:", env=env) as hub:
        chat = hub.create_chat(model="echo")
        with pytest.raises(errors.UsageError, match="in-memory"):
            run(lambda: chat.ask_async("x"))
        assert str(chat.ask("still works")) == "still works"


def test_program_that_ends_in_the_middle_leaves_finished_rows(env: Mapping[str, str]) -> None:
    code = """import asyncio
from llmctl import Hub
async def main():
    running = hub.create_chat(model="echo").stream_async("one two three")
    async for piece in running:
        if piece == " two":
            raise SystemExit(3)
hub = Hub()
asyncio.run(main())
"""
    done = run_python(code, env=env)
    assert (done.returncode, done.stderr) == (3, "")
    with Hub(env=env) as hub:
        assert hub.query("SELECT status FROM jobs") == [{"status": "cancelled"}]


def test_synchronous_programs_do_not_import_asyncio(tmp_path: Path, env: Mapping[str, str]) -> None:
    code = """import sys
from llmctl import Agent, Hub, tool
with Hub() as hub:
    hub.create_chat(model="echo").ask("hi")
print("asyncio" in sys.modules)
"""
    assert run_python(code, env=env).stdout == "False\n"


def test_tools_stay_available(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order])
    response = run(lambda: chat.ask_async("x", options=calling('lookup_order {"order_id": "1"}')))
    assert response.tool_calls[0]["status"] == "completed"
