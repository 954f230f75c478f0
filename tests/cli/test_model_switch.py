"""One chat over all five wires in turn: every request is one that its API takes, and only what cannot travel stays."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cli.test_wires import connect
from tests.fakes import anthropic_server as anthropic
from tests.fakes import gemini_server as gemini
from tests.fakes.hosts import HOSTS
from tests.fakes.openai_endpoints import response_stream
from tests.fakes.openai_server import FakeServer, Reply, Request, delta, event, thought
from tests.harness import Llmctl
from tests.wire import test_anthropic_types, test_gemini_types, test_openai_types

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16
PICTURE = base64.b64encode(PNG).decode()
WIRES = list(HOSTS)
_SSE = {"content-type": "text/event-stream"}


def sign(wire: str) -> str:
    """Return what a wire's provider signs its thinking with."""
    return base64.b64encode(f"signed-by-{wire}".encode()).decode()


def _chat(city: dict[str, str]) -> Reply:
    function = {"name": "weather", "arguments": json.dumps(city)}
    calls = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
    said = {"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": calls}}]}
    ended = {"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    steps = (thought("thinking at openai-chat"), delta("looking at openai-chat"), event(said), event(ended))
    return Reply(200, _SSE, (*steps, event("[DONE]")), chunked=True)


def _responses(city: dict[str, str]) -> Reply:
    summary = [{"type": "summary_text", "text": "thinking at openai-responses"}]
    signed = sign("openai-responses")
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": signed}
    content = [{"type": "output_text", "text": "looking at openai-responses", "annotations": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    call = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "status": "completed"}
    return response_stream(reasoning, message, call | {"arguments": json.dumps(city)})


def _anthropic(city: dict[str, str]) -> Reply:
    return anthropic.stream(
        anthropic.thinking(0, "thinking at anthropic", sign("anthropic")),
        anthropic.text(1, "looking at anthropic"),
        anthropic.call(2, "toolu_1", "weather", json.dumps(city)),
        anthropic.end("tool_use"),
    )


def _gemini(city: dict[str, str]) -> Reply:
    return gemini.stream(
        gemini.chunk(gemini.thought("thinking at gemini")),
        gemini.chunk(gemini.text("looking at gemini")),
        gemini.chunk(gemini.call("weather", city, sign("gemini")), reason="STOP"),
    )


def _ollama(city: dict[str, str]) -> Reply:
    call = {"function": {"name": "weather", "arguments": city}}
    lines: list[dict[str, Any]] = [
        {"message": {"role": "assistant", "content": "", "thinking": "thinking at ollama"}, "done": False},
        {"message": {"role": "assistant", "content": "looking at ollama", "tool_calls": [call]}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]
    steps = tuple(json.dumps({"model": "qwen3:8b"} | line).encode() + b"\n" for line in lines)
    return Reply(200, {"content-type": "application/x-ndjson"}, steps, chunked=True)


#: Thinks, says something and calls a tool.
BUSY: dict[str, Callable[[dict[str, str]], Reply]] = {
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
}


def _openai_is_valid(wire: str) -> Callable[[dict[str, Any]], None]:
    kind = test_openai_types.TYPES[wire, True]
    return lambda body: test_openai_types.exhaust(kind.validate_python(body))


def _ollama_is_valid(body: dict[str, Any]) -> None:
    """https://docs.ollama.com/api/chat has no types that could be installed."""
    assert body.keys() <= {"model", "messages", "tools", "stream", "think", "options", "truncate", "shift"}
    for message in body["messages"]:
        known = {"role", "content", "thinking", "images", "tool_calls", "tool_name"}
        assert message.keys() <= known, message
        assert message["role"] in ("system", "user", "assistant", "tool")
        assert isinstance(message.get("content", ""), str)


VALID: dict[str, Callable[[dict[str, Any]], Any]] = {
    "openai-chat": _openai_is_valid("openai-chat"),
    "openai-responses": _openai_is_valid("openai-responses"),
    "anthropic": lambda body: test_anthropic_types.exhaust(test_anthropic_types.STREAMED.validate_python(body)),
    "gemini": test_gemini_types.validate,
    "ollama": _ollama_is_valid,
}


@pytest.fixture
def servers(llmctl: Llmctl) -> Iterator[dict[str, FakeServer]]:
    with ExitStack() as open_ones:
        found = {wire: open_ones.enter_context(FakeServer()) for wire in WIRES}
        for wire, server in found.items():
            connect(llmctl, wire, HOSTS[wire], server)
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("first", range(len(WIRES)), ids=WIRES)
def test_chat_continues_on_every_other_provider(
    first: int, servers: dict[str, FakeServer], llmctl: Llmctl, tmp_path: Any
) -> None:
    (tmp_path / "pic.png").write_bytes(PNG)
    schema = json.dumps({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    llmctl("tool", "add", "weather", "--type", "command", "--schema", schema, "--command", "cat", check=True)
    order = WIRES[first:] + WIRES[: first + 1]
    for turn, wire in enumerate(order):
        servers[wire].answer(BUSY[wire]({"city": f"city of {wire}"}), HOSTS[wire].streamed(f"done by {wire}"))
        flags = ("-m", wire, "-s", f"system {turn}", "-T", "weather:auto", "--thinking", "low")
        files = ("-a", "pic.png") if turn == 0 else ()
        done = llmctl("chat", "--name", "all", *flags, *files, f"question {turn}")
        assert (done.returncode, done.stdout) == (0, f"done by {wire}\n"), done.stderr
        assert "left out" not in done.stderr
        asked, answered = servers[wire].requests[-2:]
        for request in (asked, answered):
            VALID[wire](request.json)
        _holds_everything(asked, order[:turn], wire, turn)
        assert f"city of {wire}" in answered.body.decode()
        assert sign(wire) in answered.body.decode() or wire in ("openai-chat", "ollama")


def _holds_everything(request: Request, earlier: list[str], wire: str, turn: int) -> None:
    """The request has all messages and attachments, only the newest system prompt, no signature of another host."""
    sent = request.body.decode()
    expected = [f"question {number}" for number in range(turn + 1)]
    expected += [f"{words} {other}" for other in earlier for words in ("looking at", "done by")]
    assert [words for words in expected if words not in sent] == []
    assert [sent.count(f"city of {other}") >= 2 for other in earlier] == [True] * turn  # the call and its result
    assert [number for number in range(turn + 1) if f"system {number}" in sent] == [turn]
    assert PICTURE in sent
    assert [other for other in WIRES if sign(other) in sent] == [other for other in {*earlier} if other == wire] * (
        wire not in ("openai-chat", "ollama")
    )
