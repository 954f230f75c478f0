"""Recorded answers of Responses, through the real transport and cut into pieces of every kind.

What is expected is read from the finished response alone, which a stream holds in its last event; the wire reads the
events before it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.chat import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    Text,
    Thinking,
    ToolResult,
    Usage,
    collect_response,
    parts_from_json,
    parts_to_json,
)
from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, Endpoint
from llmctl.transport.sse import parse_sse
from llmctl.wire.openai_responses import WIRE
from tests.wire import recordings
from tests.wire.recordings import Exchange, is_stream, parse_documents

pytestmark = recordings.needs_recordings

EXCHANGES = recordings.load_exchanges("openai-responses")
GROUPS = recordings.group_exchanges(EXCHANGES)
ERRORS: dict[tuple[str, int, str], tuple[type[LlmctlError], str]] = {
    ("deepseek", 400, "No tool output found"): (RejectedError, "invalid_request"),
    ("openai", 400, "model_not_found"): (NotFoundError, "model_not_found"),
    ("openai", 400, "decimal_below_min_value"): (RejectedError, "invalid_request"),
    ("openai", 401, "Incorrect API key"): (ConfigError, "auth"),
    ("xai", 400, "Incorrect API key"): (ConfigError, "auth"),
}
#: Kinds of items that are parts of a message; all others are kept in its metadata.
PARTS = ("message", "reasoning", "function_call")


# ---------------------------------------------------------------- what is expected, read another way


def finished(exchange: Exchange) -> dict[str, Any]:
    """Return the finished response."""
    last = parse_documents(exchange)[-1]
    return last["response"] if is_stream(exchange) else last


def output(exchange: Exchange, *kinds: str) -> list[dict[str, Any]]:
    return [item for item in finished(exchange)["output"] if item["type"] in kinds]


def items_when_done(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the items of a stream as each was finished: what is encrypted differs from the finished response's.

    Of both this is the one that is wanted back: https://platform.openai.com/docs/api-reference/responses/object
    """
    if not is_stream(exchange):
        return finished(exchange)["output"]
    return [event["item"] for event in parse_documents(exchange) if event.get("type") == "response.output_item.done"]


def expected_thinking(exchange: Exchange) -> str:
    items = output(exchange, "reasoning")
    return "".join("\n\n".join(p["text"] for p in item["summary"] + (item.get("content") or [])) for item in items)


def expected_usage(exchange: Exchange) -> Usage:
    usage = finished(exchange)["usage"]
    sent, done = usage["input_tokens_details"], usage["output_tokens_details"]
    searches = [item["action"]["type"] for item in output(exchange, "web_search_call")].count("search")
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    return Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cached_tokens=sent["cached_tokens"],
        cache_write_tokens=sent.get("cache_write_tokens", 0),
        thinking_tokens=done["reasoning_tokens"],
        cost=usage.get("cost", usage["cost_in_usd_ticks"] * 1e-10 if "cost_in_usd_ticks" in usage else None),
        details={"web_searches": searches} if searches else {},
    )


def list_annotations(exchange: Exchange) -> list[Any]:
    return [
        note
        for item in output(exchange, "message")
        for part in item["content"]
        for note in part.get("annotations") or []
    ]


