"""Token counts. What was cached is not a part of ``input_tokens`` here, but beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.events import Usage
from llmctl.wire.usage_numbers import count_of, object_in

#: What one run of a model counts in ``iterations``; others (compaction, an adviser) are not in the sums above them.
_COUNTED_ABOVE = "message"


def parse_usage(data: Mapping[str, Any]) -> Usage | None:
    """Return the counts as llmctl means them: input with all that was cached, output with thinking.

    Runs beside the answer's own (``compaction``, ``advisor_message``) are billed too, and added.
    """
    if data.get("input_tokens") is None and data.get("output_tokens") is None:
        return None
    runs = [data, *_beside(data)]
    cached = sum(count_of(run, "cache_read_input_tokens") for run in runs)
    written = sum(_written(run) for run in runs)
    output_tokens = sum(count_of(run, "output_tokens") for run in runs)
    thinking = count_of(object_in(data, "output_tokens_details"), "thinking_tokens")
    return Usage(
        input_tokens=sum(count_of(run, "input_tokens") for run in runs) + cached + written,
        output_tokens=output_tokens,
        cached_tokens=cached,
        cache_write_tokens=written,
        thinking_tokens=min(thinking, output_tokens),
        details=_details(data, runs, written),
    )


def _details(data: Mapping[str, Any], runs: list[Mapping[str, Any]], written: int) -> dict[str, float]:
    """Return what has a price of its own: tokens cached for an hour cost more, searches cost beside the tokens."""
    found = {
        "cache_write_1h_tokens": min(sum(_lasting(run, "1h") for run in runs), written),
        "web_searches": count_of(object_in(data, "server_tool_use"), "web_search_requests"),
    }
    return {name: float(count) for name, count in found.items() if count}


def _beside(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    iterations = data.get("iterations")
    runs = iterations if isinstance(iterations, list) else []
    return [run for run in runs if isinstance(run, dict) and run.get("type") != _COUNTED_ABOVE]


def _written(run: Mapping[str, Any]) -> int:
    """Return the tokens written to the cache; their sum and their split by lifetime say the same."""
    return count_of(run, "cache_creation_input_tokens") or _lasting(run, "5m") + _lasting(run, "1h")


def _lasting(run: Mapping[str, Any], lifetime: str) -> int:
    return count_of(object_in(run, "cache_creation"), f"ephemeral_{lifetime}_input_tokens")
