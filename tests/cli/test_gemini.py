"""Gemini on the command line: a conversation with a loopback stand-in, from the flags to the rows."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import gemini_server as gemini
from tests.fakes import openai_server as openai
from tests.fakes.gemini_server import call, chunk, text, thought
from tests.fakes.openai_server import CUT, FakeServer, json_reply
from tests.harness import Llmctl, query

KEY = "AIzaSyTest0123456789abcdef0123456789abc"
PATH = "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[FakeServer]:
    """A stand-in at the address that the provider's own variable names."""
    with FakeServer() as running:
        env |= {"GEMINI_API_BASE": running.url + "beta", "GEMINI_API_KEY": KEY, "LLMCTL_MODEL": "gemini"}
        yield running


def test_turn_with_thinking_is_stored_and_given_back(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    server.answer(
        gemini.stream(
            chunk(thought("let me ")),
            chunk(thought("see"), thoughtsTokenCount=7),
            chunk(text("It ")),
            chunk(text("rains.")),
            chunk(text("", "c2ln"), reason="STOP", candidatesTokenCount=3, thoughtsTokenCount=7),
        )
    )
    done = llmctl("chat", "weather?", "-s", "be brief", "--thinking", "low", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["content"], found["thinking"], found["finish_reason"]) == ("It rains.", "let me see", "stop")
    assert (found["provider"], found["model"]) == ("gemini", gemini.MODEL)
    assert found["usage"] == {
        "input_tokens": 100,
        "output_tokens": 10,
        "total_tokens": 110,
        "cached_tokens": 40,
        "cache_write_tokens": 0,
        "thinking_tokens": 7,
    }
    [first] = server.requests
    assert (first.path, first.headers["x-goog-api-key"]) == (PATH, KEY)
    assert first.json["generationConfig"] == {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}}
    assert first.json["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    counts = "SELECT input_tokens, output_tokens, cached_tokens, thinking_tokens, status FROM requests"
    assert query(env, counts) == [(100, 10, 40, 7, "completed")]
    assert query(env, "SELECT count(*) FROM network_calls WHERE request_headers LIKE '%AIza%'") == [(0,)]

    server.answer(gemini.stream(chunk(text("Still."), reason="STOP")))
    assert llmctl("chat", "-c", "and now?").stdout == "Still.\n"
    assert server.requests[1].json["contents"][1] == {
        "role": "model",
        "parts": [{"text": "let me see", "thought": True}, {"text": "It rains."}, text("", "c2ln")],
    }


def test_calls_are_rows_and_their_results_go_back_together(
    server: FakeServer, llmctl: Llmctl, env: dict[str, str]
) -> None:
    server.answer(
        gemini.stream(
            chunk(call("weather", {"city": "Berlin"}, "c2ln"), call("clock", {}, id="call_9")),
            chunk(text(""), reason="STOP", candidatesTokenCount=4),
        ),
        gemini.stream(chunk(text("It rains."), reason="STOP", candidatesTokenCount=2)),
    )
    done = llmctl("chat", "weather?", "--json")
    assert done.returncode == 0, done.stderr
    columns = "tool_call_id, name, arguments, thought_signature"
    assert query(env, f"SELECT {columns} FROM tool_invocations ORDER BY name DESC") == [
        ("call_resp-1_0", "weather", '{"city":"Berlin"}', "c2ln"),
        ("call_9", "clock", "{}", None),
    ]
    _, answer, result = server.requests[1].json["contents"]
    assert answer["parts"] == [call("weather", {"city": "Berlin"}, "c2ln"), call("clock", {}, id="call_9")]
    responses = [part["functionResponse"] for part in result["parts"]]
    assert [(one.get("id"), one["name"]) for one in responses] == [(None, "weather"), ("call_9", "clock")]
    assert json.loads(done.stdout)["usage"]["output_tokens"] == 6


def test_conversation_moves_from_another_provider_and_back(
    server: FakeServer, llmctl: Llmctl, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    calls = [{"index": 0, "id": "call_abc|1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    steps = [openai.thought("hm"), openai.event({"choices": [{"delta": {"tool_calls": calls}}]}), *openai.ending("")]
    with FakeServer() as other:
        env |= {"OPENAI_BASE_URL": other.url, "OPENAI_API_KEY": "sk-test-0123456789abcdef"}
        assert llmctl("connection", "add", "other", "--provider", "openai", "--wire", "openai-chat").returncode == 0
        assert llmctl("connection", "add", "gemini").returncode == 0
        other.answer(openai.Reply(200, {"content-type": "text/event-stream"}, tuple(steps), chunked=True))
        other.answer(openai.stream("A cat."))
        done = llmctl("chat", "-m", "other", "-a", "a.png", "what is it?")
        assert done.returncode == 0, done.stderr

        server.answer(gemini.stream(chunk(thought("aha")), chunk(call("look", {}, "c2ln")), chunk(reason="STOP")))
        server.answer(gemini.stream(chunk(text("Yes.", "c2ln"), reason="STOP")))
        assert llmctl("chat", "-c", "-m", "gemini", "sure?").stdout == "Yes.\n"
        first = server.requests[0].json["contents"]
        assert [content["role"] for content in first] == ["user", "model", "user", "model", "user"]
        assert {"mimeType": "image/png"}.items() <= first[0]["parts"][1]["inlineData"].items()
        assert first[1]["parts"] == [{"functionCall": {"name": "look", "args": {}}}]
        assert first[2]["parts"][0]["functionResponse"]["name"] == "look"

        other.answer(openai.stream("Fine."))
        assert llmctl("chat", "-c", "-m", "other", "thanks").stdout == "Fine.\n"
        messages = other.requests[-1].json["messages"]
        assert [one["role"] for one in messages] == [
            *("user", "assistant", "tool", "assistant", "user", "assistant", "tool", "assistant", "user"),
        ]
        [again] = messages[5]["tool_calls"]
        assert again == {"id": "call_resp-1_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        assert messages[6]["tool_call_id"] == "call_resp-1_0"
        assert messages[7] == {"role": "assistant", "content": "Yes."}


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.05s"}


@pytest.mark.parametrize(
    ("reply", "code", "reason"),
    [
        (gemini.refusal(400, "INVALID_ARGUMENT", "API key not valid.", BAD_KEY), 4, "auth"),
        (
            gemini.refusal(404, "NOT_FOUND", "models/gemini-9.9 is not found for API version v1beta"),
            3,
            "model_not_found",
        ),
        (gemini.stream(gemini.frame({"promptFeedback": {"blockReason": "SAFETY"}})), 5, "content_filter"),
        (gemini.stream(chunk(text("It ra")), chunk(reason="SAFETY")), 5, "content_filter"),
        (
            gemini.stream(chunk(text("It ra")), gemini.frame(gemini.failure(503, "UNAVAILABLE", "busy"))),
            6,
            "overloaded",
        ),
        (gemini.stream(chunk(text("It ra")), CUT), 12, "cut"),
        (gemini.stream(chunk(text("It ra"))), 12, "cut"),
        (gemini.stream(chunk(text("It ra"), reason="MAX_TOKENS")), 12, "length"),
        (gemini.stream(chunk(reason="MALFORMED_FUNCTION_CALL")), 12, "malformed_tool_call"),
    ],
)
def test_failure_has_the_exit_code_of_its_class(
    server: FakeServer, llmctl: Llmctl, reply: openai.Reply, code: int, reason: str
) -> None:
    server.answer(reply)
    done = llmctl("chat", "weather?", "--json", "--retries", "0")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["error"]["reason"] == reason


def test_quota_is_waited_for_as_long_as_google_says(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    server.answer(
        gemini.refusal(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", WAIT),
        gemini.stream(chunk(text("here"), reason="STOP")),
    )
    done = llmctl("chat", "hello")
    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    assert query(env, "SELECT attempt, status_code FROM network_calls ORDER BY attempt") == [(1, 429), (2, 200)]


def test_vertex_takes_a_token_from_a_command(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    base = f"{server.url}beta1/projects/p/locations/global"
    added = llmctl("connection", "add", "vertex")
    assert (added.returncode, "such as https://aiplatform" in added.stderr) == (0, True)
    assert "--key-stdin" not in added.stderr
    lost = llmctl("chat", "-m", "vertex", "hello")
    assert lost.returncode == 4
    assert "projects/PROJECT/locations" in lost.stderr
    Path(llmctl.cwd, "token").write_text("ya29.token-0123456789\n")
    edit = ("connection", "edit", "vertex", "--base-url", base, "--key-command", "cat token")
    assert llmctl(*edit).returncode == 0
    server.answer(gemini.stream(chunk(text("here"), reason="STOP")))
    done = llmctl("chat", "-m", "vertex", "hello")
    assert done.stdout == "here\n", done.stderr
    [asked] = server.requests
    model = "/v1beta1/projects/p/locations/global/publishers/google/models/gemini-3.8-flash"
    assert asked.path == f"{model}:streamGenerateContent?alt=sse"
    assert asked.headers["authorization"] == "Bearer ya29.token-0123456789"


def test_compatible_api_of_google_is_reached_by_data(server: FakeServer, llmctl: Llmctl) -> None:
    base = f"{server.url}beta/openai"
    add = ("connection", "add", "gemini", "--wire", "openai-chat", "--base-url", base, "--key-env", "GEMINI_API_KEY")
    assert llmctl(*add).returncode == 0
    server.answer(openai.stream("here"))
    done = llmctl("chat", "hello")
    assert done.stdout == "here\n", done.stderr
    [asked] = server.requests
    assert (asked.path, asked.headers["authorization"]) == ("/v1beta/openai/chat/completions", f"Bearer {KEY}")


def test_models_are_listed(server: FakeServer, llmctl: Llmctl) -> None:
    listing = {"models": [{"name": f"models/{gemini.MODEL}", "displayName": "Gemini", "inputTokenLimit": 1000}]}
    server.answer(json_reply(200, listing))
    assert llmctl("connection", "add", "gemini").returncode == 0
    done = llmctl("connection", "models", "gemini", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["id"] == gemini.MODEL
    assert server.requests[-1].path == "/v1beta/models?pageSize=1000"


def test_texts_are_embedded_in_batches_of_the_api(server: FakeServer, llmctl: Llmctl, env: dict[str, str]) -> None:
    vectors = {"embeddings": [{"values": [0.5, 1]}, {"values": [0, -1]}], "usageMetadata": {"promptTokenCount": 4}}
    server.answer(json_reply(200, vectors))
    done = llmctl("embed", "-m", "gemini", "one", "two", "-o", "dimensions=2")
    assert done.stdout == "[0.5,1.0]\n[0.0,-1.0]\n", done.stderr
    [asked] = server.requests
    assert asked.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert [one["content"]["parts"][0]["text"] for one in asked.json["requests"]] == ["one", "two"]
    assert {one["outputDimensionality"] for one in asked.json["requests"]} == {2}
    with sqlite3.connect(env["LLMCTL_DB"]) as hub:
        sql = "SELECT type, provider, model, input_tokens, cost > 0 FROM requests"
        assert hub.execute(sql).fetchall() == [("embedding", "gemini", "gemini-embedding-001", 4, 1)]


def test_picture_is_drawn_and_held_back(server: FakeServer, llmctl: Llmctl, tmp_path: Path) -> None:
    drawn = {"inlineData": {"mimeType": "image/png", "data": b64encode(PNG).decode()}}
    server.answer(json_reply(200, {"candidates": [{"content": {"parts": [{"text": "here"}, drawn]}}]}))
    server.answer(json_reply(200, {"candidates": [{"finishReason": "IMAGE_SAFETY"}]}))
    done = llmctl("image", "-m", "gemini", "a lighthouse", "--output", "l.png", "-o", "aspect_ratio=16:9")
    assert (done.returncode, (tmp_path / "l.png").read_bytes()) == (0, PNG), done.stderr
    asked = server.requests[0]
    assert asked.path == "/v1beta/models/gemini-2.5-flash-image:generateContent"
    assert asked.json["generationConfig"]["imageConfig"] == {"aspectRatio": "16:9"}
    done = llmctl("image", "-m", "gemini", "a bad one", "--output", "m.png")
    assert (done.returncode, (tmp_path / "m.png").exists()) == (5, False)
    assert "IMAGE_SAFETY" in done.stderr