def differences(exchange: Exchange, response: ChatResponse) -> dict[str, tuple[Any, Any]]:
    """Return what was received and what was expected, where they differ."""
    message = response.message
    thinking = [part for part in message.parts if isinstance(part, Thinking)]
    calls = output(exchange, "function_call")
    texts = [part["text"] for item in output(exchange, "message") for part in item["content"]]
    encrypted = [item.get("encrypted_content") for item in items_when_done(exchange) if item["type"] == "reasoning"]
    others = [item for item in finished(exchange)["output"] if item["type"] not in PARTS]
    pairs = {
        "text": ("".join(part.text for part in message.parts if isinstance(part, Text)), "".join(texts)),
        "thinking": (message.thinking, expected_thinking(exchange)),
        "signatures": ([part.signature for part in thinking if part.signature], [s for s in encrypted if s]),
        "calls": (
            [(call.id, call.name, call.arguments) for call in message.tool_calls],
            [(item["call_id"], item["name"], item["arguments"]) for item in calls],
        ),
        "usage": (response.usage and response.usage.replace(service_tier=None), expected_usage(exchange)),
        "model": (response.model, finished(exchange)["model"]),
        "id": (response.response_id, finished(exchange)["id"]),
        "finish": (response.finish_reason, "tool_calls" if calls else "stop"),
        "annotations": (
            sorted(map(json.dumps, message.metadata.get("annotations", []))),
            sorted({json.dumps(note) for note in list_annotations(exchange)}),
        ),
        "items": (list(message.metadata.get("items", [])), others),
        "unreadable": (response.unreadable, ()),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def read(exchange: Exchange) -> ChatResponse:
    body = exchange["response"]["body"].encode()
    events = (
        WIRE.parse_stream(parse_sse([body]), Dialect()) if is_stream(exchange) else WIRE.parse_response(body, Dialect())
    )
    return collect_response(events)


def is_answer(exchange: Exchange) -> bool:
    return exchange["response"]["status"] < 400


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("provider", recordings.list_providers(EXCHANGES))
def test_recorded_response_is_read_whole(server: str, provider: str) -> None:
    wrong = {}
    for exchange in EXCHANGES:
        if exchange["provider"] == provider and is_answer(exchange):
            response, error = recordings.send_recorded_request(WIRE, server, exchange, Dialect())
            found: dict[str, Any] = differences(exchange, response)
            if error:
                found["error"] = error
            if found:
                wrong[exchange["id"]] = found
    assert wrong == {}


def test_recorded_refusal_has_its_class(server: str) -> None:
    seen = set()
    for exchange in EXCHANGES:
        if is_answer(exchange):
            continue
        _, error = recordings.send_recorded_request(WIRE, server, exchange, Dialect())
        body, status = exchange["response"]["body"], exchange["response"]["status"]
        key = next(key for key in ERRORS if key[:2] == (exchange["provider"], status) and key[2] in body)
        assert error
        assert (type(error), error.reason, error.status_code) == (*ERRORS[key], status)
        seen.add(key)
    assert seen == set(ERRORS)


def test_recorded_stream_cut_anywhere_is_incomplete(server: str) -> None:
    streams = [exchange for exchange in EXCHANGES if is_stream(exchange)]
    for provider in {exchange["provider"] for exchange in streams}:
        exchange = min(
            (found for found in streams if found["provider"] == provider),
            key=lambda found: len(found["response"]["body"]),
        )
        body = exchange["response"]["body"].encode()
        for length in (0, 5, len(body) // 3, body.rindex(b"response.completed")):
            response, error = recordings.send_recorded_request(WIRE, server, exchange, Dialect(), fault=f"cut:{length}")
            assert response.finish_reason is None
            assert isinstance(error, UnavailableError)
            assert error.reason == "cut"


def unsigned(part: Part) -> Part:
    return part.replace(signature=None) if isinstance(part, Thinking) else part


def test_stream_and_finished_response_say_the_same() -> None:
    for exchange in filter(is_stream, EXCHANGES):
        whole = collect_response(WIRE.parse_response(json.dumps(finished(exchange)).encode(), Dialect()))
        streamed = read(exchange)
        assert list(map(unsigned, streamed.message.parts)) == list(map(unsigned, whole.message.parts)), exchange["id"]
        assert (streamed.usage, streamed.finish_reason) == (whole.usage, whole.finish_reason)


#: What the recording client said otherwise than we do: ids and states of items, which nobody wants back.
UNSAID = ("id", "status", "annotations", "logprobs")


def given_back(items: list[Any], kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    # One client puts the id of the response before that of a call, which comes again in the next one.
    return [
        {
            name: value.rpartition(":")[2] if name == "call_id" else value
            for name, value in item.items()
            if name not in UNSAID and value not in (None, [])
        }
        for item in items
        if isinstance(item, dict) and item.get("type") in kinds
    ]


@pytest.mark.parametrize("group", sorted(name for name, steps in GROUPS.items() if len(steps) > 1) or ["none"])
def test_recorded_steps_are_given_back_as_the_provider_took_them(group: str) -> None:
    """The next step's recorded request is the proof: its reasoning and calls are those that we send back."""
    history: list[Message] = []
    for exchange, following in zip(GROUPS[group], GROUPS[group][1:], strict=False):
        asked = following["request"]["json"] or {}
        if not is_answer(exchange) or not isinstance(asked.get("input"), list) or asked.get("previous_response_id"):
            continue
        message = read(exchange).message
        # As it comes out of the hub.
        message = Message(
            "assistant", parts_from_json(parts_to_json(message.parts)), json.loads(json.dumps(dict(message.metadata)))
        )
        results = [ToolResult(call.id, call.name, "done") for call in message.tool_calls]
        history += [
            Message.from_text("user", "hello"),
            message,
            *([Message("tool", tuple(results))] if results else []),
        ]
        built = WIRE.build_request(
            Endpoint("http://localhost"), ChatRequest("m", (*history, Message.from_text("user", "go")))
        )
        ours = json.loads(built.body)["input"]
        for kinds in (("function_call",), ("reasoning",)):
            mine, wanted = given_back(ours, kinds), given_back(asked["input"], kinds)
            assert [item for item in wanted if item not in mine] == [], (group, kinds)
        positions = [place for place, item in enumerate(ours) if item.get("type") == "reasoning"]
        assert all(ours[place + 1].get("role") != "user" for place in positions)
