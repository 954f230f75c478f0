"""Thinking: how each generation is asked for it, and which earlier thinking is given back.

https://platform.claude.com/docs/en/build-with-claude/thinking
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmctl.core.messages import Thinking
from llmctl.wire.anthropic.model_features import Claude
from llmctl.wire.reasoning_effort import level_of, tokens_of

#: Mark of the parts that this wire read: a signature proves thinking to its maker and to nobody else.
ORIGIN = "anthropic"
BINDING_BETA = "thinking-binding-controls-2026-08-01"

_LEAST_BUDGET = 1024


def budget_of(wanted: str | int) -> int:
    """Return the tokens a level stands for; the API takes no less than 1,024."""
    return max(tokens_of(wanted), _LEAST_BUDGET)


#: Since 4.7 the text is left out unless it is asked for.
_SHOWN = {"display": "summarized"}


def thinking_fields(
    wanted: str | int | None, model: Claude, turns: Sequence[dict[str, Any]], *, shown: bool = False
) -> dict[str, Any]:
    """Return ``thinking`` and ``output_config`` of a request with these turns.

    ``shown``: its text is wanted also of a model that thinks unasked.
    """
    if wanted is None:
        return _unasked(model, turns, shown=shown)
    if wanted in ("none", 0):
        return {"thinking": {"type": model.off_switch}} if model.thinks_unasked else {}
    if model.takes_budget and (isinstance(wanted, int) or not model.takes_adaptive):
        fixed = {"type": "enabled", "budget_tokens": budget_of(wanted)}
        return {} if _began_without(turns) else {"thinking": fixed}
    display = {} if model.takes_budget else _SHOWN
    return {
        "thinking": {"type": "adaptive", **display, **_binding(model, turns)},
        "output_config": {"effort": level_of(wanted)},
    }


def replayed(part: Thinking) -> dict[str, Any] | None:
    """Return earlier thinking as the block it came as; None for what another provider's model thought."""
    if part.metadata.get("wire") != ORIGIN:
        return None
    if isinstance(data := part.metadata.get("redacted"), str):
        return {"type": "redacted_thinking", "data": data}
    if not part.signature:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _unasked(model: Claude, turns: Sequence[dict[str, Any]], *, shown: bool) -> dict[str, Any]:
    fields = (_SHOWN if shown and model.thinks_unasked else {}) | _binding(model, turns)
    return {"thinking": {"type": "adaptive", **fields}} if fields else {}


def _binding(model: Claude, turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A shorter history, other tools or other instructions are the user's right: thinking they part from is dropped."""
    if not model.binds_thinking or not any(map(_thinks, turns)):
        return {}
    return {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}


def _began_without(turns: Sequence[dict[str, Any]]) -> bool:
    """Whether results answer a step that did not begin with thinking (another model took it): then none may be asked.

    The older, budgeted form wants every step of a turn to begin with a thinking block.
    """
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    return not turns[-2]["content"][0]["type"].endswith("thinking")


def _thinks(turn: dict[str, Any]) -> bool:
    return any(block["type"] in ("thinking", "redacted_thinking") for block in turn["content"])
