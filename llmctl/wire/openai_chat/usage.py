"""Token counts of Chat Completions in all their spellings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.events import Usage
from llmctl.wire.usage_numbers import cost_of, count_of, object_in

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def parse_usage(data: Mapping[str, Any], dialect: Dialect) -> Usage | None:
    """Return the counts as llmctl means them: input with cached tokens, output with thinking.

    None where there are no counts at all. Cached tokens never exceed the input (Azure's Grok reports more).
    """
    if not any(data.get(name) is not None for name in _COUNTS):
        return None
    sent, done = object_in(data, "prompt_tokens_details"), object_in(data, "completion_tokens_details")
    input_tokens, output_tokens = count_of(data, "prompt_tokens"), count_of(data, "completion_tokens")
    thinking = count_of(done, "reasoning_tokens") or count_of(data, "reasoning_tokens")
    beyond = count_of(data, "total_tokens") - input_tokens - output_tokens
    if beyond > 0 and dialect.thinking_on_top:
        output_tokens, thinking = output_tokens + beyond, max(thinking, beyond)
    elif beyond > 0 and beyond == count_of(sent, "audio_tokens"):
        input_tokens += beyond  # Mistral counts spoken input apart from the prompt.
    elif dialect.thinking_on_top and not count_of(data, "total_tokens"):
        output_tokens += thinking
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(_cached(data, sent), input_tokens),
        cache_write_tokens=count_of(sent, "cache_write_tokens"),
        thinking_tokens=min(thinking, output_tokens),
        cost=cost_of(data),
    )


def _cached(data: Mapping[str, Any], details: Mapping[str, Any]) -> int:
    return (
        count_of(details, "cached_tokens")
        or count_of(data, "num_cached_tokens")
        or count_of(data, "prompt_cache_hit_tokens")
        or count_of(data, "cached_tokens")
    )
