"""Middleware: the order of its hooks, and what a hook may change, veto or get wrong."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from llmctl import Hub, Middleware
from llmctl.core.chat import ChatRequest, Message
from llmctl.engine.runtime import ToolEvent
from tests.api.support_agent import SupportAgent, calling, lookup_order
from tests.fakes.openai_server import FakeServer


def test_hooks_are_called_in_the_order_of_an_onion(hub: Hub) -> None:
    heard: list[str] = []

    class Noting(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        def before_request(self, request: ChatRequest) -> None:
            heard.append(f"{self.name}:before")

        def after_response(self, response: Any) -> None:
            heard.append(f"{self.name}:after")

        def on_tool_start(self, run: ToolEvent) -> None:
            heard.append(f"{self.name}:start {run.name}")

        def on_tool_end(self, run: ToolEvent) -> None:
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
        messages = tuple(Message.from_text(one.role, one.text.replace("4111", "****")) for one in request.messages)
        return replace(request, messages=messages, options={**request.options, "seed": 7})

    chat.ask("my card is 4111")
    sent = server.requests[1]
    assert (sent.messages[-1][1], sent.json["seed"]) == ("my card is ****", 7)
    assert chat.messages()[2]["content"] == "my card is 4111"
    (call,) = online.query("SELECT body FROM network_calls ORDER BY created_at DESC LIMIT 1")
    assert json.loads(call["body"]) == sent.json


def test_request_changed_by_a_hook_names_the_rows_it_was_made_of(online: Hub, server: FakeServer) -> None:
    chat = online.create_chat(model="openai:fake-1")
    chat.ask("first")
    chat.before_request(lambda request: replace(request, messages=request.messages[-1:]))
    chat.ask("second")
    assert len(server.requests[1].messages) == 1
    rows = online.query("SELECT parameters FROM requests ORDER BY created_at")
    plain, changed = (json.loads(row["parameters"]) for row in rows)
    assert (plain["seqs"], "messages_changed" in plain) == ([[1, 1]], False)
    assert (changed["seqs"], changed["messages_changed"]) == ([[1, 3]], True)


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
        def on_tool_end(self, run: ToolEvent) -> None:
            heard.append(run.name)

    session = hub.create_agent_session(Watched)
    session.ask("x", options=calling('lookup_order {"order_id": "1"}'))
    assert heard == ["lookup_order"]
