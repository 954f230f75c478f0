"""Recorded answers of Anthropic's Messages API, through the real transport, cut into pieces of every kind.

What is expected is read from the recorded body as a whole, in another and simpler way than the wire reads it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, ChatResponse, Message, Text, Thinking, ToolResult, Usage
from llmctl.core.errors import LlmctlError, NotFoundError, RejectedError, UnavailableError
from llmctl.core.http import Endpoint
from llmctl.providers import PROVIDERS
from llmctl.transport import client
from llmctl.wire.anthropic import WIRE
from tests.wire import recordings
from tests.wire.recordings import Exchange, is_stream, parse_documents

pytestmark = recordings.needs_recordings

DIALECT = PROVIDERS.load("anthropic").dialect
EXCHANGES = recordings.load_exchanges("anthropic-messages")
GROUPS = recordings.group_exchanges(EXCHANGES)
REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "pause_turn": "incomplete",
}
ERRORS: dict[int, tuple[type[LlmctlError], str]] = {
    400: (RejectedError, "context_length"),
    404: (NotFoundError, "model_not_found"),
}


def ask(server: str, exchange: Exchange, **more: Any) -> tuple[ChatResponse, LlmctlError | None]:
    return recordings.send_recorded_request(WIRE, server, exchange, DIALECT, **more)


def failed(exchange: Exchange) -> bool:
    return bool(exchange["response"]["status"] >= 400)


# ---------------------------------------------------------------- what is expected, read another way


def blocks(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the content blocks of the answer as they are in a whole one."""
    if not is_stream(exchange):
        return list(parse_documents(exchange)[0]["content"])
    found: dict[int, dict[str, Any]] = {}
    for event in parse_documents(exchange):
        if event["type"] == "content_block_start":
            found[event["index"]] = {**event["content_block"], "json": ""}
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], found[event["index"]]
            block["text"] = block.get("text", "") + delta.get("text", "")
            block["thinking"] = block.get("thinking", "") + delta.get("thinking", "")
            block["signature"] = block.get("signature", "") + delta.get("signature", "")
            block["json"] += delta.get("partial_json", "")
            block["content"] = delta.get("content", block.get("content"))
            if "citation" in delta:
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    for block in found.values():
        if block["json"]:
            block["input"] = json.loads(block["json"])
    return list(found.values())


def of_type(exchange: Exchange, *types: str) -> list[dict[str, Any]]:
    return [block for block in blocks(exchange) if block["type"] in types]


def message(exchange: Exchange) -> dict[str, Any]:
    """Return what is said beside the blocks."""
    whole = parse_documents(exchange)
    if not is_stream(exchange):
        return dict(whole[0])
    start = next(event["message"] for event in whole if event["type"] == "message_start")
    change = next(event for event in whole if event["type"] == "message_delta")
    return {**start, **change["delta"], "usage": {**start["usage"], **change["usage"]}}


def expected_usage(exchange: Exchange) -> Usage:
    usage = message(exchange)["usage"]
    beside = [run for run in usage.get("iterations") or [] if run["type"] != "message"]
    runs = [usage, *beside]
    read = sum(run.get("cache_read_input_tokens") or 0 for run in runs)
    written = sum(run.get("cache_creation_input_tokens") or 0 for run in runs)
    hour = sum((run.get("cache_creation") or {}).get("ephemeral_1h_input_tokens", 0) for run in runs)
    searches = (usage.get("server_tool_use") or {}).get("web_search_requests", 0)
    details = {"cache_write_1h_tokens": hour, "web_searches": searches}
    return Usage(
        input_tokens=sum(run["input_tokens"] for run in runs) + read + written,
        output_tokens=sum(run["output_tokens"] for run in runs),
        cached_tokens=read,
        cache_write_tokens=written,
        thinking_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens", 0),
        details={name: count for name, count in details.items() if count},
    )


