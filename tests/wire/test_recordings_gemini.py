"""Recorded answers of AI Studio and Vertex AI, through the real transport, cut into pieces of every kind.

What is expected is read from the recorded body as a whole, in another and simpler way than the wire reads it.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from llmctl.core.chat import (
    ChatRequest,
    ChatResponse,
    Message,
    ToolResult,
    Usage,
    collect_response,
    parts_from_json,
    parts_to_json,
)
from llmctl.core.errors import ConfigError, LlmctlError, UnavailableError
from llmctl.core.http import Endpoint
from llmctl.core.single_requests import EmbedRequest
from llmctl.providers import PROVIDERS
from llmctl.transport import client
from llmctl.transport.sse import parse_sse
from llmctl.wire.gemini import WIRE
from tests.wire import recordings
from tests.wire.recordings import Exchange, is_stream, parse_documents

pytestmark = recordings.needs_recordings

DIALECT = PROVIDERS.load("gemini").dialect
EXCHANGES = recordings.load_exchanges("gemini")
GROUPS = recordings.group_exchanges(EXCHANGES)
ANSWERED = [exchange for exchange in EXCHANGES if exchange["response"]["status"] < 400]
EMBEDDED = recordings.load_exchanges("gemini-embeddings") + recordings.load_exchanges("gemini-predict")
FILTERED = ("SAFETY", "MODEL_ARMOR", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "IMAGE_SAFETY")
NOTES = ("groundingMetadata", "citationMetadata", "urlContextMetadata")
ERRORS: dict[str, tuple[type[LlmctlError], str]] = {
    "API_KEY_INVALID": (ConfigError, "auth"),
    "RESOURCE_EXHAUSTED": (UnavailableError, "rate_limit"),
}


def ask(server: str, exchange: Exchange, **more: Any) -> tuple[ChatResponse, LlmctlError | None]:
    return recordings.send_recorded_request(WIRE, server, exchange, DIALECT, **more)


# ---------------------------------------------------------------- what is expected, read another way


def candidates(exchange: Exchange) -> list[dict[str, Any]]:
    return [candidate for document in parse_documents(exchange) for candidate in document.get("candidates") or []]


def parts(exchange: Exchange) -> list[dict[str, Any]]:
    found = [candidate.get("content") or {} for candidate in candidates(exchange)]
    return [part for content in found for part in content.get("parts") or []]


def joined(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts without empty ones; unsigned pieces of a text or of a thought that follow each other are one."""
    whole: list[dict[str, Any]] = []
    for part in found:
        before = whole[-1] if whole else {}
        plain = "text" in part and "thoughtSignature" not in part
        if part == {"text": ""}:
            continue
        if plain and "text" in before and "thoughtSignature" not in before and before.keys() == part.keys():
            whole[-1] = before | {"text": before["text"] + part["text"]}
        else:
            whole.append(part)
    return whole


def expected_usage(exchange: Exchange) -> Usage:
    said = [document["usageMetadata"] for document in parse_documents(exchange) if "usageMetadata" in document]
    usage = [one for one in said if "totalTokenCount" in one][-1]
    rows = [
        (side, row["modality"].lower(), row["tokenCount"])
        for field, side in (("promptTokensDetails", "input"), ("candidatesTokensDetails", "output"))
        for row in usage.get(field, [])
    ] + [("cached", row["modality"].lower(), row["tokenCount"]) for row in usage.get("cacheTokensDetails", [])]
    input_tokens = usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0)
    thinking = usage.get("thoughtsTokenCount", 0)
    grounded = [candidate.get("groundingMetadata", {}) for candidate in candidates(exchange)]
    queries = [query for one in grounded for query in one.get("webSearchQueries", []) if query]
    each = "gemini-3" in parse_documents(exchange)[0].get("modelVersion", "")
    searches = {"web_searches": len(queries) if each else 1} if queries else {}
    return Usage(
        input_tokens=input_tokens,
        output_tokens=usage["totalTokenCount"] - input_tokens,
        cached_tokens=usage.get("cachedContentTokenCount", 0),
        thinking_tokens=thinking,
        details=searches | {f"{side}_{kind}_tokens": count for side, kind, count in rows if kind in ("audio", "image")},
    )


def expected_reason(exchange: Exchange) -> tuple[str, str]:
    word = [candidate["finishReason"] for candidate in candidates(exchange) if "finishReason" in candidate][-1]
    if word in FILTERED:
        return "content_filter", word
    called = any("functionCall" in part for part in parts(exchange))
    known = {"STOP": "tool_calls" if called else "stop", "MAX_TOKENS": "length"}
    return known.get(word, "other"), word


