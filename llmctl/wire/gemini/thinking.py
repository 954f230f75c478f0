"""Thinking by model generation: levels since Gemini 3, a token budget in 2.5, nothing before.

https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.wire.reasoning_effort import to_effort_level

#: Tokens of each level, as a budget and as the amount by which an output limit is raised.
_BUDGETS = {"none": 0, "low": 1024, "medium": 8192, "high": 24_576}
#: 2.5 Pro cannot stop thinking; this is its minimum.
_MIN_PRO_BUDGET = 128
_VERSION = r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)"
#: Version of names without a number, such as gemini-flash-latest.
_NEWEST = (99, 0)


def parse_version(model: str) -> tuple[int, int]:
    """Return the version in a model name; a version above all others if there is none."""
    found = re.search(_VERSION, model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else _NEWEST


def build_thinking_config(effort: str | int | None, model: str, *, shown: bool = False) -> dict[str, Any] | None:
    """Return ``thinkingConfig``; None if it is not needed. Raises UsageError if the model does not think.

    ``shown``: request the text even from a model that thinks by default.
    """
    version = parse_version(model)
    if effort is None:
        return {"includeThoughts": True} if shown and _thinks_by_default(model, version) else None
    off = effort in ("none", 0)
    if version < (2, 5):
        if off:
            return None
        raise UsageError(f'"{model}" does not support thinking', hint="omit --thinking", reason="thinking")
    config = _disabled_config(model, version) if off else _enabled_config(effort, version)
    return config if off else config | {"includeThoughts": True}


def extra_output_tokens(effort: str | int | None) -> int:
    """Return the tokens that thinking may use of an output limit: Google counts both together."""
    if effort is None:
        return 0
    return effort if isinstance(effort, int) else _BUDGETS.get(effort, 0)


def _thinks_by_default(model: str, version: tuple[int, int]) -> bool:
    """Return whether a model is known to think by default; image, speech and other model families may not."""
    name = model.lower()
    return "gemini" in name and version >= (2, 5) and not any(kind in name for kind in ("image", "tts", "audio"))


def _enabled_config(effort: str | int, version: tuple[int, int]) -> dict[str, Any]:
    if version >= (3, 0):
        return {"thinkingLevel": to_effort_level(effort)}
    return {"thinkingBudget": _BUDGETS.get(effort, effort) if isinstance(effort, str) else effort}


def _disabled_config(model: str, version: tuple[int, int]) -> dict[str, Any]:
    """Return the lowest setting of the model. Since 3.6 the lowest level is rejected but a budget of 0 is accepted."""
    pro = "pro" in model.lower()
    if version < (3, 0):
        return {"thinkingBudget": _MIN_PRO_BUDGET if pro else 0}
    if pro:
        return {"thinkingLevel": "low"}
    return {"thinkingLevel": "minimal"} if version < (3, 6) else {"thinkingBudget": 0}
