"""Rate-limit headers as hosts send them, and how long to wait for room."""

from __future__ import annotations

import pytest

from llmctl.wire.rate_limits import parse_rate_limits

#: 2026-01-01T00:00:00Z
NOW = 1_767_225_600.0

CASES: dict[str, tuple[dict[str, str], list[tuple[str, float | None, float]]]] = {
    "openai": (
        {
            "x-ratelimit-limit-requests": "100",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "6m0s",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "10",
            "x-ratelimit-reset-tokens": "12ms",
        },
        [("requests", 360.0, 3.6), ("tokens", 0.012, 0.0)],
    ),
    "azure": (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7"},
        [("requests", 7.0, 7.0)],
    ),
    "anthropic": (
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:00Z",
        },
        [("requests", 60.0, 1.2)],
    ),
    "mistral": (
        {"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-req-minute": "0"},
        [("requests", None, 1.0)],
    ),
    "xai without a limit": (
        {"x-ratelimit-limit-tokens": str(2**63 - 1), "x-ratelimit-remaining-tokens": str(2**63 - 1)},
        [],
    ),
    "nonsense": ({"x-ratelimit-remaining-requests": "many"}, []),
}


@pytest.mark.parametrize("host", CASES)
def test_rate_limits_are_read(host: str) -> None:
    headers, expected = CASES[host]
    found = [(limit.kind, limit.reset_s, limit.wait_s(1)) for limit in parse_rate_limits(headers, now=lambda: NOW)]
    assert found == [(kind, reset, pytest.approx(wait)) for kind, reset, wait in expected]
