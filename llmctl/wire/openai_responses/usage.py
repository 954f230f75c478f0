"""Token counts of Responses."""

from __future__ import annotations

from typing import Any

from llmctl.core.events import Usage
from llmctl.wire.usage_numbers import cost_of, count_of, object_in


def parse_usage(data: dict[str, Any], output: Any = ()) -> Usage:
    """Return the counts: cached tokens are a part of the input, thinking is a part of the output.

    Searches are billed apart; they are counted among the items of the ``output``.
    """
    sent, done = object_in(data, "input_tokens_details"), object_in(data, "output_tokens_details")
    input_tokens, output_tokens = count_of(data, "input_tokens"), count_of(data, "output_tokens")
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(count_of(sent, "cached_tokens"), input_tokens),
        cache_write_tokens=count_of(sent, "cache_write_tokens"),
        thinking_tokens=min(count_of(done, "reasoning_tokens"), output_tokens),
        cost=cost_of(data),
        details={"web_searches": searches} if (searches := _searches(output)) else {},
    )


def _searches(output: Any) -> int:
    """Return how often the web was searched; opening a page and looking for words in it are no searches."""
    items = output if isinstance(output, list) else []
    found = [item for item in items if isinstance(item, dict) and item.get("type") == "web_search_call"]
    return sum(object_in(item, "action").get("type", "search") == "search" for item in found)
