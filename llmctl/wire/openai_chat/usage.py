"""Token counts of Chat Completions in all their variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.events import Usage
from llmctl.wire.usage_numbers import get_object, parse_cost, parse_count

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def parse_usage(data: Mapping[str, Any], dialect: Dialect) -> Usage | None:
    """Return the counts as llmctl defines them: input including cached tokens, output including thinking.

    None if there are no counts. Cached tokens never exceed the input (Azure's Grok reports more).
    """
    if not any(data.get(name) is not None for name in _COUNTS):
        return None
    sent, done = get_object(data, "prompt_tokens_details"), get_object(data, "completion_tokens_details")
    input_tokens, output_tokens = parse_count(data, "prompt_tokens"), parse_count(data, "completion_tokens")
    thinking = parse_count(done, "reasoning_tokens") or parse_count(data, "reasoning_tokens")
    surplus = parse_count(data, "total_tokens") - input_tokens - output_tokens
    if surplus > 0 and dialect.thinking_on_top:
        output_tokens, thinking = output_tokens + surplus, max(thinking, surplus)
    elif surplus > 0 and surplus == parse_count(sent, "audio_tokens"):
        input_tokens += surplus  # Mistral does not count audio input in the prompt.
    elif dialect.thinking_on_top and not parse_count(data, "total_tokens"):
        output_tokens += thinking
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(_count_cached_tokens(data, sent), input_tokens),
        cache_write_tokens=parse_count(sent, "cache_write_tokens"),
        thinking_tokens=min(thinking, output_tokens),
        cost=parse_cost(data),
    )


def _count_cached_tokens(data: Mapping[str, Any], details: Mapping[str, Any]) -> int:
    return (
        parse_count(details, "cached_tokens")
        or parse_count(data, "num_cached_tokens")
        or parse_count(data, "prompt_cache_hit_tokens")
        or parse_count(data, "cached_tokens")
    )
