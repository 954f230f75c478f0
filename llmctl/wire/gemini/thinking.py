"""How each generation is asked to think: levels since the third, a budget of tokens in 2.5, nothing before.

https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

from typing import Any

from llmctl.core.errors import UsageError
from llmctl.wire.gemini.urls import version_of
from llmctl.wire.reasoning_effort import level_of

#: Tokens each word stands for where a budget is wanted, and what an answer's limit is raised by.
_BUDGETS = {"none": 0, "low": 1024, "medium": 8192, "high": 24_576}
#: 2.5 Pro cannot be kept from thinking; this is the least.
_LEAST_OF_PRO = 128


def thinking_config(wanted: str | int | None, model: str, *, shown: bool = False) -> dict[str, Any] | None:
    """Return ``thinkingConfig``, None where nothing is to be said. UsageError where the model does not think.

    ``shown``: its text is wanted also of a model that thinks unasked.
    """
    version = version_of(model)
    if wanted is None:
        return {"includeThoughts": True} if shown and _thinks(model, version) else None
    off = wanted in ("none", 0)
    if version < (2, 5):
        if off:
            return None
        raise UsageError(f'"{model}" has no setting for thinking', hint="leave --thinking out", reason="thinking")
    config = _off(model, version) if off else _on(wanted, version)
    return config if off else config | {"includeThoughts": True}


def room_for(wanted: str | int | None) -> int:
    """Return the tokens that thinking may take from an answer's limit: Google counts both together."""
    if wanted is None:
        return 0
    return wanted if isinstance(wanted, int) else _BUDGETS.get(wanted, 0)


def _thinks(model: str, version: tuple[int, int]) -> bool:
    """Say whether a model surely thinks unasked; those that draw, speak or are another family's may not know how."""
    name = model.lower()
    return "gemini" in name and version >= (2, 5) and not any(kind in name for kind in ("image", "tts", "audio"))


def _on(wanted: str | int, version: tuple[int, int]) -> dict[str, Any]:
    if version >= (3, 0):
        return {"thinkingLevel": level_of(wanted)}
    return {"thinkingBudget": _BUDGETS.get(wanted, wanted) if isinstance(wanted, str) else wanted}


def _off(model: str, version: tuple[int, int]) -> dict[str, Any]:
    """Return the least that the model takes. From 3.6 on the lowest level is refused and a budget of 0 is not."""
    pro = "pro" in model.lower()
    if version < (3, 0):
        return {"thinkingBudget": _LEAST_OF_PRO if pro else 0}
    if pro:
        return {"thinkingLevel": "low"}
    return {"thinkingLevel": "minimal"} if version < (3, 6) else {"thinkingBudget": 0}
