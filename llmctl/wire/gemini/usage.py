"""Token counts of Gemini: thinking is not part of the answer's count, nor tool input of the prompt's.

https://ai.google.dev/api/generate-content#UsageMetadata
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.events import Usage
from llmctl.wire.gemini.thinking import parse_version
from llmctl.wire.usage_numbers import parse_count

_COUNTS = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
#: Modalities with their own prices -> the prefix of our unit names.
_DETAILS = (
    ("promptTokensDetails", "input"),
    ("toolUsePromptTokensDetails", "input"),
    ("candidatesTokensDetails", "output"),
    ("cacheTokensDetails", "cached"),
)
_PRICED = {"AUDIO": "audio", "IMAGE": "image"}


def parse_usage(data: Mapping[str, Any], searches: int = 0) -> Usage | None:
    """Return the counts as llmctl defines them: input including cached tokens, output including thinking.

    None if there are no counts: Vertex AI sends chunks whose usage only says how it is billed. ``searches`` are
    billed in addition to the tokens.
    """
    if not any(name in data for name in _COUNTS):
        return None
    thinking = parse_count(data, "thoughtsTokenCount")
    input_tokens = parse_count(data, "promptTokenCount") + parse_count(data, "toolUsePromptTokenCount")
    return Usage(
        input_tokens=input_tokens,
        output_tokens=parse_count(data, "candidatesTokenCount") + thinking,
        cached_tokens=min(parse_count(data, "cachedContentTokenCount"), input_tokens),
        thinking_tokens=thinking,
        details=_parse_details(data) | ({"web_searches": searches} if searches else {}),
    )


def count_searches(grounding: dict[str, Any], model: str) -> int:
    """Return the number of billed searches: every one since Gemini 3, before it at most one per prompt.

    https://ai.google.dev/gemini-api/docs/google-search
    """
    queries = grounding.get("webSearchQueries")
    count = sum(map(bool, queries)) if isinstance(queries, list) else 0
    return count if parse_version(model) >= (3, 0) else min(count, 1)


def _parse_details(data: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for field, ours in _DETAILS:
        rows = data.get(field)
        if not isinstance(rows, list):
            continue
        for row in rows:
            kind = _PRICED.get(str(row.get("modality"))) if isinstance(row, dict) else None
            if kind and (count := parse_count(row, "tokenCount")):
                unit = f"{ours}_{kind}_tokens"
                found[unit] = found.get(unit, 0) + count
    return found