def differences(exchange: Exchange, response: ChatResponse) -> dict[str, tuple[Any, Any]]:
    """Return what was received and what was expected, where they differ."""
    message = response.message
    came = parts(exchange)
    texts = [part for part in came if "text" in part]
    calls = [part["functionCall"] for part in came if "functionCall" in part]
    said: dict[str, Any] = {}
    for candidate in candidates(exchange):
        said |= {name: candidate[name] for name in NOTES if candidate.get(name)}
    [*_, last] = parse_documents(exchange)
    pairs = {
        "text": (message.text, "".join(part["text"] for part in texts if not part.get("thought"))),
        "thinking": (message.thinking, "".join(part["text"] for part in texts if part.get("thought"))),
        "calls": (
            [(call.name, json.loads(call.arguments)) for call in message.tool_calls],
            [(call["name"], call["args"]) for call in calls],
        ),
        "ids": (len({call.id for call in message.tool_calls}), len(calls)),
        "given ids": (
            [call.id for call in message.tool_calls if "gemini_id" in call.metadata],
            [call["id"] for call in calls if call.get("id")],
        ),
        "citations": ({name: message.metadata[name] for name in NOTES if name in message.metadata}, said),
        "usage": (response.usage and response.usage.replace(service_tier=None), expected_usage(exchange)),
        "model": ((response.model, response.response_id), (last["modelVersion"], last["responseId"])),
        "finish": ((response.finish_reason, response.raw_finish_reason), expected_reason(exchange)),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("provider", recordings.list_providers(EXCHANGES))
def test_recorded_answer_is_read_whole(server: str, provider: str) -> None:
    wrong = {}
    for exchange in ANSWERED:
        if exchange["provider"] != provider:
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
    for exchange in EXCHANGES:
        if exchange["response"]["status"] < 400:
            continue
        _, error = ask(server, exchange)
        word = next(word for word in ERRORS if word in exchange["response"]["body"])
        assert error is not None
        assert (type(error), error.reason, error.status_code) == (*ERRORS[word], exchange["response"]["status"])
        assert "AIza" not in error.message
        seen.add(word)
    assert seen == set(ERRORS)


def test_recorded_wait_is_read(server: str) -> None:
    limited = next(exchange for exchange in EXCHANGES if exchange["response"]["status"] == 429)
    _, error = ask(server, limited)
    assert error is not None
    assert error.retry_after == pytest.approx(48.9, abs=0.1)


@pytest.mark.parametrize("provider", recordings.list_providers([one for one in EXCHANGES if is_stream(one)]))
def test_recorded_stream_cut_anywhere_is_incomplete(server: str, provider: str) -> None:
    streams = [one for one in ANSWERED if one["provider"] == provider and is_stream(one)]
    exchange = max(streams, key=lambda one: len(parse_documents(one)) if len(one["response"]["body"]) < 20_000 else 0)
    body = exchange["response"]["body"].encode()
    end = body.rindex(b'"finishReason"')
    text = "".join(part["text"] for part in parts(exchange) if "text" in part and not part.get("thought"))
    for length in (0, 5, len(body) // 3, end - 2, end):
        response, error = ask(server, exchange, fault=f"cut:{length}")
        assert response.finish_reason is None
        assert isinstance(error, UnavailableError)
        assert error.reason == "cut"
        assert text.startswith(response.message.text)


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [("html", {"not_json"}), ("status:500", {"server_error"}), ("status:429", {"rate_limit"}), ("hang", {"timeout"})],
)
def test_fault_of_a_server_is_unavailable(server: str, fault: str, reasons: set[str]) -> None:
    exchange = next(one for one in ANSWERED if is_stream(one))
    response, error = ask(server, exchange, fault=fault, timeouts=client.Timeouts(first_byte=0.2, idle=0.2))
    assert isinstance(error, UnavailableError)
    assert error.reason in reasons
    assert response.finish_reason is None


def test_garbage_between_events_is_reported_and_skipped(server: str) -> None:
    exchange = next(one for one in ANSWERED if is_stream(one))
    response, error = ask(server, exchange, fault="garbage")
    assert error is None
    assert len(response.unreadable) == 1
    assert differences(exchange, response) == {}


# ---------------------------------------------------------------- what is given back


def read(exchange: Exchange) -> ChatResponse:
    """Read a recorded answer as it lies in the hub: its parts stored and loaded again."""
    body = exchange["response"]["body"].encode()
    events = (
        WIRE.parse_stream(parse_sse([body]), DIALECT) if is_stream(exchange) else WIRE.parse_response(body, DIALECT)
    )
    response = collect_response(events)
    stored = parts_from_json(json.loads(json.dumps(parts_to_json(response.message.parts))))
    return response.replace(message=response.message.replace(parts=stored))


def sent(messages: list[Message], model: str) -> list[dict[str, Any]]:
    request = WIRE.build_request(Endpoint("http://host/v1beta"), ChatRequest(model, tuple(messages)))
    contents: list[dict[str, Any]] = json.loads(request.body)["contents"]
    return contents


def test_recorded_parts_go_back_as_they_came() -> None:
    for exchange in ANSWERED:
        came = joined(parts(exchange))
        message = read(exchange).message
        results = tuple(ToolResult(call.id, call.name, "ok") for call in message.tool_calls)
        history = [Message.from_text("user", "hello"), message]
        history.append(Message("tool", results) if results else Message.from_text("user", "and?"))
        contents = sent(history, "gemini-2.5-flash")
        said = contents[1:-1]
        assert [part for content in said for part in content["parts"]] == came, exchange["id"]


def test_recorded_groups_are_asked_step_by_step() -> None:
    """Each step's answer, and the results that the next one really sent, make contents of the recorded shape."""
    steps = 0
    for group in GROUPS.values():
        for before, after in pairwise(group):
            said = after["request"]["json"]["contents"]
            asked = [content for content in said if any("functionResponse" in part for part in content["parts"])]
            message = read(before).message
            if not asked or not message.tool_calls:
                continue
            returned = [part["functionResponse"] for part in asked[-1]["parts"] if "functionResponse" in part]
            results = [
                Message("tool", (ToolResult(call.id, call.name, json.dumps(one["response"])),))
                for call, one in zip(message.tool_calls, returned, strict=True)
            ]
            contents = sent([Message.from_text("user", "hello"), message, *results], "gemini-3-flash-preview")
            assert [content["role"] for content in contents] == ["user", "model", "user"]
            responses = [part["functionResponse"] for part in contents[-1]["parts"]]
            assert [one["name"] for one in responses] == [one["name"] for one in returned]
            ids = [call.metadata.get("gemini_id") for call in message.tool_calls]
            assert [one.get("id") for one in responses] == ids
            steps += 1
    assert steps > 5


# ---------------------------------------------------------------- embeddings


def test_recorded_embeddings_are_read() -> None:
    for exchange in EMBEDDED:
        [answer] = parse_documents(exchange)
        found = answer.get("embeddings") or [row["embeddings"] for row in answer["predictions"]]
        asked = EmbedRequest(exchange["request"]["url"], tuple("text" for _ in found))
        assert WIRE.embeddings is not None
        response = WIRE.embeddings.parse_response(exchange["response"]["body"].encode(), asked)
        assert [list(vector) for vector in response.vectors] == [one["values"] for one in found]
        counted = answer.get("usageMetadata", {}).get("promptTokenCount") or sum(
            one.get("statistics", {}).get("token_count", 0) for one in found
        )
        assert (response.usage.input_tokens if response.usage else 0) == counted
    assert len(EMBEDDED) > 3


def test_recorded_embedding_requests_are_what_is_built() -> None:
    for exchange in EMBEDDED:
        url, asked = exchange["request"]["url"], exchange["request"]["json"]
        base, _, path = url.partition("/publishers" if "/publishers" in url else "/models")
        dialect = PROVIDERS.load("vertex" if "/publishers" in url else "gemini").dialect
        first = (asked.get("requests") or asked.get("instances"))[0]
        parts = first.get("content", {}).get("parts", []) if "requests" in asked else [{"text": first["content"]}]
        if len(parts) != 1 or "text" not in parts[0]:
            continue
        options = {name: first[name] for name in ("taskType", "outputDimensionality") if name in first}
        model = path.rpartition("/")[2].partition(":")[0]
        wish = EmbedRequest(model, (parts[0]["text"],), options)
        assert WIRE.embeddings is not None
        request = WIRE.embeddings.build_request(Endpoint(base, dialect=dialect), wish)
        assert request.url == url
        assert json.loads(request.body) == asked
