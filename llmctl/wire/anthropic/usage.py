"""Token counts. In this API ``input_tokens`` does not include cached tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.events import Usage
from llmctl.wire.usage_numbers import get_object, parse_count

#: Type of the model's own run in ``iterations``; other runs (compaction, an adviser) are not part of the totals.
_MAIN_RUN = "message"


def parse_usage(data: Mapping[str, Any]) -> Usage | None:
    """Return the counts as llmctl defines them: input including cached tokens, output including thinking.

    Extra runs (``compaction``, ``advisor_message``) are billed too, so they are added.
    """
    if data.get("input_tokens") is None and data.get("output_tokens") is None:
        return None
    runs = [data, *_extra_runs(data)]
    cached = sum(parse_count(run, "cache_read_input_tokens") for run in runs)
    written = sum(_cache_write_tokens(run) for run in runs)
    output_tokens = sum(parse_count(run, "output_tokens") for run in runs)
    thinking = parse_count(get_object(data, "output_tokens_details"), "thinking_tokens")
    return Usage(
        input_tokens=sum(parse_count(run, "input_tokens") for run in runs) + cached + written,
        output_tokens=output_tokens,
        cached_tokens=cached,
        cache_write_tokens=written,
        thinking_tokens=min(thinking, output_tokens),
        details=_parse_details(data, runs, written),
    )


def _parse_details(data: Mapping[str, Any], runs: list[Mapping[str, Any]], written: int) -> dict[str, float]:
    """Return the units with their own price: tokens cached for an hour cost more, searches are billed separately."""
    found = {
        "cache_write_1h_tokens": min(sum(_cache_tokens_for(run, "1h") for run in runs), written),
        "web_searches": parse_count(get_object(data, "server_tool_use"), "web_search_requests"),
    }
    return {name: float(count) for name, count in found.items() if count}


def _extra_runs(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    iterations = data.get("iterations")
    runs = iterations if isinstance(iterations, list) else []
    return [run for run in runs if isinstance(run, dict) and run.get("type") != _MAIN_RUN]


def _cache_write_tokens(run: Mapping[str, Any]) -> int:
    """Return the tokens written to the cache, from their total or from the split by lifetime."""
    return parse_count(run, "cache_creation_input_tokens") or _cache_tokens_for(run, "5m") + _cache_tokens_for(
        run, "1h"
    )


def _cache_tokens_for(run: Mapping[str, Any], lifetime: str) -> int:
    return parse_count(get_object(run, "cache_creation"), f"ephemeral_{lifetime}_input_tokens")
