"""The same answer in the format of each wire, for the loopback server of :mod:`tests.fakes.openai_server`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes import anthropic_server as anthropic
from tests.fakes import gemini_server as gemini
from tests.fakes.openai_endpoints import response_stream
from tests.fakes.openai_server import Reply, Step, document, ending, event, json_reply, stream

_SSE = {"content-type": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class ProviderHost:
    """One wire and the answers of its host. ``calls`` takes name and arguments of one tool call."""

    wire: str
    provider: str
    model: str
    #: What follows ``http://host:port`` in a base URL.
    path: str
    streamed: Callable[[str], Reply]
    whole: Callable[[str], Reply]
    calls: Callable[[str, dict[str, Any]], Reply]
    #: Events of an error in a stream with 200, and such a document.
    broken: Callable[[str], Step]
    broken_whole: Callable[[str], Reply]
    models: Callable[[str], Reply]
    #: Streams of the wire end with the last event of ``streamed``; the number of events that mark the end.
    end_events: int = 1


def _chat_calls(name: str, arguments: dict[str, Any]) -> Reply:
    call = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }
    chunk = {"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
    ended = {"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    return Reply(200, _SSE, (event(chunk), event(ended), event("[DONE]")), chunked=True)


def _responses_whole(text: str) -> Reply:
    message = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": text, "annotations": []}]}
    usage = {"input_tokens": 20, "output_tokens": 9}
    return json_reply(
        200, {"id": "resp_1", "model": "gpt-5", "status": "completed", "output": [message], "usage": usage}
    )


def _responses_calls(name: str, arguments: dict[str, Any]) -> Reply:
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "status": "completed"}
    return response_stream(item | {"arguments": json.dumps(arguments)})


def _responses_broken(message: str) -> Step:
    error = {"code": "server_error", "message": message}
    failed = {"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": error}}
    return event(failed, "response.failed")


def _anthropic_whole(text: str) -> Reply:
    content = [{"type": "text", "text": text}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": anthropic.MODEL, "content": content}
    return json_reply(200, message | {"stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 5}})


def _gemini_whole(text: str) -> Reply:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
    return json_reply(200, {"candidates": [candidate], "usageMetadata": gemini.USAGE, "modelVersion": gemini.MODEL})


def _lines(*lines: dict[str, Any]) -> Reply:
    steps = tuple(json.dumps({"model": "qwen3:8b", **line}).encode() + b"\n" for line in lines)
    return Reply(200, {"content-type": "application/x-ndjson"}, steps, chunked=True)


_DONE = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}


def _ollama_said(text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}}


def _ollama_calls(name: str, arguments: dict[str, Any]) -> Reply:
    call = {"function": {"name": name, "arguments": arguments}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    return _lines({"message": message, "done": False}, _ollama_said("") | _DONE)


def _openai_models(id: str) -> Reply:
    return json_reply(200, {"object": "list", "data": [{"id": id, "object": "model", "owned_by": "x"}]})


HOSTS = {
    host.wire: host
    for host in (
        ProviderHost(
            wire="openai-chat",
            provider="openai",
            model="gpt-4o",
            path="/v1",
            streamed=stream,
            whole=document,
            calls=_chat_calls,
            broken=lambda message: event({"error": {"message": message, "type": "server_error"}}),
            broken_whole=lambda message: json_reply(200, {"error": {"message": message, "type": "server_error"}}),
            models=_openai_models,
            end_events=len(ending("")),
        ),
        ProviderHost(
            wire="openai-responses",
            provider="openai",
            model="gpt-5",
            path="/v1",
            streamed=lambda text: response_stream(text=text),
            whole=_responses_whole,
            calls=_responses_calls,
            broken=_responses_broken,
            broken_whole=lambda message: json_reply(
                200, {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": message}}
            ),
            models=_openai_models,
            end_events=2,
        ),
        ProviderHost(
            wire="anthropic",
            provider="anthropic",
            model=anthropic.MODEL,
            path="",
            streamed=lambda text: anthropic.stream(anthropic.text(0, text), anthropic.end()),
            whole=_anthropic_whole,
            calls=lambda name, arguments: anthropic.stream(
                anthropic.call(0, "toolu_1", name, json.dumps(arguments)), anthropic.end("tool_use")
            ),
            broken=lambda message: anthropic.failure("api_error", message),
            broken_whole=lambda message: json_reply(
                200, {"type": "error", "error": {"type": "api_error", "message": message}}
            ),
            models=lambda id: json_reply(200, {"data": [{"type": "model", "id": id}], "has_more": False}),
        ),
        ProviderHost(
            wire="gemini",
            provider="gemini",
            model=gemini.MODEL,
            path="/v1beta",
            streamed=lambda text: gemini.stream(gemini.chunk({"text": text}), gemini.chunk(reason="STOP")),
            whole=_gemini_whole,
            calls=lambda name, arguments: gemini.stream(gemini.chunk(gemini.call(name, arguments), reason="STOP")),
            broken=lambda message: gemini.frame(gemini.failure(500, "INTERNAL", message)),
            broken_whole=lambda message: json_reply(200, gemini.failure(500, "INTERNAL", message)),
            models=lambda id: json_reply(200, {"models": [{"name": f"models/{id}"}]}),
        ),
        ProviderHost(
            wire="ollama",
            provider="ollama",
            model="qwen3:8b",
            path="",
            streamed=lambda text: _lines(_ollama_said(text) | {"done": False}, _ollama_said("") | _DONE),
            whole=lambda text: json_reply(200, {"model": "qwen3:8b", **_ollama_said(text), **_DONE}),
            calls=_ollama_calls,
            broken=lambda message: json.dumps({"error": message}).encode() + b"\n",
            broken_whole=lambda message: json_reply(200, {"error": message}),
            models=lambda id: json_reply(200, {"models": [{"name": id, "model": id}]}),
        ),
    )
}
