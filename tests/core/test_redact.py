"""Keys in headers, URLs and texts: none may come through, and nothing else may be lost."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.redaction import redact_headers, redact_text, redact_url

SECRET = 'p@ss/w+rd "é" 12?>~>?'


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "x-api-key", "API-Key", "x-goog-api-key", "Cookie", "set-cookie", "Proxy-Authorization"),
        *("x-amz-security-token", "x-auth-token", "X-Client-Secret", "ocp-apim-subscription-key"),
    ],
)
def test_header_that_carries_a_secret_loses_its_value(name: str) -> None:
    assert redact_headers({name: "anything"}) == {name: "[redacted]"}


def test_other_headers_lose_only_the_secret_in_them() -> None:
    headers = {"content-type": "application/json", "x-ratelimit-remaining-tokens": "99", "x-note": "my-own-value, ok"}
    assert redact_headers(headers, ["my-own-value"]) == headers | {"x-note": "[redacted], ok"}


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_secret_is_found_however_it_is_spelled(spelled: str) -> None:
    found = redact_text(f'before {spelled} "after"', [SECRET])
    assert found.startswith("before [redacted]")
    assert found.endswith('"after"')
    assert len(found) < 40


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_secret_is_found_inside_base64_at_any_place(before: bytes, after: bytes) -> None:
    secret = b"a-secret-of-some-length"
    text = base64.b64encode(before + secret + after).decode()
    found = redact_text(text, [secret.decode()])
    assert "[redacted]" in found
    assert len(found) < len(text) - 10


def test_basic_authentication_is_found() -> None:
    text = "basic " + base64.b64encode(b"user:a-secret-of-some-length").decode()
    assert redact_text(text, ["a-secret-of-some-length"]).startswith("basic dXNlcj")
    assert "YS1zZWNyZXQ" not in redact_text(text, ["a-secret-of-some-length"])


def test_secret_within_a_longer_one_leaves_nothing_behind() -> None:
    assert redact_text("abcdefghijkl", ["defghi", "abcdefghijkl"]) == "[redacted]"


def test_short_values_are_no_secrets() -> None:
    assert redact_text("a test", ["test", "", "a"]) == "a test"


@pytest.mark.parametrize(
    "key",
    [
        "sk-1234567890abcdef",
        "sk-proj-AbC_123-def456ghi",
        "sk-ant-api03-abcdefghij0123456789",
        "sk-or-v1-0123456789abcdef",
        "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "gsk_0123456789abcdefghij",
        "xai-0123456789abcdefghij",
        "hf_abcdefghijkl0123456789",
        "ghp_0123456789abcdefghij0123456789abcdef",
        "github_pat_11ABCDEFG0abcdefghijkl",
        "pplx-0123456789abcdef",
        "csk-0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4",
    ],
)
def test_key_is_known_by_its_shape(key: str) -> None:
    for text in (key, f"use {key}.", f'{{"k":"{key}"}}', f"K={key}\n", f"({key})"):
        assert key not in redact_text(text)
        assert "[redacted]" in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "task-based-learning-2026-edition",
        "sk-folding-cube sk-fading-circle",
        "hf_hub_download and hf_transfer",
        "risk-assessment-methodology-2",
        "the bearer of bad news, Bearer authentication",
        "max_tokens=12&top_k=3 https://h.example/a?model=x&limit=5#frag",
        "write to me@host.example or see https://host.example/@me",
        "monkey=1 donkey=2",
    ],
)
def test_text_without_keys_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize("token", ["abc123", "abcdefghijklmnopqrstuv", "eyJ0.a_b~c+d/e="])
def test_bearer_token_is_redacted(token: str) -> None:
    assert redact_text(f"authorization: Bearer {token}, next") == "authorization: Bearer [redacted], next"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://h/v1?key=abc&alt=sse", "https://h/v1?key=[redacted]&alt=sse"),
        ("https://h/v1?a=1&API_KEY=abc#x", "https://h/v1?a=1&API_KEY=[redacted]#x"),
        ("https://h/?access_token=a.b-c&sig=x%2Fy", "https://h/?access_token=[redacted]&sig=[redacted]"),
        ("https://me:pass@h:8080/v1", "https://[redacted]@h:8080/v1"),
        ("https://token@h/v1", "https://[redacted]@h/v1"),
        ("https://h/my%2Fown%2Fsecret/v1", "https://h/[redacted]/v1"),
        ("https://h/v1/models?keyboard=1", "https://h/v1/models?keyboard=1"),
    ],
)
def test_secrets_in_a_url_are_redacted(url: str, found: str) -> None:
    assert redact_url(url, ["my/own/secret"]) == found
    assert redact_text(f'see "{url}" there', ["my/own/secret"]) == f'see "{found}" there'


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["sk-", "Bearer ", "://", "://a", "a", "?key=", "eyJa", "\\u0041", "AIza_-", "a.b@"])
def test_time_is_linear_in_the_length_of_the_text(unit: str) -> None:
    def measure_cpu_s(length: int) -> float:
        text = unit * (length // len(unit))
        start = time.process_time()
        redact_text(text, ["some-secret-value", "another/secret"])
        return time.process_time() - start

    short = min(measure_cpu_s(40_000) for _ in range(3))
    assert min(measure_cpu_s(320_000) for _ in range(2)) < 32 * short  # linear: 8 times as long; quadratic: 64


def test_redacting_twice_changes_nothing() -> None:
    once = redact_text("Bearer abc123456 https://u:p@h?key=abc sk-1234567890abcdef", ["secret-value"])
    assert redact_text(once, ["secret-value"]) == once
