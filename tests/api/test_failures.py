"""Failed tools, exhausted budgets, dropped connections: what the caller sees and what the hub stores."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from textwrap import indent
from typing import Any

import pytest

from llmctl import Halt, Hub, errors, tool
from tests.api.support_agent import calling, lookup_order, replying
from tests.fakes.openai_server import RESET, FakeServer, refusal, stream
from tests.harness import PYTHON, ROOT, Llmctl


def test_failed_round_keeps_tools_and_what_was_billed(online: Hub, server: FakeServer) -> None:
    server.answer(replying('{"order_id": "7"}'), refusal(400, "bad"))
    chat = online.create_chat(model="openai:fake-1", tools=[lookup_order])
    with pytest.raises(errors.RejectedError) as caught:
        chat.ask("where?")
    assert caught.value.chat_id == chat.id
    rows = online.query("SELECT status, status_code, output_tokens FROM requests ORDER BY created_at")
    assert [(row["status"], row["status_code"]) for row in rows] == [("completed", 200), ("failed", 400)]
    assert online.query("SELECT status FROM tool_invocations") == [{"status": "completed"}]
    assert chat.stats()["total_tokens"] == 13
    assert [one["role"] for one in chat.messages()] == ["user"]


@pytest.mark.slow
def test_thousand_instant_calls_lose_no_row(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order])
    lines = [f'lookup_order {{"order_id": "{number}"}}' for number in range(1000)]
    response = chat.ask("x", options=calling(*lines))
    assert len(response.tool_calls) == 1000
    sql = "SELECT json_extract(arguments, '$.order_id') AS a, result, status FROM tool_invocations"
    rows = hub.query(sql)
    assert {json.loads(row["result"])["order"] for row in rows} == {row["a"] for row in rows}
    assert (len(rows), {row["status"] for row in rows}) == (1000, {"completed"})


def test_ids_that_a_provider_uses_twice_are_two_rows_each(online: Hub, server: FakeServer) -> None:
    server.answer(replying('{"order_id": "1"}', times=2), replying('{"order_id": "3"}'))
    chat = online.create_chat(model="openai:fake-1", tools=[lookup_order])
    chat.ask("go")
    rows = online.query("SELECT result, provider_call_id AS id FROM tool_invocations ORDER BY rowid")
    assert [json.loads(row["result"])["order"] for row in rows] == ["1", "1", "3"]
    assert {row["id"] for row in rows} == {"call_0"}


def _sleep() -> str:
    time.sleep(30)
    return "late"


def _crash() -> str:
    raise ValueError("out of order")


@pytest.mark.parametrize(
    ("call", "status", "told"),
    [
        ('lookup_order {"order_id": 7}', "failed", "Invalid tool arguments: "),
        ("lookup_order {oops", "failed", "Invalid tool arguments: "),
        ("lookup_order {}", "failed", "Invalid tool arguments: "),
        ("missing {}", "failed", "Model tried to call unavailable tool 'missing'. Available tools: ["),
        ("refund {}", "denied", "This action is not permitted."),
        ("slow {}", "failed", "Error executing tool 'slow': no result within 0.2 s"),
        ("crash {}", "failed", "Error executing tool 'crash': ValueError: out of order"),
    ],
    ids=["wrong type", "malformed", "missing argument", "unknown", "denied", "time-out", "crash"],
)
def test_call_that_fails_is_a_row_and_a_text(hub: Hub, call: str, status: str, told: str) -> None:
    tools = [
        lookup_order,
        tool(name="refund", permission="denied")(_crash),
        tool(name="slow", timeout=0.2)(_sleep),
        tool(name="crash")(_crash),
    ]
    chat = hub.create_chat(model="echo", tools=tools)
    response = chat.ask("x", options=calling(call))
    assert (response.status, response.tool_calls[0]["status"]) == ("completed", status)
    assert response.tool_calls[0]["result"].startswith(told)
    (row,) = hub.query("SELECT status, error, finished_at FROM tool_invocations")
    assert row["status"] == status
    assert row["error"]
    assert row["finished_at"]


def test_what_is_no_tool_is_refused_and_says_why(hub: Hub) -> None:
    def odd(a: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
        return str(a)

    chat = hub.create_chat(model="echo")
    for wanted, word in [
        (42, "42"),
        ("nosuch", '"nosuch"'),
        ("time:maybe", '"maybe"'),
        (odd, '"odd"'),
        (lambda: 1, "<lambda>"),
    ]:
        with pytest.raises(errors.LlmctlError, match=word):
            chat.ask("x", tools=[wanted])
    schema = {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"]}
    given = tool(name="odder", schema=schema)(odd)
    assert chat.ask("x", tools=[given], options=calling('odder {"a": "b"}')).tool_calls[0]["result"] == "b"


def test_tool_ends_the_run_with_its_own_answer(hub: Hub) -> None:
    @tool
    async def stop(why: str) -> Halt:
        """End it."""
        return Halt(f"stopped: {why}")

    response = hub.create_chat(model="echo", tools=[stop]).ask("x", options=calling('stop {"why": "enough"}'))
    assert (response.content, response.steps) == ("stopped: enough", 1)


def test_call_that_needs_a_person_waits_is_asked_about_or_approved(hub: Hub) -> None:
    asked: list[str] = []

    @tool(permission="user-permitted")
    def cancel(order_id: str) -> str:
        """Cancel an order."""
        return f"{order_id} is cancelled"

    options = calling('cancel {"order_id": "7"}')
    chat = hub.create_chat(model="echo", tools=[cancel])
    with pytest.raises(errors.PendingError) as caught:
        chat.ask("x", options=options)
    assert caught.value.reason == "approval"
    assert [row["name"] for row in chat.pending()] == ["cancel"]
    assert chat.ask(approve=["cancel"]).tool_calls[0]["result"] == "7 is cancelled"
    assert chat.pending() == []
    no = hub.load_chat(chat.id, tools=[cancel], confirm=lambda question: bool(asked.append(question.arguments)))
    assert no.ask("again", options=options).tool_calls[0]["result"] == "Action cancelled by user."
    assert asked == ['{"order_id": "7"}']


def test_waiting_call_of_a_program_is_approved_from_a_shell(hub: Hub, llmctl: Llmctl) -> None:
    ran: list[str] = []

    @tool(permission="user-permitted")
    def cancel(order_id: str) -> str:
        """Cancel an order."""
        ran.append(order_id)
        return "done"

    chat = hub.create_chat(model="echo", tools=[cancel])
    with pytest.raises(errors.PendingError):
        chat.ask("x", options=calling('cancel {"order_id": "7"}'))
    assert ran == []
    llmctl("tool", "approve", chat.pending()[0]["id"], check=True)
    assert chat.ask().tool_calls[0]["status"] == "completed"
    assert ran == ["7"]


def test_feedback_reaches_the_model_when_an_answer_is_corrected(online: Hub, server: FakeServer) -> None:
    server.answer(stream("no JSON at all"), stream('{"n": 3}'))
    response = online.create_chat(model="openai:fake-1").ask("count", schema="n int", fix=2)
    assert response.data == {"n": 3}
    assert "Answer again" in server.requests[1].messages[-1][1]
    rounds = [row["correction_rounds"] for row in online.query("SELECT * FROM requests ORDER BY created_at")]
    assert rounds == [0, 1]


def test_budget_is_refused_before_the_call_and_leaves_what_was_spent(online: Hub, server: FakeServer) -> None:
    chat = online.create_chat(model="openai:gpt-4o")
    with pytest.raises(errors.BudgetError):
        chat.ask("hello", max_cost=0.0000001)
    assert server.requests == []
    assert chat.ask("hello", max_cost=5).cost is not None
    assert len(online.query("SELECT * FROM requests WHERE status = 'completed'")) == 1


def test_fallback_takes_over_where_nothing_was_answered(online: Hub, server: FakeServer) -> None:
    server.answer(refusal(503), refusal(503))
    chat = online.create_chat(model="openai:fake-1")
    response = chat.ask("hello", retries=0, fallback=["echo"])
    assert (response.provider, response.content) == ("echo", "hello")
    assert len(online.query("SELECT * FROM requests WHERE status = 'failed'")) == 1


@pytest.mark.parametrize("how", ["break", "raise", "close", "with", "hub"])
def test_consumer_that_stops_early_leaves_finished_rows(env: Mapping[str, str], how: str) -> None:
    hub = Hub(env=env)
    chat = hub.create_chat(model="echo")
    running = chat.stream("one two three four")
    with suppress(RuntimeError):
        _stop_early(running, how)
    if how == "hub":
        hub.close()
    del running
    with Hub(env=env) as again:
        assert again.query("SELECT status FROM jobs") == [{"status": "cancelled"}]
        assert again.query("SELECT status FROM requests") == [{"status": "interrupted"}]
        assert again.query("SELECT status, content FROM messages WHERE role = 'assistant'") == [
            {"status": "interrupted", "content": "one two"}
        ]
        answer = again.load_chat(chat.id).ask()
        assert answer.content == "one two three four"


def _stop_early(running: Any, how: str) -> None:
    if how == "with":
        with running:
            next(running), next(running)
            raise RuntimeError("the consumer broke")
    for number, _ in enumerate(running):
        if number == 1:
            if how == "raise":
                raise RuntimeError("the consumer broke")
            break
    if how == "close":
        running.close()


@pytest.mark.parametrize("with_block", [True, False], ids=["with", "without"])
def test_program_that_dies_in_the_loop_leaves_finished_rows(env: Mapping[str, str], with_block: bool) -> None:
    body = """running = hub.create_chat(model="echo").stream("one two three")
for number, piece in enumerate(running):
    if number:
        raise SystemError("died")
"""
    script = "from llmctl import Hub\n"
    script += "with Hub() as hub:\n" + indent(body, "    ") if with_block else "hub = Hub()\n" + body
    done = subprocess.run([PYTHON, "-c", script], env={**env, "PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert "SystemError: died" in done.stderr
    assert done.stderr.count("Traceback") == 1, done.stderr
    with Hub(env=env) as hub:
        assert hub.query("SELECT status FROM jobs") == [{"status": "cancelled"}]
        assert hub.query("SELECT status, content FROM messages WHERE role = 'assistant'") == [
            {"status": "interrupted", "content": "one two"}
        ]


def test_dropped_connection_raises_and_stores_the_partial_answer(online: Hub, server: FakeServer) -> None:
    server.answer(stream("one two three", then=RESET))
    chat = online.create_chat(model="openai:fake-1")
    seen: list[str] = []
    with pytest.raises(errors.IncompleteError):
        seen.extend(chat.stream("go"))
    last = chat.messages()[-1]
    assert (last["status"], last["content"]) == ("incomplete", "one two three")