def differences(exchange: Exchange, response: ChatResponse) -> dict[str, tuple[Any, Any]]:
    """Return what was received and what was expected, where they differ."""
    parts = response.message.parts
    thinking = [part for part in parts if isinstance(part, Thinking)]
    metadata = response.message.metadata
    cited = [citation for block in of_type(exchange, "text") for citation in block.get("citations") or []]
    foreign = [block["type"] for block in blocks(exchange) if block["type"] not in PLAIN]
    kept = metadata.get("anthropic_content", [])
    pairs = {
        "text": (response.message.text, "".join(block["text"] for block in of_type(exchange, "text"))),
        "thinking": (
            [(part.text, part.signature) for part in thinking if "redacted" not in part.metadata],
            [(block["thinking"], block["signature"]) for block in of_type(exchange, "thinking")],
        ),
        "redacted": (
            [part.metadata["redacted"] for part in thinking if "redacted" in part.metadata],
            [block["data"] for block in of_type(exchange, "redacted_thinking")],
        ),
        "calls": (
            [(call.id, call.name, json.loads(call.arguments)) for call in response.message.tool_calls],
            [(block["id"], block["name"], block["input"]) for block in of_type(exchange, "tool_use")],
        ),
        "citations": (metadata.get("citations", []), cited),
        "others": ([block["type"] for block in kept if block["type"] not in PLAIN], foreign),
        "kept": ([stripped(block) for block in kept], [stripped(b) for b in blocks(exchange)] if foreign else []),
        "usage": (response.usage and response.usage.replace(service_tier=None), expected_usage(exchange)),
        "model": (response.model, message(exchange)["model"]),
        "id": (response.response_id, message(exchange)["id"]),
        "finish": (response.finish_reason, REASONS[message(exchange)["stop_reason"]]),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


PLAIN = {"text", "thinking", "redacted_thinking", "tool_use"}


def stripped(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "json" and value not in ("", None, [])}


# ---------------------------------------------------------------- the tests


def test_recorded_answer_is_read_whole(server: str) -> None:
    wrong = {}
    for exchange in EXCHANGES:
        if failed(exchange):
            continue
        response, error = ask(server, exchange)
        found: dict[str, Any] = differences(exchange, response)
        if error or response.unreadable:
            found["error"] = error or response.unreadable
        if found:
            wrong[exchange["id"]] = found
    assert wrong == {}


def test_recorded_error_has_its_class(server: str) -> None:
    seen = set()
    for exchange in filter(failed, EXCHANGES):
        _, error = ask(server, exchange)
        status = exchange["response"]["status"]
        assert (type(error), error and error.reason, error and error.status_code) == (*ERRORS[status], status)
        seen.add(status)
    assert seen == set(ERRORS)


@pytest.mark.parametrize("number", range(3))
def test_recorded_stream_cut_anywhere_is_incomplete(server: str, number: int) -> None:
    exchange = sorted(filter(is_stream, EXCHANGES), key=lambda exchange: len(exchange["response"]["body"]))[number]
    body = exchange["response"]["body"].encode()
    for length in (0, 5, len(body) // 3, body.rindex(b'"message_stop"')):
        response, error = ask(server, exchange, fault=f"cut:{length}")
        assert response.finish_reason is None
        assert isinstance(error, UnavailableError)
        assert error.reason == "cut"
        assert "".join(block["text"] for block in of_type(exchange, "text")).startswith(response.message.text)


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("html", {"not_json"}),
        ("status:500", {"server_error"}),
        ("status:529", {"overloaded"}),
        ("status:429", {"rate_limit"}),
        ("reset:300", {"reset", "cut"}),
        ("hang-after:300", {"timeout"}),
    ],
)
def test_fault_of_a_server_is_unavailable(server: str, fault: str, reasons: set[str]) -> None:
    exchange = next(filter(is_stream, EXCHANGES))
    response, error = ask(server, exchange, fault=fault, timeouts=client.Timeouts(first_byte=0.2, idle=0.2))
    assert isinstance(error, UnavailableError)
    assert error.reason in reasons
    assert response.finish_reason is None


def test_garbage_between_events_is_reported_and_skipped(server: str) -> None:
    exchange = next(filter(is_stream, EXCHANGES))
    response, error = ask(server, exchange, fault="garbage")
    assert error is None
    assert len(response.unreadable) == 1
    assert differences(exchange, response) == {}


@pytest.mark.parametrize("group", sorted(name for name, steps in GROUPS.items() if len(steps) > 1) or ["none"])
def test_recorded_answer_is_given_back_in_the_next_step_as_it_came(group: str) -> None:
    """Each answer of a group, built into the history of the next request, is what the recorder sent there."""
    for before in GROUPS.get(group, [])[:-1]:
        response = fold_of(before)
        results = tuple(ToolResult(call.id, call.name, "done") for call in response.message.tool_calls)
        asked = Message.from_text("user", "go on") if not results else Message("tool", results)
        history = (Message.from_text("user", "hello"), response.message, asked)
        http = WIRE.build_request(Endpoint("http://localhost"), ChatRequest("claude-sonnet-4-5", history))
        sent = json.loads(http.body)["messages"][1]["content"]
        came = [block for block in blocks(before) if block["type"] != "text" or block["text"].strip()]
        if all(block["type"] in PLAIN for block in came):
            came = merged(came)
        assert [essence(block) for block in sent] == [essence(block) for block in came]


def fold_of(exchange: Exchange) -> ChatResponse:
    from llmctl.core.chat import collect_response
    from llmctl.transport.sse import parse_sse

    body = exchange["response"]["body"].encode()
    return collect_response(
        WIRE.parse_stream(parse_sse([body]), DIALECT) if is_stream(exchange) else WIRE.parse_response(body, DIALECT)
    )


def merged(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join text blocks that follow each other: they make one part of a message."""
    joined: list[dict[str, Any]] = []
    for block in found:
        if joined and block["type"] == joined[-1]["type"] == "text":
            joined[-1] = {"type": "text", "text": joined[-1]["text"] + block["text"]}
        else:
            joined.append(block)
    return joined


def essence(block: dict[str, Any]) -> dict[str, Any]:
    wanted = ("type", "text", "thinking", "signature", "data", "id", "name", "input", "tool_use_id", "content")
    return {name: block[name] for name in wanted if block.get(name) not in (None, "")}


def test_thinking_of_recorded_answers_is_marked_as_ours() -> None:
    parts = [part for exchange in EXCHANGES if not failed(exchange) for part in fold_of(exchange).message.parts]
    assert {part.metadata.get("wire") for part in parts if isinstance(part, Thinking)} <= {"anthropic"}
    assert any(isinstance(part, Text) for part in parts) or not EXCHANGES
