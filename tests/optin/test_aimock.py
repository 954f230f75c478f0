"""aimock, a third-party fake of five APIs, over every wire.

Where it does what the API it copies does not, the test says so instead of following it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import npm
from tests.harness import Llmctl, query

AIMOCK = "@copilotkit/aimock@1.43.0"
KEY = "sk-test-0123456789abcdef"

#: Wire: provider, model, path of the base URL. The model of the first thinks, or aimock would not show it.
HOSTS = {
    "openai-chat": ("compatible", "gpt-5", "/v1"),
    "openai-responses": ("openai", "gpt-5", "/v1"),
    "anthropic": ("anthropic", "claude-sonnet-4-5", ""),
    "gemini": ("gemini", "gemini-2.5-flash", "/v1beta"),
    "ollama": ("ollama", "qwen3:8b", ""),
}
#: aimock counts nothing for Ollama, whatever the fixture says.
COUNTING = sorted(HOSTS.keys() - {"ollama"})

USAGE = {"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17}
WEATHER = {"name": "weather", "arguments": {"city": "Oslo"}}
TWO = [WEATHER, {"name": "weather", "arguments": {"city": "Røros"}}]


def build_fixture(words: str, response: dict[str, Any], **match: Any) -> dict[str, Any]:
    return {"match": {"userMessage": words, **match}, "response": response}


def refused(words: str, status: int, **more: Any) -> dict[str, Any]:
    return build_fixture(words, {"error": {"message": "No way", **more.pop("error", {})}, "status": status, **more})


FIXTURES = [
    build_fixture("greet", {"content": "Hello from the other sïde.", "usage": USAGE}),
    build_fixture("think", {"content": "Forty-two.", "reasoning": "Six times seven.", "reasoningSignature": "c2ln"}),
    build_fixture("again", {"content": "Still forty-two."}),
    build_fixture("weather", {"content": "Let me look.", "toolCalls": TWO}, hasToolResult=False),
    build_fixture("weather", {"content": "It snows."}, hasToolResult=True),
    build_fixture("person", {"content": '{"name":"Ada","age":36}'}),
    build_fixture("nobody", {"content": '{"name":"Ada"}'}),
    build_fixture("long", {"content": "As far as it", "finishReason": "length"}),
    build_fixture("cut", {"content": "one two three four five six seven eight nine ten eleven"})
    | {"truncateAfterChunks": 5},
    refused("too often", 429, error={"type": "rate_limit_error"}, retryAfter=1),
    refused("broken", 500, error={"type": "server_error"}),
    refused("stranger", 401, error={"type": "authentication_error"}),
    {"match": {"inputText": "words"}, "response": {"embedding": [0.25, -0.5, 1]}},
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where aimock listens; it sends a few characters at a time."""
    program = npm.packages(AIMOCK) / "node_modules/@copilotkit/aimock/dist/cli.js"
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}))
    command = ["node", str(program), "--port", "0", "--fixtures", str(fixtures), "--strict", "-c", "8", "-l", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout
            told = ""
            while not (found := re.search(r"listening on (http://\S+)", told)):
                line = server.stdout.readline()
                assert line, told
                told += line
            yield found[1]
        finally:
            server.kill()


@pytest.fixture
def connect(llmctl: Llmctl, address: str) -> Any:
    def connect(wire: str) -> None:
        provider, model, path = HOSTS[wire]
        flags = ("--provider", provider, "--model", model, "--wire", wire, "--base-url", address + path)
        assert llmctl("connection", "add", wire, *flags, "--default", "--key-stdin", input=KEY).returncode == 0

    return connect


@pytest.fixture(params=HOSTS)
def wire(request: pytest.FixtureRequest, connect: Any) -> str:
    connect(request.param)
    return str(request.param)


@pytest.fixture(params=[(), ("--no-stream",)], ids=["streamed", "whole"])
def manner(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def test_text_and_its_counts_are_kept(wire: str, manner: tuple[str, ...], llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", *manner, "--json", "greet")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["content"], found["finish_reason"]) == ("Hello from the other sïde.", "stop")
    counted = (11, 6) if wire in COUNTING else (None, None)  # aimock counts nothing there, which is unknown, not 0
    assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == counted
    ledger = "SELECT status, status_code, input_tokens, output_tokens, finish_reason FROM requests"
    assert query(env, ledger) == [("completed", 200, *counted, "stop")]
    [(id,)] = query(env, "SELECT provider_request_id FROM network_calls")
    assert id.startswith("req-")
    assert query(env, "SELECT count(*) FROM network_calls WHERE request_headers LIKE '%0123456789%'") == [(0,)]
    again = llmctl("request", "show", found["request_id"], "--reparse", "--json")
    assert again.returncode == 0, again.stderr
    read = json.loads(again.stdout)["reparsed"]
    assert (read["content"], read["differs"]) == (found["content"], False)


def test_thinking_is_kept_and_goes_back(wire: str, manner: tuple[str, ...], llmctl: Llmctl) -> None:
    done = llmctl("chat", *manner, "--json", "--thinking", "low", "think")
    assert done.returncode == 0, done.stderr
    # Ollama calls the field "thinking" (https://docs.ollama.com/api/chat); aimock says "reasoning_content" there.
    expected = None if wire == "ollama" else "Six times seven."
    assert (json.loads(done.stdout)["content"], json.loads(done.stdout)["thinking"]) == ("Forty-two.", expected)
    done = llmctl("chat", "-c", *manner, "again")
    assert (done.returncode, done.stdout) == (0, "Still forty-two.\n"), done.stderr


def test_calls_run_and_the_answer_follows(
    wire: str, manner: tuple[str, ...], llmctl: Llmctl, env: dict[str, str], tmp_path: Path
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    (tmp_path / "weather.json").write_text(json.dumps(schema))
    flags = ("--type", "command", "--schema", "weather.json", "--command", "cat", "--description", "The weather")
    llmctl("tool", "add", "weather", *flags, check=True)
    done = llmctl("chat", *manner, "--json", "-T", "weather:auto", "weather")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["content"], found["steps"]) == ("It snows.", 2)
    assert [call["arguments"]["city"] for call in found["tool_calls"]] == ["Oslo", "Røros"]
    assert [json.loads(call["result"])["city"] for call in found["tool_calls"]] == ["Oslo", "Røros"]
    assert query(env, "SELECT status FROM tool_invocations") == [("completed",), ("completed",)]
    reasons = [reason for (reason,) in query(env, "SELECT finish_reason FROM requests ORDER BY step")]
    assert reasons == ["tool_calls", "stop"]
    if wire != "ollama":  # aimock sends no text with a call there
        assert ("Let me look.",) in query(env, "SELECT content FROM messages")


def test_structured_answer_is_checked(wire: str, manner: tuple[str, ...], llmctl: Llmctl) -> None:
    done = llmctl("chat", *manner, "--schema", "name, age int", "--json", "person")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"] == {"name": "Ada", "age": 36}
    done = llmctl("chat", *manner, "--schema", "name, age int", "nobody")
    assert (done.returncode, done.stdout) == (11, "")


@pytest.mark.parametrize(
    ("words", "exit_code", "reason", "attempts"),
    [("too often", 6, "rate_limit", 2), ("broken", 6, "server_error", 2), ("stranger", 4, "auth", 1)],
)
def test_errors_have_their_class(
    wire: str, words: str, exit_code: int, reason: str, attempts: int, llmctl: Llmctl, env: dict[str, str]
) -> None:
    done = llmctl("chat", "--retries", "1", "--json", words)
    assert done.returncode == exit_code
    notes, error = done.stderr.splitlines()[:-1], json.loads(done.stderr.splitlines()[-1])["error"]
    status = status_of(words)
    told = f"No way ({status} from {wire})" if status == 429 or status >= 500 else "No way"
    assert (error["reason"], error["message"]) == (reason, told)
    assert json.loads(done.stdout)["status"] == "failed"
    calls = query(env, "SELECT attempt, status, status_code FROM network_calls ORDER BY attempt")
    assert calls == [(number + 1, "error", status_of(words)) for number in range(attempts)]
    if reason == "rate_limit":
        assert re.search(r"retrying in 1(\.[0-5])? s", notes[0])
        [(headers,)] = query(env, "SELECT response_headers FROM network_calls WHERE attempt = 2")
        assert json.loads(headers)["x-ratelimit-remaining-requests"] == "0"


def status_of(words: str) -> int:
    return next(fixture["response"]["status"] for fixture in FIXTURES if fixture["match"].get("userMessage") == words)


def test_answer_that_broke_off_is_no_success(wire: str, llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "cut")
    assert done.returncode == 12
    assert "one two three four".startswith(done.stdout[:8])
    assert query(env, "SELECT status FROM requests") == [("incomplete",)]


def test_answer_at_its_limit_is_incomplete(connect: Any, manner: tuple[str, ...], llmctl: Llmctl) -> None:
    for wire in COUNTING:  # aimock has no such end for Ollama
        connect(wire)
        done = llmctl("chat", "-m", wire, *manner, "long")
        assert (done.returncode, done.stdout) == (12, "As far as it\n")


def test_models_are_listed_where_aimock_lists_them(connect: Any, llmctl: Llmctl) -> None:
    for wire in HOSTS.keys() - {"gemini"}:
        connect(wire)
        done = llmctl("connection", "models", wire, "--json")
        assert "gpt-4o" in [model["id"] for model in json.loads(done.stdout)], done.stderr


def test_words_become_numbers_at_openai(connect: Any, llmctl: Llmctl, env: dict[str, str]) -> None:
    # Of Gemini it knows embedContent alone, of Ollama's answers the form of the older /api/embeddings.
    connect("openai-responses")
    done = llmctl("embed", "-m", "openai-responses:text-embedding-3-small", "some words")
    assert (done.returncode, json.loads(done.stdout)) == (0, [0.25, -0.5, 1.0])
    assert query(env, "SELECT status, status_code FROM requests") == [("completed", 200)]


def test_another_host_answers_where_one_is_broken(connect: Any, llmctl: Llmctl, env: dict[str, str]) -> None:
    for wire in HOSTS:
        connect(wire)
    llmctl("chat", "-m", "openai-chat", "--name", "n", "greet", check=True)
    flags = [flag for wire in ("anthropic", "gemini") for flag in ("--fallback", wire)]
    assert llmctl("chat", "--name", "n", "--retries", "0", *flags, "broken").returncode == 6
    tried = query(env, "SELECT connection, status_code FROM requests WHERE status = 'failed' ORDER BY created_at")
    assert tried == [("openai-chat", 500), ("anthropic", 500), ("gemini", 500)]
