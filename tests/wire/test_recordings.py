"""Recorded traffic of real providers, through the real transport, cut into pieces of every kind.

What is expected is read from the recorded body as a whole, in another and simpler way than the wire reads it.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from llmctl.core.chat import ChatResponse, Thinking, Usage, collect_response
from llmctl.core.errors import (
    BudgetError,
    ConfigError,
    LlmctlError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from llmctl.core.http import Dialect
from llmctl.providers import PROVIDERS
from llmctl.transport import client
from llmctl.transport.sse import parse_sse
from llmctl.wire.openai_chat import WIRE
from tests.wire import recordings
from tests.wire.recordings import is_stream, parse_documents

pytestmark = recordings.needs_recordings

#: What hosts need that the list of providers does not name.
DIALECTS = {
    "gemini": Dialect(thinking_on_top=True, thinking_replay_field="extra_content"),
    "gpustack": Dialect(done_marker=False),
    "perplexity": Dialect(done_marker=False),
    "snowflake": Dialect(finish_reason_optional=True, thinking_replay_field="reasoning_details"),
    "xai": Dialect(thinking_on_top=True),
}
REASONS = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}
ERRORS: dict[tuple[str, int, str], tuple[type[LlmctlError], str]] = {
    ("azure", 429, "RateLimitReached"): (UnavailableError, "rate_limit"),
    ("deepseek", 401, "Authentication Fails"): (ConfigError, "auth"),
    ("groq", 404, "does not exist"): (NotFoundError, "model_not_found"),
    ("groq", 400, "tool_use_failed"): (RejectedError, "invalid_request"),
    ("ollama", 401, "Unauthorized"): (ConfigError, "auth"),
    ("openai", 400, "Invalid 'messages[3]'"): (RejectedError, "invalid_request"),
    ("openai", 400, "Unsupported value"): (RejectedError, "invalid_request"),
    ("openrouter", 401, "Missing Authentication"): (ConfigError, "auth"),
    ("openrouter", 400, "maximum context length"): (RejectedError, "context_length"),
    ("perplexity", 401, "Invalid API key"): (ConfigError, "auth"),
}


EXCHANGES = recordings.load_exchanges("openai-chat")
PROVIDER_NAMES = recordings.list_providers(EXCHANGES)
STREAMING = recordings.list_providers([exchange for exchange in EXCHANGES if is_stream(exchange)])


def dialect_of(provider: str) -> Dialect:
    if provider in PROVIDERS:
        return PROVIDERS.load(provider).dialect
    return DIALECTS.get(provider, Dialect())


def ask(
    server: str, exchange: dict[str, Any], fault: str | None = None, timeouts: client.Timeouts | None = None
) -> tuple[ChatResponse, LlmctlError | None]:
    dialect = dialect_of(exchange["provider"])
    return recordings.send_recorded_request(WIRE, server, exchange, dialect, fault=fault, timeouts=timeouts)


# ---------------------------------------------------------------- what is expected, read another way


def messages(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    part = "delta" if is_stream(exchange) else "message"
    return [
        choice.get(part) or {} for document in parse_documents(exchange) for choice in document.get("choices") or []
    ]


def expected_text(exchange: dict[str, Any]) -> str:
    found = ""
    for message in messages(exchange):
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if part["type"] == "text")
        found += content + (message.get("refusal") or "")
    return found


def expected_thinking(exchange: dict[str, Any]) -> str:
    found = ""
    for message in messages(exchange):
        plain = message.get("reasoning_content") or message.get("reasoning") or ""
        details = message.get("reasoning_details") or []
        found += plain or "".join(detail.get("text") or detail.get("summary") or "" for detail in details)
        if isinstance(content := message.get("content"), list):
            parts = [part for part in content if part["type"] == "thinking"]
            found += "".join(piece["text"] for part in parts for piece in part["thinking"])
    return found


def expected_signatures(exchange: dict[str, Any]) -> list[str]:
    found = re.findall(r'"(?:thought_)?signature": ?"([^"]+)"', json.dumps(messages(exchange)))
    return sorted(set(found))


def expected_calls(exchange: dict[str, Any]) -> list[tuple[str, Any]]:
    calls: dict[tuple[int, int], tuple[str, str]] = {}
    for number, message in enumerate(messages(exchange)):
        for place, piece in enumerate(message.get("tool_calls") or []):
            function = piece["function"]
            # In a stream the index names the call; in a whole answer the place does.
            key = (piece["index"], 0) if is_stream(exchange) else (number, place)
            name, arguments = calls.get(key, ("", ""))
            calls[key] = (name + (function.get("name") or ""), arguments + (function.get("arguments") or ""))
    return [(name, json.loads(arguments or "{}")) for name, arguments in calls.values()]


def expected_reason(exchange: dict[str, Any]) -> str:
    choices = [choice for document in parse_documents(exchange) for choice in document.get("choices") or []]
    named = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    reason = REASONS[named[-1]] if named else "stop"
    return "tool_calls" if reason == "stop" and expected_calls(exchange) else reason


def expected_usage(exchange: dict[str, Any]) -> Usage | None:
    found = [document.get("usage") or document.get("x_groq", {}).get("usage") for document in parse_documents(exchange)]
    if not (said := [usage for usage in found if usage]):
        return None
    usage = said[-1]
    prompt = usage.get("prompt_tokens_details") or {}
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    input_tokens, output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
    if exchange["provider"] in ("xai", "gemini"):
        output_tokens = usage["total_tokens"] - input_tokens
        reasoning = max(reasoning, output_tokens - usage["completion_tokens"])
    if "prompt_audio_seconds" in usage and exchange["provider"] == "mistral":
        input_tokens += prompt.get("audio_tokens") or 0
    cached = [prompt.get("cached_tokens"), usage.get("num_cached_tokens"), usage.get("cached_tokens")]
    cost = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost["total_cost"]
    elif usage.get("cost_in_usd_ticks"):
        cost = usage["cost_in_usd_ticks"] / 1e10
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(input_tokens, max(count or 0 for count in cached)),
        cache_write_tokens=prompt.get("cache_write_tokens") or 0,
        thinking_tokens=min(reasoning, output_tokens),
        cost=cost,
        details={
            name: float(count)
            for name, count in (
                ("input_audio_tokens", prompt.get("audio_tokens")),
                ("input_image_tokens", prompt.get("image_tokens")),
            )
            if count
        },
    )


def failed(exchange: dict[str, Any]) -> bool:
    return exchange["response"]["status"] >= 400 or any("error" in document for document in parse_documents(exchange))


def shortest_stream(provider: str) -> dict[str, Any]:
    streams = [e for e in EXCHANGES if e["provider"] == provider and is_stream(e) and not failed(e)]
    return min(streams, key=lambda exchange: len(exchange["response"]["body"]))


def differences(exchange: dict[str, Any], response: ChatResponse) -> dict[str, tuple[Any, Any]]:
    """Return what was received and what was expected, where they differ."""
    thinking = [part for part in response.message.parts if isinstance(part, Thinking)]
    usage, wanted_usage = response.usage and response.usage.replace(service_tier=None), expected_usage(exchange)
    if usage and wanted_usage and usage.cost is not None and wanted_usage.cost == pytest.approx(usage.cost):
        wanted_usage = wanted_usage.replace(cost=usage.cost)
    pairs = {
        "text": (response.message.text, expected_text(exchange)),
        "thinking": (response.message.thinking, expected_thinking(exchange)),
        "signatures": (sorted({part.signature for part in thinking if part.signature}), expected_signatures(exchange)),
        "calls": (
            [(call.name, json.loads(call.arguments)) for call in response.message.tool_calls],
            expected_calls(exchange),
        ),
        "usage": (usage, wanted_usage),
        "model": (
            response.model,
            [document["model"] for document in parse_documents(exchange) if "model" in document][-1],
        ),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
def test_recorded_answer_is_read_whole(server: str, provider: str) -> None:
    wrong = {}
    for exchange in EXCHANGES:
        if exchange["provider"] != provider or failed(exchange):
            continue
        response, error = ask(server, exchange)
        found: dict[str, Any] = differences(exchange, response)
        if error or response.unreadable:
            found["error"] = error or response.unreadable
        if response.finish_reason != expected_reason(exchange):
            found["finish"] = (response.finish_reason, expected_reason(exchange))
        if len({call.id for call in response.message.tool_calls if call.id}) != len(expected_calls(exchange)):
            found["ids"] = response.message.tool_calls
        if found:
            wrong[exchange["id"]] = found
    assert wrong == {}


def test_recorded_error_has_its_class(server: str) -> None:
    seen = set()
    for exchange in EXCHANGES:
        if exchange["response"]["status"] < 400:
            continue
        _, error = ask(server, exchange)
        body, status = exchange["response"]["body"], exchange["response"]["status"]
        key = next(key for key in ERRORS if key[:2] == (exchange["provider"], status) and key[2] in body)
        assert (type(error), error.reason, error.status_code) == (*ERRORS[key], status)
        seen.add(key)
    assert seen == set(ERRORS)


def test_recorded_error_inside_a_stream_keeps_what_came_before(server: str) -> None:
    broken = {exchange["provider"]: exchange for exchange in EXCHANGES if failed(exchange) and is_stream(exchange)}
    assert set(broken) == {"groq", "openrouter"}
    for provider, text in (("groq", "Tool call validation failed"), ("openrouter", "Token limit reached")):
        response, error = ask(server, broken[provider])
        assert isinstance(error, RejectedError)
        assert text in error.message
        assert error.status_code == 400
        assert response.finish_reason is None
        assert differences(broken[provider], response) == {}


@pytest.mark.parametrize("provider", STREAMING)
def test_recorded_stream_cut_anywhere_is_incomplete(server: str, provider: str) -> None:
    exchange = shortest_stream(provider)
    body = exchange["response"]["body"].encode()
    end = body.rindex(b"[DONE]") if dialect_of(provider).done_marker else body.rindex(b"finish_reason")
    for length in (0, 5, len(body) // 3, end - 2, end):
        response, error = ask(server, exchange, f"cut:{length}")
        assert response.finish_reason is None
        assert isinstance(error, UnavailableError)
        assert error.reason == "cut"
        assert expected_text(exchange).startswith(response.message.text)


def test_recorded_retry_after_is_read(server: str) -> None:
    limited = next(exchange for exchange in EXCHANGES if exchange["response"]["status"] == 429)
    _, error = ask(server, limited)
    assert isinstance(error, UnavailableError)
    assert error.retry_after == 1.0
    assert not isinstance(error, BudgetError)


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("html", {"not_json"}),
        ("status:500", {"server_error"}),
        ("status:529", {"overloaded"}),
        ("status:429", {"rate_limit"}),
        ("reset:300", {"reset", "cut"}),
        ("hang", {"timeout"}),
        ("hang-after:300", {"timeout"}),
    ],
)
def test_fault_of_a_server_is_unavailable(server: str, fault: str, reasons: set[str]) -> None:
    exchange = shortest_stream("openai")
    response, error = ask(server, exchange, fault, client.Timeouts(first_byte=0.2, idle=0.2))
    assert isinstance(error, UnavailableError)
    assert error.reason in reasons
    assert response.finish_reason is None


def test_garbage_between_events_is_reported_and_skipped(server: str) -> None:
    exchange = shortest_stream("openai")
    response, error = ask(server, exchange, "garbage")
    assert error is None
    assert len(response.unreadable) == 1
    assert response.finish_reason == "stop"
    assert differences(exchange, response) == {}


@pytest.mark.parametrize("fault", ["empty", "bad-json"])
def test_stream_of_which_nothing_or_half_came_is_incomplete(server: str, fault: str) -> None:
    response, error = ask(server, shortest_stream("openai"), fault)
    assert error is None
    assert response.finish_reason is None


@pytest.mark.parametrize("fault", ["empty", "bad-json"])
def test_answer_of_which_nothing_or_half_came_is_unavailable(server: str, fault: str) -> None:
    whole = next(exchange for exchange in EXCHANGES if not is_stream(exchange) and not failed(exchange))
    _, error = ask(server, whole, fault)
    assert isinstance(error, UnavailableError)
    assert error.reason == "not_json"


def test_recorded_streams_are_complete_behind_any_base_url() -> None:
    dialect = PROVIDERS.load("compatible").dialect
    for exchange in EXCHANGES:
        if is_stream(exchange) and not failed(exchange):
            events = WIRE.parse_stream(parse_sse([exchange["response"]["body"].encode()]), dialect)
            assert collect_response(events).finish_reason == expected_reason(exchange)
