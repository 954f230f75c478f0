"""The user's options as fields of the request: those of ``generationConfig`` there, all others at the top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: https://ai.google.dev/api/generate-content#generationconfig
_GENERATION = {
    "audioTimestamp", "candidateCount", "enableAffectiveDialog", "enableEnhancedCivicAnswers", "frequencyPenalty",
    "imageConfig", "logprobs", "maxOutputTokens", "mediaResolution", "presencePenalty", "responseFormat",
    "responseJsonSchema", "responseLogprobs", "responseMimeType", "responseModalities", "responseSchema",
    "routingConfig", "seed", "speechConfig", "stopSequences", "temperature", "thinkingConfig", "topK", "topP",
}  # fmt: skip
#: Names that users know from elsewhere.
_COMMON = {"max_tokens": "maxOutputTokens", "max_completion_tokens": "maxOutputTokens", "stop": "stopSequences"}
#: What the request itself is made of.
_FIXED = {"contents", "model", "stream"}


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of ``generationConfig`` and those beside it; unknown names stay as they were written."""
    inside: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    for name, value in options.items():
        theirs = _COMMON.get(name) or _camel(name)
        if theirs == "generationConfig" and isinstance(value, Mapping):
            inside |= value
        elif theirs in _GENERATION:
            inside[theirs] = [value] if theirs == "stopSequences" and isinstance(value, str) else value
        elif name not in _FIXED:
            beside[name] = value
    return inside, beside


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
