"""What an answer took, as llm was told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmctl.core.imported_conversation import Usage


def usage(row: Mapping[str, Any]) -> Usage | None:
    """Return what a response or turn took; None where llm was not told."""
    if row["input_tokens"] is None and row["output_tokens"] is None:
        return None
    details = json.loads(row["token_details"] or "{}")
    details = details if isinstance(details, dict) else {}
    return Usage(
        row["input_tokens"],
        row["output_tokens"],
        _detail(details, "cached_tokens"),
        _detail(details, "reasoning_tokens"),
        row["duration_ms"],
        response_model=row["resolved_model"] or None,
    )


def _detail(details: Mapping[str, Any], name: str) -> int | None:
    groups = [details, *(group for group in details.values() if isinstance(group, dict))]
    return next((group[name] for group in groups if isinstance(group.get(name), int)), None)
