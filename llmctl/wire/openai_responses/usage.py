"""Token counts of the Responses API."""

from __future__ import annotations

from typing import Any

from llmctl.core.events import Usage
from llmctl.wire.usage_numbers import get_object, parse_cost, parse_count


def parse_usage(data: dict[str, Any], output: Any = ()) -> Usage:
    """Return the counts: input includes cached tokens, output includes thinking.

    Searches are billed separately; they are counted from the items of the ``output``.
    """
    sent, done = get_object(data, "input_tokens_details"), get_object(data, "output_tokens_details")
    input_tokens, output_tokens = parse_count(data, "input_tokens"), parse_count(data, "output_tokens")
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(parse_count(sent, "cached_tokens"), input_tokens),
        cache_write_tokens=parse_count(sent, "cache_write_tokens"),
        thinking_tokens=min(parse_count(done, "reasoning_tokens"), output_tokens),
        cost=parse_cost(data),
        details={"web_searches": searches} if (searches := _count_searches(output)) else {},
    )


def _count_searches(output: Any) -> int:
    """Return the number of web searches; opening a page or finding text in it does not count."""
    items = output if isinstance(output, list) else []
    found = [item for item in items if isinstance(item, dict) and item.get("type") == "web_search_call"]
    return sum(get_object(item, "action").get("type", "search") == "search" for item in found)
