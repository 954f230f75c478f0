"""Chats over Responses: which models go there, and what a later turn gives back."""

from __future__ import annotations

import json

import pytest

from tests.fakes.openai_endpoints import response_stream
from tests.fakes.openai_server import FakeServer, stream
from tests.harness import Llmctl

KEY = "sk-proj-abcdefghijklmnop1234567890"


@pytest.mark.parametrize(
    ("model", "base", "path"),
    [
        ("gpt-5-nano", None, "/responses"),
        ("o4-mini", None, "/responses"),
        ("gpt-5.3-codex", None, "/responses"),
        ("gpt-4o", None, "/chat/completions"),
        ("gpt-5-search-api", None, "/chat/completions"),
        # A stranger behind OpenAI's name knows Chat Completions; some models exist nowhere but behind the other.
        ("gpt-5-nano", "http://localhost:9/v1", "/chat/completions"),
        ("o3-pro", "http://localhost:9/v1", "/responses"),
    ],
)
def test_model_decides_where_openai_is_asked(
    llmctl: Llmctl, env: dict[str, str], model: str, base: str | None, path: str
) -> None:
    env["OPENAI_API_KEY"] = KEY
    if base:
        env["OPENAI_API_BASE"] = base
    done = llmctl("chat", "--dry-run", "--json", "-m", f"openai:{model}", "hi", env=env)
    assert json.loads(done.stdout)["url"].endswith(f"/v1{path}")


def test_wire_of_the_connection_comes_before_the_model(llmctl: Llmctl, env: dict[str, str]) -> None:
    env["OPENAI_API_KEY"] = KEY
    llmctl("connection", "add", "openai", "--wire", "openai-chat", check=True)
    llmctl("connection", "add", "xai", "--wire", "openai-responses", "-m", "grok-4.3", check=True)
    for reference, path in (
        ("openai:gpt-5-nano", "v1/chat/completions"),
        ("xai", "v1/responses"),
        ("xai:x", "v1/responses"),
    ):
        done = llmctl("chat", "--dry-run", "--json", "-m", reference, "hi", env=env)
        assert json.loads(done.stdout)["url"].endswith(path)


def test_reasoning_comes_back_from_the_hub_unchanged(llmctl: Llmctl, env: dict[str, str]) -> None:
    summary = [{"type": "summary_text", "text": "think"}, {"type": "summary_text", "text": "hard"}]
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "gAAA"}
    search = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    with FakeServer() as server:
        server.answer(response_stream(reasoning, search, text="it is 4"), response_stream(text="sure"), stream("yes"))
        llmctl(
            "connection",
            "add",
            "work",
            "--base-url",
            server.url,
            "-m",
            "think",
            "--wire",
            "openai-responses",
            check=True,
        )
        done = llmctl("chat", "-m", "work", "--name", "n", "--json", "what is 2+2?")
        found = json.loads(done.stdout)
        assert (found["content"], found["thinking"], found["model"]) == ("it is 4", "think\n\nhard", "fake-think-1")
        assert (found["usage"]["output_tokens"], found["usage"]["thinking_tokens"]) == (9, 4)
        assert llmctl("chat", "--name", "n", "sure?").stdout == "sure\n"
        assert server.requests[1].json["input"] == [
            {"role": "user", "content": "what is 2+2?"},
            reasoning,
            search,
            {"role": "assistant", "content": "it is 4"},
            {"role": "user", "content": "sure?"},
        ]
        # Another wire takes the words, and nothing that only the first one understands.
        llmctl("connection", "add", "other", "--base-url", server.url, "-m", "m2", check=True)
        assert llmctl("chat", "--name", "n", "-m", "other", "really?").stdout == "yes\n"
        said = server.requests[2].messages
        assert said[1] == ("assistant", "it is 4")
        assert b"gAAA" not in server.requests[2].body


def test_what_one_host_encrypted_is_not_sent_to_another(llmctl: Llmctl) -> None:
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    with FakeServer() as server:
        server.answer(response_stream(reasoning, text="it is 4"), *[response_stream(text="sure")] * 2)
        for name in ("one", "two"):
            wire = ("--wire", "openai-responses", "-m", "think")
            llmctl("connection", "add", name, "--base-url", server.url, *wire, check=True)
        llmctl("chat", "-m", "one", "--name", "n", "what is 2+2?", check=True)
        llmctl("chat", "-m", "two", "--name", "n", "sure?", check=True)
        llmctl("chat", "-m", "one", "--name", "n", "really?", check=True)
    second, third = (request.json["input"] for request in server.requests[1:])
    assert second[1:] == [{"role": "assistant", "content": "it is 4"}, {"role": "user", "content": "sure?"}]
    assert third[1] == reasoning
