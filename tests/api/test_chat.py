"""``from llmctl import Hub``: chats, streams, tables and metrics; the examples of @node-llm/orm in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import llmctl
from llmctl import Hub, StepStarted, TextDelta, ToolEvent, errors
from tests.api.support_agent import calling, lookup_order
from tests.fakes.openai_server import FakeServer, event, stream
from tests.harness import Llmctl, parse_json


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
    assert seen == "one two three"


def test_events_of_a_stream_tell_ids_and_tools(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order])
    with chat.stream("x", options=calling('lookup_order {"order_id": "789"}')) as running:
        events = list(running.events())
    started = next(one for one in events if isinstance(one, StepStarted))
    assert started.chat_id == chat.id
    assert [one.status for one in events if isinstance(one, ToolEvent)] == ["pending", "completed"]
    assert any(isinstance(one, TextDelta) for one in events)
    assert running.response.steps == 2


def test_every_exported_name_can_be_imported() -> None:
    assert [name for name in llmctl.__all__ if not hasattr(llmctl, name)] == []


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
    with pytest.raises(errors.UsageError, match="only read statements"):
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


def test_persist_options_leave_out_rows_and_still_count_usage(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order], persistence={"tool_calls": False, "requests": False})
    chat.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert hub.query("SELECT * FROM tool_invocations") == hub.query("SELECT * FROM requests") == []
    assert hub.stats()["input_tokens"] > 0
    hub.load_chat(chat.id, tools=[lookup_order]).ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert hub.query("SELECT * FROM tool_invocations") == []
    with pytest.raises(errors.UsageError, match="tool_call"):
        hub.create_chat(model="echo", persistence={"toolCall": False})


def test_persistence_may_be_written_as_nodellm_writes_it(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[lookup_order], persistence={"toolCalls": False})
    chat.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert hub.query("SELECT * FROM tool_invocations") == []
    assert len(chat.requests()) == 2


@pytest.mark.parametrize(
    ("keywords", "hint"),
    [
        ({"provider": "openai"}, 'connection="openai"'),
        ({"table_names": {"chats": "x"}}, "Hub(tables="),
        ({"tableNames": {"chats": "x"}}, "Hub(tables="),
        ({"seed": 1}, 'options={"seed": 1}'),
        ({"temperature": 0.5}, 'options={"temperature": 0.5}'),
        ({"max_cost": 1}, "ask()"),
        ({"project": "x"}, 'Hub(fields=["chats.NAME:TYPE"])'),
    ],
    ids=str,
)
def test_unknown_keyword_of_a_chat_names_the_right_one(hub: Hub, keywords: dict[str, Any], hint: str) -> None:
    with pytest.raises(errors.UsageError, match=next(iter(keywords))) as caught:
        hub.create_chat(model="echo", **keywords)
    assert hint in str(caught.value.hint)
    assert hub.chats() == []


@pytest.mark.parametrize(("keyword", "hint"), [("provider", "connection="), ("model", "create_chat"), ("x", "")])
def test_unknown_keyword_of_a_hub_names_the_right_one(env: Mapping[str, str], keyword: str, hint: str) -> None:
    wrong: Any = {keyword: "openai"}
    with pytest.raises(errors.UsageError, match=f'Hub.. has no keyword "{keyword}"') as caught:
        Hub(env=env, **wrong)
    assert hint in str(caught.value.hint)


def test_thinking_may_be_a_budget_as_nodellm_writes_it(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", thinking={"budget": 16000})
    assert chat.ask("x", thinking={"budget": 2000}).status == "completed"
    assert chat.record()["settings"]["thinking"] == 16000
    wrongs: tuple[Any, ...] = ({"budget": "many"}, {"budget": True}, {"effort": "low"}, {}, {"budget": 1, "type": "x"})
    for wrong in wrongs:
        with pytest.raises(errors.UsageError, match="thinking must be"):
            chat.ask("x", thinking=wrong)


def test_requests_of_a_chat_are_listed_newest_first(hub: Hub, llmctl: Llmctl) -> None:
    chat = hub.create_chat(model="echo")
    hub.create_chat(model="echo").ask("elsewhere")
    first, second = chat.ask("one"), chat.ask("two")
    assert [one["id"] for one in chat.requests()] == [second.request_id, first.request_id]
    assert len(chat.requests(limit=1)) == 1
    shown = parse_json(llmctl("request", "list", "--chat", chat.id, "--json"))
    assert [{name: one[name] for name in shown[0] if name in one} for one in chat.requests()] == shown


def test_chat_that_does_not_exist_is_none(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", name="talk")
    found = hub.find_chat("talk", instructions="Be brief.")
    assert found
    assert found.id == chat.id
    assert hub.find_chat("nowhere") is None


def test_tools_of_a_copy_do_not_change_the_chat(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    with_tool = chat.with_tool(lookup_order)
    assert chat.ask("x", options=calling('lookup_order {"order_id": "1"}')).tool_calls[0]["status"] != "completed"
    assert with_tool.ask("x", options=calling('lookup_order {"order_id": "1"}')).tool_calls[0]["status"] == "completed"


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
    assert server.requests
    for request in server.requests:
        sent = json.dumps(request.json["messages"])
        assert "the code is 4711" in sent
        assert "data:image/png;base64," in sent
    assert [one["media_type"] for one in chat.messages()[0]["attachments"]] == ["text/plain", "image/png"]
    with pytest.raises(errors.NotFoundError):
        chat.ask("look", files=["nowhere.txt"])


def test_empty_prompt_is_refused_before_anything_is_stored(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    for prompt in ("", "  "):
        with pytest.raises(errors.UsageError, match="empty"):
            chat.ask(prompt)
    with pytest.raises(errors.UsageError, match="no unfinished turn"):
        chat.ask()
    assert chat.messages() == hub.query("SELECT * FROM jobs") == []


def served(tier: str | None, usage: dict[str, int] | None) -> Any:
    """Return a streamed answer of a host that says in which tier it served the request."""
    chunk = {"id": "c", "model": "gpt-4.1", "service_tier": tier}
    steps = (
        event(chunk | {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}),
        event(chunk | {"choices": [], "usage": usage}),
        event("[DONE]"),
    )
    return replace(stream(""), steps=steps)


def test_request_is_priced_by_the_tier_that_served_it(online: Hub, server: FakeServer) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}
    chat = online.create_chat(model="openai:gpt-4.1")
    costs = {}
    for asked, answered in ((None, "default"), ("priority", "priority"), ("priority", "default"), (None, "priority")):
        server.answer(served(answered, usage))
        costs[asked, answered] = chat.ask("hi", options={"service_tier": asked} if asked else {}).cost
    normal, priority = costs[None, "default"], costs["priority", "priority"]
    assert normal
    assert priority
    assert priority > normal
    assert costs["priority", "default"] == normal
    assert costs[None, "priority"] == priority
    rows = online.query("SELECT usage_details FROM requests ORDER BY created_at")
    assert [row["usage_details"] for row in rows][1:3] == ['{"service_tier":"priority"}', '{"service_tier":"default"}']


def test_usage_that_no_provider_reported_is_none(online: Hub, server: FakeServer) -> None:
    server.answer(served(None, None))
    response = online.create_chat(model="openai:gpt-4.1").ask("hi")
    assert (response.input_tokens, response.output_tokens, response.cost) == (None, None, None)
    assert set(response.usage.values()) == {None}
