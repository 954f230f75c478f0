"""Errors of many hosts, by status and body: each has the class whose exit code the user sees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.errors import (
    BudgetError,
    ConfigError,
    LlmctlError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from llmctl.wire import WIRES

WIRE = WIRES.load("openai-chat")


def error(status: int, body: Any, headers: dict[str, str] | None = None) -> LlmctlError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WIRE.parse_error(status, headers or {}, raw)


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def google(code: int, message: str, status: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        # Keys.
        (401, openai("Incorrect API key provided", "invalid_api_key"), ConfigError, "auth"),
        (401, openai("Auth fails", "invalid_request_error", "authentication_error"), ConfigError, "auth"),
        (401, {"detail": "Invalid API Key"}, ConfigError, "auth"),
        (401, b"", ConfigError, "auth"),
        (403, {"message": "The security token is invalid"}, ConfigError, "auth"),
        (400, {"code": "invalid-argument", "error": "Incorrect API key provided: x"}, ConfigError, "auth"),
        (
            400,
            google(400, "API key not valid.", "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}),
            ConfigError,
            "auth",
        ),
        # Money.
        (402, openai("Insufficient Balance", "invalid_request_error", "unknown_error"), BudgetError, "quota"),
        (
            429,
            openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
            BudgetError,
            "quota",
        ),
        (403, {"code": "denied", "error": "Your team has used all available credits"}, BudgetError, "quota"),
        (400, openai("Your credit balance is too low"), BudgetError, "quota"),
        # Models.
        (404, openai("The model `x` does not exist", "model_not_found"), NotFoundError, "model_not_found"),
        (400, openai("The requested model 'x' does not exist", "model_not_found"), NotFoundError, "model_not_found"),
        (400, openai("Model Not Exist"), NotFoundError, "model_not_found"),
        (
            400,
            {"object": "error", "message": "Invalid model: x", "type": "invalid_model"},
            NotFoundError,
            "model_not_found",
        ),
        (400, {"error": {"message": "x is not a valid model ID", "code": 400}}, NotFoundError, "model_not_found"),
        (404, {"error": {"message": "No endpoints found for x.", "code": 404}}, NotFoundError, "model_not_found"),
        (404, openai('model "x" not found, try pulling it first'), NotFoundError, "model_not_found"),
        (404, google(404, "models/x is not found for API version v1", "NOT_FOUND"), NotFoundError, "model_not_found"),
        # Places.
        (404, b"404 page not found\n", NotFoundError, "not_found"),
        (404, b"<html><title>404 Not Found</title></html>", NotFoundError, "not_found"),
        (404, {"detail": "Not Found"}, NotFoundError, "not_found"),
        # Length.
        (
            400,
            openai("This model's maximum context length is 8", "context_length_exceeded"),
            RejectedError,
            "context_length",
        ),
        (400, openai("maximum context length is 8192 tokens. However, you requested"), RejectedError, "context_length"),
        (400, openai("prompt is too long: 9 tokens > 8 maximum"), RejectedError, "context_length"),
        (400, openai("prompt too long; exceeded max context length by 9 tokens"), RejectedError, "context_length"),
        (400, openai("This model's maximum prompt length is 8"), RejectedError, "context_length"),
        (400, google(400, "The input token count (9) exceeds", "INVALID_ARGUMENT"), RejectedError, "context_length"),
        (
            400,
            {"error": {"code": 400, "message": "the request exceeds", "type": "exceed_context_size_error"}},
            RejectedError,
            "context_length",
        ),
        (413, b"Payload Too Large", RejectedError, "too_large"),
        # Filters.
        (400, openai("The response was filtered", "content_filter"), RejectedError, "content_filter"),
        (
            400,
            {"error": {"message": "no", "code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            RejectedError,
            "content_filter",
        ),
        (
            403,
            {"error": {"message": "Input was flagged", "code": 403, "metadata": {"reasons": ["violence"]}}},
            RejectedError,
            "content_filter",
        ),
        # Other refusals.
        (400, openai("Unsupported value: 'temperature'", "unsupported_value"), RejectedError, "invalid_request"),
        (422, {"detail": [{"loc": ["body", "top_p"], "msg": "too big"}]}, RejectedError, "invalid_request"),
        (405, b"", RejectedError, "invalid_request"),
        # Later, perhaps.
        (408, b"", UnavailableError, "timeout"),
        (409, b"", RejectedError, "conflict"),
        (429, openai("Rate limit reached", "rate_limit_exceeded"), UnavailableError, "rate_limit"),
        (429, google(429, "You exceeded your current quota", "RESOURCE_EXHAUSTED"), UnavailableError, "rate_limit"),
        (500, openai("The server had an error", None, "server_error"), UnavailableError, "server_error"),
        (502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", UnavailableError, "not_json"),
        (403, b"<!DOCTYPE html><title>Just a moment...</title>", UnavailableError, "not_json"),
        (503, openai("busy"), UnavailableError, "overloaded"),
        (529, openai("Overloaded", None, "overloaded_error"), UnavailableError, "overloaded"),
        (500, openai("Overloaded", None, "overloaded_error"), UnavailableError, "overloaded"),
    ],
)
def test_error_has_its_class_and_reason(status: int, body: Any, kind: type[LlmctlError], reason: str) -> None:
    found = error(status, body)
    assert (type(found), found.reason, found.status_code) == (kind, reason, status)
    assert found.message
    if reason in ("auth", "quota", "model_not_found", "not_found", "context_length", "not_json"):
        assert found.hint


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (openai("it broke"), "it broke"),
        ({"error": "it broke", "code": "x"}, "it broke"),
        ({"message": "it broke"}, "it broke"),
        ({"detail": "it broke"}, "it broke"),
        ([{"error": {"message": "it broke"}}], "it broke"),
        ({"errors": [{"message": "it broke"}, {"message": "twice"}]}, "it broke; twice"),
        ({"detail": [{"loc": ["body", "top_p"], "msg": "too big"}]}, "body.top_p: too big"),
        (b"plain text", "plain text"),
        (b"", "the provider answered 418 with an empty body"),
        (b"{}", "the provider answered 418"),
        (b"null", "the provider answered 418"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": '{"detail": "it broke"}'}}},
            "Provider returned error (it broke)",
        ),
    ],
)
def test_message_is_the_hosts_own(body: Any, message: str) -> None:
    assert error(418, body).message == message


def test_message_is_one_escaped_line_of_limited_length() -> None:
    found = error(400, openai("a\nb\x1b[31mred\x9b2J\u202egnol\x00 " + "x" * 5000))
    assert found.message.startswith("a b [31mred 2J gnol xxx")
    assert found.message.isprintable()
    assert len(found.message) == 500


def test_message_never_shows_a_key() -> None:
    for key in ("sk-proj-Abc123def456ghi789", "gsk_Abc123def456ghi789", "AIzaSyA1234567890abcdefghijklmnopqrstu"):
        found = error(401, openai(f"Incorrect API key provided: {key}. Find yours at https://example.com"))
        assert key not in str(found)
        assert "[redacted]" in found.message


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after": "0.5"}, b"", 0.5),
        ({"retry-after-ms": "1500"}, b"", 1.5),
        ({"retry-after": "1", "retry-after-ms": "0"}, b"", 1.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "Fri, 31 Dec 1999 23:59:29 GMT"}, b"", 30.0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, b"", 0.0),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "-5"}, b"", None),
        ({}, google(429, "no", "RESOURCE_EXHAUSTED", {"@type": "google.rpc.RetryInfo", "retryDelay": "48.5s"}), 48.5),
        ({}, openai("Quota. Please retry in 48.9s."), 48.9),
        ({}, openai("Rate limit. Please try again in 6m12.5s."), 372.5),
        ({}, openai("Rate limit. Please try again in 120ms."), 0.12),
        ({}, openai("Rate limit. Please try again in 1h2m."), 3720.0),
        ({}, openai("Please try again in a while"), None),
        ({}, b"", None),
    ],
)
def test_wait_is_read_wherever_it_stands(headers: dict[str, str], body: Any, seconds: float | None) -> None:
    assert error(429, body, headers).retry_after == pytest.approx(seconds)


def test_retry_after_is_ignored_for_permanent_errors() -> None:
    assert error(401, b"", {"retry-after": "7"}).retry_after is None


def test_kind_in_a_header_counts() -> None:
    found = error(400, {"message": "no"}, {"x-amzn-errortype": "Rate_Limited:http://internal"})
    assert type(found) is RejectedError


def test_nested_nonsense_is_read_without_an_accident() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = {"error": [deep], "details": "x"}
    assert error(500, deep).status_code == 500
    assert error(500, b"[" * 100_000).status_code == 500
