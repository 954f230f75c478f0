# ruff: noqa: RUF012 (agents are written as people write them)
"""Agents as Python classes, and their sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmctl import Agent, Hub, errors
from tests.api.support_agent import SupportAgent, calling, lookup_order
from tests.fakes.openai_server import FakeServer
from tests.harness import Llmctl


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
        f'agent class mismatch: session "{session.id}" was created for "SupportAgent", '
        'but is being loaded with "Renamed"'
    )
    assert caught.value.hint == "pass force=True to continue it with this agent"
    with pytest.raises(errors.UsageError, match='no keyword "model"') as caught:
        hub.create_agent_session(SupportAgent, model="echo")
    assert "session.having(model=...)" in str(caught.value.hint)
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


def test_agent_of_that_name_that_is_no_class_is_left_alone(hub: Hub, llmctl: Llmctl) -> None:
    llmctl("agent", "create", "SupportAgent", "-m", "echo", check=True)
    with pytest.raises(errors.UsageError, match="not a Python class"):
        hub.create_agent_session(SupportAgent)


def test_session_of_a_class_is_continued_on_the_command_line(hub: Hub, llmctl: Llmctl) -> None:
    session = hub.create_agent_session(SupportAgent, metadata={"user": "Ann"})
    session.ask("one")
    done = llmctl("agent", "run", "SupportAgent", "--session", session.id, "two", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content"] == "two"
    assert session.ask("three").content == "three"
