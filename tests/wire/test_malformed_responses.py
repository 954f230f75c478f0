"""Answers that are almost right: every value of one, in turn, replaced by one of another kind, or left out.

Whatever comes, a wire says something of it or refuses it, and what it kept can be sent on to every other wire.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, Message, ToolResult, collect_response, parts_from_json, parts_to_json
from llmctl.core.errors import LlmctlError
from llmctl.core.http import Dialect, Endpoint, ServerEvent
from llmctl.core.single_requests import EmbedRequest
from llmctl.wire import WIRES

ODD: list[Any] = [None, "x", "", -1, 10**30, 1.5, True, [], [None], [1], {}, {"type": {}}, "\ud83d"]
GONE = object()

CALL = {"name": "t", "arguments": '{"a":1}'}
#: What wires answer, as the chunks of a stream.
CHATS: dict[str, list[Any]] = {
    "openai-chat": [
        {
            "id": "c1",
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}, {"text": "hi"}],
                        "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}],
                        "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": CALL}],
                        "annotations": [{"url": "u"}],
                        "extra_content": {"google": {"thought_signature": "s"}},
                    },
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "total_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 1},
                "cost": {"total_cost": 0.1},
            },
        }
    ],
    "openai-responses": [
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": {"type": "function_call", "call_id": "a", "name": "t", "arguments": ""},
        },
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"},
        {"type": "response.output_text.delta", "output_index": 2, "delta": "hi"},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"type": "reasoning", "id": "r", "summary": [{"text": "so"}], "encrypted_content": "e"},
        },
        {
            "type": "response.output_item.done",
            "output_index": 3,
            "item": {"type": "web_search_call", "action": {"type": "search"}},
        },
        {
            "type": "response.completed",
            "response": {
                "id": "r1",
                "model": "m",
                "status": "completed",
                "output": [
                    {"type": "message", "content": [{"type": "output_text", "text": "hi", "annotations": [{}]}]}
                ],
                "usage": {"input_tokens": 3, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}},
            },
        },
    ],
    "anthropic": [
        {"type": "message_start", "message": {"id": "m1", "model": "m", "usage": {"input_tokens": 3}}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "so", "signature": "s"},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "!"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "", "citations": [{}]}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {"a": 1}}},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        },
        {
            "type": "content_block_start",
            "index": 3,
            "content_block": {"type": "tool_use", "id": "a", "name": "t", "input": {}},
        },
        {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 2, "iterations": [{"type": "compaction", "input_tokens": 1}]},
        },
        {"type": "message_stop"},
    ],
    "gemini": [
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"text": "so", "thought": True, "thoughtSignature": "s"},
                            {"text": "hi"},
                            {"executableCode": {"code": "1"}},
                            {"functionCall": {"name": "t", "args": {"a": 1}, "id": "a"}},
                        ]
                    },
                    "finishReason": "STOP",
                    "finishMessage": "done",
                    "groundingMetadata": {"webSearchQueries": ["q"]},
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 3,
                "candidatesTokenCount": 2,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
            },
            "modelVersion": "gemini-3",
            "responseId": "r1",
        }
    ],
    "ollama": [
        {
            "model": "m",
            "message": {
                "content": "hi",
                "thinking": "so",
                "tool_calls": [{"id": "a", "function": {"name": "t", "arguments": {}}}],
            },
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 2,
        }
    ],
}
VECTORS: dict[str, list[Any]] = {
    "openai-chat": [{"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1}, "model": "m"}],
    "gemini": [
        {"embeddings": [{"values": [1.0]}], "usageMetadata": {"promptTokenCount": 1}},
        {"predictions": [{"embeddings": {"values": [1.0], "statistics": {"token_count": 1}}}]},
        {"embedding": {"values": [1.0]}},
    ],
    "ollama": [{"embeddings": [[1.0]], "prompt_eval_count": 1, "model": "m"}],
}
PICTURES: dict[str, list[Any]] = {
    "openai-chat": [
        {"data": [{"b64_json": "aGk=", "revised_prompt": "x"}], "usage": {"output_tokens_details": {"image_tokens": 1}}}
    ],
    "gemini": [
        {
            "candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}}],
            "usageMetadata": {"promptTokenCount": 1},
            "modelVersion": "m",
        },
        {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "aGk="}]},
        {"candidates": [{"finishReason": "IMAGE_SAFETY"}], "promptFeedback": {"blockReason": "SAFETY"}},
    ],
}
MODELS: dict[str, Any] = {
    "openai-chat": {"data": [{"id": "a", "context_length": 3}]},
    "anthropic": {"data": [{"id": "a", "display_name": "A"}]},
    "gemini": {"models": [{"name": "models/a", "inputTokenLimit": 3, "supportedGenerationMethods": ["predict"]}]},
    "ollama": {"models": [{"name": "a", "details": {"family": "f"}}]},
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def with_odd_values(document: Any) -> Iterator[Any]:
    """Yield copies of a document, each with one odd value; there is at least one."""
    assert any(places(document))
    for *way, last in places(document):
        for value in (*ODD, GONE):
            changed = json.loads(json.dumps(document))
            holder = changed
            for key in way:
                holder = holder[key]
            if value is GONE:
                del holder[last]
            else:
                holder[last] = value
            yield changed


def round_trip(message: Message) -> Message:
    """Return a message as it comes out of the hub."""
    return Message(
        "assistant", parts_from_json(json.loads(json.dumps(parts_to_json(message.parts)))), dict(message.metadata)
    )


@pytest.mark.parametrize("name", CHATS)
def test_odd_answer_can_be_read_and_sent_on(name: str) -> None:
    wire = WIRES.load(name)
    for chunks in with_odd_values(CHATS[name]):
        try:
            response = collect_response(
                wire.parse_stream((ServerEvent(json.dumps(chunk)) for chunk in chunks), Dialect())
            )
        except LlmctlError:
            continue
        answer = round_trip(response.message)
        results = tuple(ToolResult(call.id, call.name, "ok") for call in answer.tool_calls)
        asked = ChatRequest("m", (Message.from_text("user", "hi"), answer, Message("tool", results)))
        for other in CHATS:
            WIRES.load(other).build_request(Endpoint("https://h.example"), asked)
        assert all(call.id for call in answer.tool_calls)
        assert response.usage is None or response.usage.total_tokens < 2**63


@pytest.mark.parametrize("name", VECTORS)
def test_odd_vectors_are_refused_or_read(name: str) -> None:
    way = WIRES.load(name).embeddings
    assert way
    for document in VECTORS[name]:
        for changed in with_odd_values(document):
            try:
                found = way.parse_response(json.dumps(changed).encode(), EmbedRequest("m", ("a",)))
            except LlmctlError:
                continue
            assert len(found.vectors) == 1
            assert all(isinstance(number, float) for number in found.vectors[0])


@pytest.mark.parametrize("name", PICTURES)
def test_odd_pictures_are_refused_or_read(name: str) -> None:
    way = WIRES.load(name).images
    assert way
    for document in PICTURES[name]:
        for changed in with_odd_values(document):
            try:
                found = way.parse_response(json.dumps(changed).encode())
            except LlmctlError:
                continue
            assert found.images
            assert found.model is None or isinstance(found.model, str)


@pytest.mark.parametrize("name", MODELS)
def test_odd_lists_of_models_are_refused_or_read(name: str) -> None:
    for changed in with_odd_values(MODELS[name]):
        try:
            found = WIRES.load(name).parse_models(json.dumps(changed).encode())
        except LlmctlError:
            continue
        assert all(model["id"] and isinstance(model["id"], str) for model in found)
