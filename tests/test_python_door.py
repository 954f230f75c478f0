# ruff: noqa: RUF012 (agents are written as people write them)
"""``from llmctl import Hub, Agent, tool``: the examples of @node-llm/orm in Python, and what they have to withstand."""

from __future__ import annotations

import doctest
import importlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

import llmctl
from llmctl import Agent, Chat, Halt, Hub, Middleware, errors, tool
from llmctl.core.chat import ChatRequest
from llmctl.core.messages import Message
from llmctl.engine.turn.result import Started, ToolRun
from tests.cli.cli_stage import PYTHON, ROOT
from tests.conftest import Run
from tests.fakes.openai_server import RESET, FakeServer, event, json_reply, refusal, stream


@tool
def lookup_order(order_id: str) -> dict[str, str]:
    """Look up the status of an order.

    order_id: number of the order
    """
    return {"order": order_id, "status": "shipped", "eta": "Tomorrow"}


class SupportAgent(Agent):
    """Helps customers."""

    model = "echo"
    instructions = "You are a helpful support agent{% if user is defined %} of {{ user }}{% endif %}."
    tools = [lookup_order]


def calling(*calls: str) -> dict[str, str]:
    """Return the options that let echo call these tools at once."""
    return {"tool": "\n".join(calls)}


def replying(arguments: str, *, id: str = "call_0", name: str = "lookup_order", times: int = 1) -> Any:
    """Return a streamed answer that calls a tool, as OpenAI words it."""
    calls = [
        {"index": i, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for i in range(times)
    ]
    steps = (
        event({"id": "c", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": calls}}]}),
        event({"id": "c", "model": "fake-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        event({"id": "c", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}),
        event("[DONE]"),
    )
    return replace(stream(""), steps=steps)


@pytest.fixture
def hub(env: Mapping[str, str]) -> Iterator[Hub]:
    with Hub(env=env) as hub:
        yield hub


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def online(env: Mapping[str, str], server: FakeServer) -> Iterator[Hub]:
    """A hub whose openai is the fake server."""
    with Hub(env={**env, "OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": server.url}) as hub:
        yield hub


# --- the examples, line by line -----------------------------------------------------------------------------------


def test_chat_is_created_asked_and_looked_back_on(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", instructions="You are a helpful assistant.")
    response = chat.ask("What is the capital of France?")
    assert response.content == str(response) == "What is the capital of France?"
    assert response.status == "completed"
    assert (response.input_tokens, response.output_tokens) == (11, 6)
    said = [(one["role"], one["content"]) for one in chat.messages()]
    assert said[1:] == [("user", "What is the capital of France?"), ("assistant", response.content)]


def test_system_prompt_is_really_sent_also_when_the_chat_is_loaded(online: Hub, server: FakeServer) -> None:
    chat = online.create_chat(model="openai:fake-1", instructions="You are a helpful assistant.", name="talk")
    chat.ask("one")
    online.load_chat("talk").ask("two")
    assert [request.messages[0][1] for request in server.requests] == ["You are a helpful assistant."] * 2
    assert [text for _, text in server.requests[1].messages[1:]] == ["one", "echo: one", "two"]


def test_tokens_are_streamed_and_kept(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    assert list(chat.stream("Tell me a story")) == ["Tell", " me", " a", " story"]
    last = chat.messages()[-1]
    assert (last["content"], last["status"]) == ("Tell me a story", "completed")
    (request,) = hub.query("SELECT input_tokens, output_tokens FROM requests")
    assert (last["input_tokens"], last["output_tokens"]) == tuple(request.values()) == (4, 4)


def test_every_piece_is_in_the_hub_before_it_is_seen(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    seen = ""
    for piece in chat.stream("one two three"):
        seen += piece
        assert chat.messages()[-1]["content"] == seen


def test_events_of_a_stream_tell_ids_and_tools(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order])
    with chat.stream("x", options=calling('lookup_order {"order_id": "789"}')) as running:
        events = list(running.events())
    started = next(one for one in events if isinstance(one, Started))
    assert started.chat_id == chat.id
    assert [one.status for one in events if isinstance(one, ToolRun)] == ["pending", "completed"]
    assert running.response.steps == 2


def test_custom_table_names_are_remembered_in_any_case(env: Mapping[str, str]) -> None:
    names = {"chat": "assistantChat", "message": "AssistantMessage", "toolCall": "assistantToolCall"}
    with Hub(env=env, tables=names | {"request": "assistant_request", "stream_chunks": "Pieces"}) as hub:
        chat = hub.create_chat(model="echo", tools=[lookup_order])
        chat.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    with Hub(env=env) as hub:
        assert hub.load_chat(chat.id).ask("again").content == "again"
        assert hub.query("SELECT count(*) AS n FROM AssistantMessage WHERE role = 'user'") == [{"n": 2}]
        assert hub.query("SELECT count(*) AS n FROM assistantToolCall") == [{"n": 1}]
    with pytest.raises(errors.UsageError, match='no table "chatz"'):
        Hub(env=env, tables={"chatz": "x"})


def test_tools_are_tracked_without_additional_configuration(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    response = chat.with_tool(lookup_order).ask("Where is it?", options=calling('lookup_order {"order_id": "789"}'))
    (call,) = response.tool_calls
    assert call["arguments"] == {"order_id": "789"}
    assert json.loads(call["result"])["status"] == "shipped"
    (row,) = hub.query("SELECT name, arguments, status, duration FROM tool_invocations")
    assert (row["name"], json.loads(row["arguments"]), row["status"]) == (
        "lookup_order",
        {"order_id": "789"},
        "completed",
    )
    with pytest.raises(errors.NotFoundError):
        hub.load_chat("chat-id-123")


def test_metrics_of_a_chat_are_queried(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    chat.ask("one two")
    chat.ask("three")
    stats = chat.stats()
    sql = "SELECT sum(input_tokens + output_tokens) AS tokens FROM requests WHERE chat_id = :chat"
    assert hub.query(sql, chat=chat.id) == [{"tokens": stats["total_tokens"]}]
    assert (stats["requests"], stats["cost"], hub.stats()["requests"]) == (2, 0.0, 2)
    (group,) = hub.stats(group_by="model")["groups"]
    assert (group["model"], group["requests"]) == ("echo", 2)
    with pytest.raises(errors.UsageError, match="only reading"):
        hub.query("DELETE FROM chats")


def test_custom_fields_and_metadata_are_kept(env: Mapping[str, str]) -> None:
    with Hub(env=env, fields=["chats.user_id:text", "chats.vip:boolean"]) as hub:
        metadata = {"source": "web-client", "tags": ["experiment-a"]}
        chat = hub.create_chat(model="echo", user_id="user_123", vip=True, metadata=metadata)
        record = chat.record()
        assert (record["user_id"], record["vip"], record["metadata"]) == ("user_123", True, metadata)
        assert hub.stats(group_by=["user_id"])["groups"] == []
        with pytest.raises(errors.UsageError, match='no custom field "projectId"') as caught:
            hub.create_chat(model="echo", projectId="proj_abc")
        assert "user_id, vip" in str(caught.value.hint)


def test_persistence_keeps_out_what_is_named_and_counts_it(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order], persistence={"tool_calls": False, "requests": False})
    chat.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert hub.query("SELECT * FROM tool_invocations") == hub.query("SELECT * FROM requests") == []
    assert hub.stats()["input_tokens"] > 0
    hub.load_chat(chat.id, tools=[lookup_order]).ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert hub.query("SELECT * FROM tool_invocations") == []
    with pytest.raises(errors.UsageError, match="toolCalls"):
        hub.create_chat(model="echo", persistence={"toolCalls": False})


def test_provider_and_model_of_the_environment_are_honoured(env: Mapping[str, str]) -> None:
    with Hub(env={**env, "NODELLM_PROVIDER": "echo", "NODELLM_MODEL": "echo-9"}) as hub:
        assert hub.create_chat().ask("hi").model == "echo-9"


def test_thinking_is_kept_by_the_chat_and_given_for_a_turn(online: Hub, server: FakeServer) -> None:
    chat = online.create_chat(model="openai:fake-1", thinking="low")
    chat.ask("one")
    chat.ask("two", thinking="high")
    online.load_chat(chat.id).ask("three")
    assert [request.json["reasoning_effort"] for request in server.requests] == ["low", "high", "low"]


def test_files_travel_with_a_question_and_again_with_the_next(online: Hub, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("the code is 4711")
    picture = b"\x89PNG\r\n\x1a\n" + bytes(16)
    chat = online.create_chat(model="openai:fake-1")
    chat.ask("look", files=[tmp_path / "note.txt", picture])
    chat.ask("again")
    for request in server.requests:
        sent = json.dumps(request.json["messages"])
        assert "the code is 4711" in sent
        assert "data:image/png;base64," in sent
    assert [one["media_type"] for one in chat.messages()[0]["attachments"]] == ["text/plain", "image/png"]
    with pytest.raises(errors.NotFoundError):
        chat.ask("look", files=["nowhere.txt"])


def test_prompt_that_is_none_is_refused_before_anything_is_kept(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    for prompt in ("", "  "):
        with pytest.raises(errors.UsageError, match="empty"):
            chat.ask(prompt)
    with pytest.raises(errors.UsageError, match="nothing is unfinished"):
        chat.ask()
    assert chat.messages() == hub.query("SELECT * FROM jobs") == []


# --- agents and their sessions ------------------------------------------------------------------------------------


def test_session_is_created_and_resumed(hub: Hub) -> None:
    session = hub.create_agent_session(SupportAgent, metadata={"user": "Ann", "ticket": "TKT-456"})
    session.ask("Where is my order #789?", options=calling('lookup_order {"order_id": "789"}'))
    again = hub.load_agent_session(SupportAgent, session.id)
    assert again.ask("Can you cancel it?").content == "Can you cancel it?"
    assert again.messages()[0]["content"] == "You are a helpful support agent of Ann."
    assert again.metadata == {"user": "Ann", "ticket": "TKT-456"}
    (row,) = hub.query("SELECT agent_class, chat_id FROM agent_sessions")
    assert row == {"agent_class": "SupportAgent", "chat_id": session.chat_id}


def test_code_wins_when_a_session_is_resumed(online: Hub, server: FakeServer) -> None:
    class Clerk(Agent):
        model = "openai:fake-1"
        instructions = "Old."

    first = Clerk
    session = online.create_agent_session(first)
    session.ask("one")

    class Clerk(Agent):  # type: ignore[no-redef]
        model = "openai:fake-2"
        instructions = "New."
        tools = [lookup_order]
        options = {"temperature": 0.5}

    online.load_agent_session(Clerk, session.id).ask("two")
    body = server.requests[1].json
    assert (body["model"], body["temperature"], len(body["tools"])) == ("fake-2", 0.5, 1)
    assert [text for role, text in server.requests[1].messages if role != "system"] == ["one", "echo: one", "two"]
    assert server.requests[1].messages[0][1] == "New."
    versions = {row["agent_version"] for row in online.query("SELECT agent_version FROM requests")}
    assert len(versions) == 2


def test_change_in_a_tools_source_changes_the_fingerprint(hub: Hub) -> None:
    def agent(answer: int) -> type[Agent]:
        namespace: dict[str, Any] = {"Agent": Agent}
        exec(f"def price() -> int:\n    return {answer}\n", namespace)
        return type("Pricer", (Agent,), {"model": "echo", "tools": [namespace["price"]]})

    session = hub.create_agent_session(agent(1))
    session.ask("a")
    hub.load_agent_session(agent(1), session.id).ask("b")
    hub.load_agent_session(agent(2), session.id).ask("c")
    versions = [row["agent_version"] for row in hub.query("SELECT agent_version FROM requests ORDER BY created_at")]
    assert versions[0] == versions[1] != versions[2]


def test_session_of_another_class_is_refused_unless_forced(hub: Hub) -> None:
    class Renamed(SupportAgent):
        pass

    session = hub.create_agent_session(SupportAgent)
    session.ask("one")
    with pytest.raises(errors.UsageError) as caught:
        hub.load_agent_session(Renamed, session.id)
    assert str(caught.value) == (
        f'Agent class mismatch: Session "{session.id}" was created for "SupportAgent", '
        'but is being loaded with "Renamed".'
    )
    assert hub.load_agent_session(Renamed, session.id, force=True).ask("two").content == "two"
    assert hub.query("SELECT agent_class FROM agent_sessions") == [{"agent_class": "Renamed"}]


def test_tools_and_instructions_of_a_turn_are_really_sent(online: Hub, server: FakeServer) -> None:
    class Static(SupportAgent):
        model = "openai:fake-1"

    def weather(city: str) -> str:
        """Tell the weather."""
        return "sunny"

    session = online.create_agent_session(Static)
    session.with_tool(weather).with_instructions("Be brief.").ask("one")
    session.ask("two")
    bodies = [request.json for request in server.requests]
    assert [[one["function"]["name"] for one in body["tools"]] for body in bodies] == [
        ["lookup_order", "weather"],
        ["lookup_order"],
    ]
    systems = [[text for role, text in request.messages if role == "system"] for request in server.requests]
    assert systems == [["You are a helpful support agent.\nBe brief."], ["You are a helpful support agent."]]


def test_instructions_may_be_a_function_of_the_metadata(hub: Hub) -> None:
    class Greeter(Agent):
        model = "echo"

        def instructions(self, metadata: Mapping[str, Any]) -> str:
            return f"Hello {metadata.get('user', '?')}"

    class Short(Agent):
        model = "echo"
        instructions = staticmethod(lambda metadata: f"Hi {metadata['user']}")

    session = hub.create_agent_session(Greeter)
    session.ask("one")
    session.update_metadata(user="Ann")
    session.ask("two")
    session.ask("three", inputs={"user": "Bob"})
    systems = [one["content"] for one in session.messages() if one["role"] == "system"]
    assert systems == ["Hello ?", "Hello Ann", "Hello Bob"]
    assert session.metadata == {"user": "Ann"}
    other = hub.create_agent_session(Short, metadata={"user": "Eve"})
    other.ask("x")
    assert other.messages()[0]["content"] == "Hi Eve"


def test_classes_inherit_and_say_what_a_turn_is_made_of(hub: Hub) -> None:
    class Base(Agent):
        model = "echo"
        options = {"reply": '{"n": 1}'}
        max_steps = 3

    class Extractor(Base):
        name = "extractor"
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    session = hub.create_agent_session(Extractor)
    assert session.ask("go").data == {"n": 1}
    with pytest.raises(errors.InvalidOutputError):
        session.ask("go", options={"reply": "no JSON"})
    assert hub.query("SELECT name FROM agents") == [{"name": "extractor"}]


def test_two_processes_change_metadata_without_losing_any(hub: Hub, env: Mapping[str, str]) -> None:
    session = hub.create_agent_session(SupportAgent, metadata={"a": 1})
    with Hub(env=env) as other:
        other.load_agent_session(SupportAgent, session.id).update_metadata(b=2)
    assert session.update_metadata(c=3, a=None) == {"b": 2, "c": 3}


def test_session_is_deleted_with_its_text_but_not_its_numbers(hub: Hub) -> None:
    session = hub.create_agent_session(SupportAgent)
    session.ask("a word like xylophone")
    session.delete()
    assert hub.query("SELECT * FROM agent_sessions") == hub.query("SELECT * FROM messages") == []
    assert hub.stats()["requests"] == 1
    assert b"xylophone" not in Path(hub.path).read_bytes()


def test_agent_of_that_name_that_is_no_class_is_left_alone(hub: Hub, llmctl: Run) -> None:
    llmctl("agent", "create", "SupportAgent", "-m", "echo", check=True)
    with pytest.raises(errors.UsageError, match="no Python class"):
        hub.create_agent_session(SupportAgent)


def test_session_of_a_class_is_gone_on_with_by_the_command_line(hub: Hub, llmctl: Run) -> None:
    session = hub.create_agent_session(SupportAgent, metadata={"user": "Ann"})
    session.ask("one")
    done = llmctl("agent", "run", "SupportAgent", "--session", session.id, "two", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content"] == "two"
    assert session.ask("three").content == "three"


# --- hooks --------------------------------------------------------------------------------------------------------


def test_hooks_are_called_in_the_order_of_an_onion(hub: Hub) -> None:
    heard: list[str] = []

    class Noting(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        def before_request(self, request: ChatRequest) -> None:
            heard.append(f"{self.name}:before")

        def after_response(self, response: Any) -> None:
            heard.append(f"{self.name}:after")

        def on_tool_start(self, run: ToolRun) -> None:
            heard.append(f"{self.name}:start {run.name}")

        def on_tool_end(self, run: ToolRun) -> None:
            heard.append(f"{self.name}:end {run.status}")

    hub.middlewares.append(Noting("hub"))
    chat = hub.create_chat(model="echo", tools=[lookup_order], middlewares=[Noting("chat")])
    chat.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    step = ["hub:before", "chat:before", "chat:after", "hub:after"]
    tools = ["hub:start lookup_order", "chat:start lookup_order", "chat:end completed", "hub:end completed"]
    assert heard == [*step, *tools, *step]


def test_request_may_be_changed_before_it_is_sent(online: Hub, server: FakeServer) -> None:
    chat = online.create_chat(model="openai:fake-1")
    chat.ask("first")

    @chat.before_request
    def mask(request: ChatRequest) -> ChatRequest:
        messages = tuple(Message.of(one.role, one.text.replace("4111", "****")) for one in request.messages)
        return replace(request, messages=messages, options={**request.options, "seed": 7})

    chat.ask("my card is 4111")
    sent = server.requests[1]
    assert (sent.messages[-1][1], sent.json["seed"]) == ("my card is ****", 7)
    assert chat.messages()[2]["content"] == "my card is 4111"
    (call,) = online.query("SELECT body FROM network_calls ORDER BY created_at DESC LIMIT 1")
    assert json.loads(call["body"]) == sent.json


def test_policy_that_raises_ends_the_turn_unsent(online: Hub, server: FakeServer) -> None:
    chat = online.create_chat(model="openai:fake-1")
    heard: list[BaseException] = []
    chat.on_error(heard.append)

    @chat.before_request
    def refuse(request: ChatRequest) -> None:
        raise PermissionError("not in this house")

    with pytest.raises(PermissionError):
        chat.ask("hello")
    assert [type(one) for one in heard] == [PermissionError]
    assert server.requests == []
    assert online.query("SELECT status FROM jobs") == [{"status": "cancelled"}]
    assert online.load_chat(chat.id).ask().content == "echo: hello"


@pytest.mark.parametrize("hook", ["after_response", "on_tool_start", "on_tool_end"])
def test_observer_that_fails_is_logged_and_fails_no_turn(hub: Hub, caplog: pytest.LogCaptureFixture, hook: str) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order])

    def broken(what: Any) -> None:
        raise ZeroDivisionError("metrics are down")

    getattr(chat, hook)(broken)
    with caplog.at_level(logging.ERROR, logger="llmctl"):
        response = chat.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert response.status == "completed"
    assert response.tool_calls[0]["status"] == "completed"
    assert "metrics are down" in caplog.text


def test_hooks_of_an_agents_class_fire_in_its_sessions(hub: Hub) -> None:
    heard: list[str] = []

    class Watched(SupportAgent):
        def on_tool_end(self, run: ToolRun) -> None:
            heard.append(run.name)

    session = hub.create_agent_session(Watched)
    session.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert heard == ["lookup_order"]


# --- what goes wrong ----------------------------------------------------------------------------------------------


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


def test_waiting_call_of_a_program_is_approved_from_a_shell(hub: Hub, llmctl: Run) -> None:
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


def test_dropped_connection_raises_and_keeps_what_came(online: Hub, server: FakeServer) -> None:
    server.answer(stream("one two three", then=RESET))
    chat = online.create_chat(model="openai:fake-1")
    seen: list[str] = []
    with pytest.raises(errors.IncompleteError):
        seen.extend(chat.stream("go"))
    last = chat.messages()[-1]
    assert (last["status"], last["content"]) == ("incomplete", "one two three")


# --- threads, processes, weight -----------------------------------------------------------------------------------


def test_one_hub_is_shared_by_threads(hub: Hub) -> None:
    failed: list[BaseException] = []

    def talk(number: int) -> None:
        try:
            chat = hub.create_chat(model="echo", name=f"talk {number}", tools=[lookup_order])
            for turn in range(5):
                assert chat.ask(f"{number} {turn}").content == f"{number} {turn}"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert hub.query("SELECT count(*) AS n FROM requests WHERE status = 'completed'") == [{"n": 40}]


def test_stream_is_gone_on_with_in_another_thread(hub: Hub) -> None:
    running = hub.create_chat(model="echo").stream("one two three")
    pieces: list[str] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: pieces.append(next(running)))
        thread.start()
        thread.join()
        hub.create_chat(model="echo").ask("meanwhile")
    assert "".join(pieces) == "one two three"
    assert list(running) == []
    assert running.response.status == "completed"


def test_two_turns_of_one_chat_exclude_each_other(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    with chat.stream("one two") as running:
        next(running)
        with pytest.raises(errors.LockedError):
            chat.ask("not now")
    assert chat.ask("now", wait=1).content == "now"
    seqs = [row["seq"] for row in hub.query("SELECT seq FROM messages ORDER BY created_at")]
    assert seqs == sorted(set(seqs))


def test_hub_in_memory_belongs_to_its_thread() -> None:
    found: list[BaseException] = []
    with Hub(":memory:", {"HOME": "/nonexistent"}) as hub:
        chat: Chat = hub.create_chat(model="echo")

        def other() -> None:
            try:
                chat.ask("x")
            except errors.UsageError as error:
                found.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert "belongs to the thread" in str(found[0])
        assert chat.ask("x").content == "x"


def test_missing_hub_is_made_only_where_that_is_wanted(env: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="there is no hub"):
        Hub(tmp_path / "none.db", env, create=False)
    with pytest.raises(errors.ConfigError, match="no home folder"):
        Hub(env={})
    with Hub(tmp_path / "own.db", env) as hub:
        assert hub.path == str(tmp_path / "own.db")
    assert not Path(env["LLMCTL_DB"]).exists()
    with pytest.raises(errors.StorageError, match="closed"):
        hub.create_chat(model="echo")


def test_importing_the_package_costs_nothing(env: Mapping[str, str]) -> None:
    def loaded(code: str) -> set[str]:
        script = f"import sys; bare = set(sys.modules); {code}\nprint(*(set(sys.modules) - bare))"
        done = subprocess.run([PYTHON, "-c", script], env={"PYTHONPATH": ROOT}, capture_output=True, text=True)
        return set(done.stdout.split())

    assert loaded("import llmctl") == {"llmctl"}
    light = loaded("from llmctl import Agent, tool")
    assert {name for name in light if name.startswith("llmctl.")} == {
        *("llmctl.api.agent", "llmctl.api.middleware", "llmctl.core", "llmctl.core.tools")
    }
    heavy = {"typer", "httpx", "sqlite_utils", "jinja2", "rich", "asyncio", "importlib.metadata", "genai_prices"}
    assert loaded("from llmctl import Hub") & heavy == set()


def test_names_of_the_door_are_there_and_others_are_not() -> None:
    for name in llmctl.__all__:
        assert getattr(llmctl, name)
    with pytest.raises(AttributeError, match="Hubb"):
        llmctl.Hubb  # noqa: B018


@pytest.mark.parametrize("name", ["agent", "chat", "hub", "session"])
def test_examples_in_docstrings_run(name: str, env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    found = doctest.testmod(importlib.import_module(f"llmctl.{name}"))
    assert found.attempted
    assert not found.failed


def test_package_is_typed_where_it_is_used(tmp_path: Path) -> None:
    mypy = subprocess.run([sys.executable, "-c", "import mypy"], capture_output=True)
    if mypy.returncode:
        pytest.skip("mypy is not installed")
    (tmp_path / "use.py").write_text("""
from llmctl import Agent, Hub, tool
@tool
def add(a: int, b: int = 1) -> int:
    return a + b
class Adder(Agent):
    model = "echo"
    tools = [add]
with Hub() as hub:
    number: int = add(1)
    text: str = hub.create_chat(model="echo").ask("hi", thinking="low").content
    for piece in hub.create_agent_session(Adder).with_tool(add).stream("x"):
        text += piece
    hub.create_chat().ask("x", max_stepps=1)  # wrong
""")
    words = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", "use.py"]
    done = subprocess.run(words, cwd=tmp_path, env={"MYPYPATH": ROOT, "PATH": ""}, capture_output=True, text=True)
    assert 'Unexpected keyword argument "max_stepps"' in done.stdout
    assert "Found 1 error" in done.stdout, done.stdout


def test_usage_of_a_json_answer_is_that_of_the_command_line(hub: Hub, llmctl: Run) -> None:
    theirs = json.loads(llmctl("chat", "-m", "echo", "hi", "--json").stdout)
    ours = hub.create_chat(model="echo").ask("hi").as_dict()
    assert ours.keys() == theirs.keys()
    assert [ours[name] for name in ("content", "usage", "cost")] == [
        theirs[name] for name in ("content", "usage", "cost")
    ]


def test_agent_of_the_hub_is_talked_to_by_name(hub: Hub, llmctl: Run) -> None:
    words = ("--instructions", "You help {{ user }}.", "--tool", "time:auto", "-o", "temperature=0.5")
    llmctl("agent", "create", "helper", "-m", "echo", *words, check=True)
    session = hub.create_agent_session("helper", metadata={"user": "Ann"})
    answer = session.ask("x", options=calling('time {"zone": "UTC"}'))
    assert answer.tool_calls[0]["status"] == "completed"
    assert hub.load_agent_session("helper", session.id).messages()[0]["content"] == "You help Ann."
    with pytest.raises(errors.UsageError, match="is a session of an agent"):
        hub.load_chat(session.chat_id)


def test_class_asks_an_agent_of_the_hub(hub: Hub, llmctl: Run) -> None:
    llmctl("agent", "create", "helper", "-m", "echo", "--instructions", "You help.", check=True)

    class Boss(Agent):
        model = "echo"
        agents = ["helper"]

    answer = hub.create_agent_session(Boss).ask("x", options=calling('helper {"prompt": "what is it?"}'))
    assert answer.tool_calls[0]["result"] == "what is it?"
    assert [row["agent"] for row in hub.query("SELECT agent FROM requests ORDER BY created_at")] == [
        *("Boss", "helper", "Boss")
    ]


def test_child_that_ends_leaves_the_turn_of_its_parent_alone(env: Mapping[str, str]) -> None:
    script = """
import os, sys
from llmctl import Hub
hub = Hub()
running = hub.create_chat(model="echo").stream("one two three")
print(next(running), flush=True)
if os.fork() == 0:
    hub.close()
    os._exit(0)
os.wait()
print(*running, running.response.status)
"""
    done = subprocess.run([PYTHON, "-c", script], env={**env, "PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("one\n two  three completed\n", "")


def test_hub_that_a_process_inherits_opens_connections_of_its_own(env: Mapping[str, str]) -> None:
    script = """
import os
from llmctl import Hub
hub = Hub()
chat = hub.create_chat(model="echo")
with hub.lent() as inherited:
    pass
if os.fork() == 0:
    with hub.lent() as own:
        assert own is not inherited
    for turn in range(20):
        hub.create_chat(model="echo").ask("child")
    os._exit(0)
for turn in range(20):
    chat.ask("parent")
assert os.wait()[1] == 0
print(hub.stats()["requests"])
"""
    done = subprocess.run([PYTHON, "-c", script], env={**env, "PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("40\n", "")


def test_ctrl_c_in_the_middle_of_an_answer_leaves_finished_rows(env: Mapping[str, str]) -> None:
    script = """
import _thread, threading
from llmctl import Hub
with Hub() as hub:
    threading.Timer(0.5, _thread.interrupt_main).start()
    hub.create_chat(model="echo").ask("one two", options={"stall": 5, "after": 1})
"""
    done = subprocess.run([PYTHON, "-c", script], env={**env, "PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    with Hub(env=env) as hub:
        assert hub.query("SELECT status FROM jobs") == [{"status": "cancelled"}]
        assert hub.query("SELECT status, content FROM messages WHERE role = 'assistant'") == [
            {"status": "interrupted", "content": "one"}
        ]


def test_document_is_answered_without_a_stream(online: Hub, server: FakeServer) -> None:
    message = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    server.answer(json_reply(200, {"id": "1", "model": "fake-1", **message}))
    assert online.create_chat(model="openai:fake-1").ask("x", stream=False).content == "hi"
