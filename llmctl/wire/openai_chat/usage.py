"""Token counts of Chat Completions in all their spellings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.events import Usage

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_USD_PER_TICK = 1e-10


def parse_usage(data: Mapping[str, Any], dialect: Dialect) -> Usage | None:
    """Return the counts as llmctl means them: input with cached tokens, output with thinking.

    None where there are no counts at all. Cached tokens never exceed the input (Azure's Grok reports more).
    """
    if not any(data.get(name) is not None for name in _COUNTS):
        return None
    sent, done = _object(data, "prompt_tokens_details"), _object(data, "completion_tokens_details")
    input_tokens, output_tokens = _count(data, "prompt_tokens"), _count(data, "completion_tokens")
    thinking = _count(done, "reasoning_tokens") or _count(data, "reasoning_tokens")
    beyond = _count(data, "total_tokens") - input_tokens - output_tokens
    if beyond > 0 and dialect.thinking_on_top:
        output_tokens, thinking = output_tokens + beyond, max(thinking, beyond)
    elif beyond > 0 and beyond == _count(sent, "audio_tokens"):
        input_tokens += beyond  # Mistral counts spoken input apart from the prompt.
    elif dialect.thinking_on_top and not _count(data, "total_tokens"):
        output_tokens += thinking
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(_cached(data, sent), input_tokens),
        cache_write_tokens=_count(sent, "cache_write_tokens"),
        thinking_tokens=min(thinking, output_tokens),
        cost=_cost(data),
    )


def _cached(data: Mapping[str, Any], details: Mapping[str, Any]) -> int:
    return (
        _count(details, "cached_tokens")
        or _count(data, "num_cached_tokens")
        or _count(data, "prompt_cache_hit_tokens")
        or _count(data, "cached_tokens")
    )


def _cost(data: Mapping[str, Any]) -> float | None:
    """Return US dollars. A plain 0 is a price (free models); the 0 of a sum or of ticks means not computed:

    Perplexity sends it in every chunk but the last, Azure for models it bills itself.
    """
    cost = data.get("cost")
    if isinstance(cost, dict):
        return _number(cost.get("total_cost")) or None
    if (plain := _number(cost)) is not None:
        return float(plain)
    return (_number(data.get("cost_in_usd_ticks")) or 0) * _USD_PER_TICK or None


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    return value if usable else None  # type: ignore[return-value]


def _count(data: Mapping[str, Any], name: str) -> int:
    return int(_number(data.get(name)) or 0)


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}
