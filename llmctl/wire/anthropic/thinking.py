"""Thinking: what each model generation supports, how to request it, and which earlier thinking to send back.

https://platform.claude.com/docs/en/build-with-claude/thinking
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmctl.core.messages import Thinking
from llmctl.wire.reasoning_effort import to_effort_level, to_token_budget

#: Marks parts that this wire produced: a signature is only valid at the provider that made it.
ORIGIN = "anthropic"
BINDING_BETA = "thinking-binding-controls-2026-08-01"

_MIN_BUDGET = 1024


def to_thinking_budget(effort: str | int) -> int:
    """Return the token budget of an effort; the API requires at least 1,024."""
    return max(to_token_budget(effort), _MIN_BUDGET)


#: Since 4.7 the text is omitted unless requested.
_SHOWN = {"display": "summarized"}


def build_thinking_fields(
    effort: str | int | None, model: ClaudeModel, turns: Sequence[dict[str, Any]], *, shown: bool = False
) -> dict[str, Any]:
    """Return the ``thinking`` and ``output_config`` fields of a request with these turns.

    ``shown``: request the text even from a model that thinks by default.
    """
    if effort is None:
        return _default_fields(model, turns, shown=shown)
    if effort in ("none", 0):
        return {"thinking": {"type": model.off_switch}} if model.thinks_by_default else {}
    if model.supports_budget and (isinstance(effort, int) or not model.supports_adaptive):
        fixed = {"type": "enabled", "budget_tokens": to_thinking_budget(effort)}
        return {} if _started_without_thinking(turns) else {"thinking": fixed}
    display = {} if model.supports_budget else _SHOWN
    return {
        "thinking": {"type": "adaptive", **display, **_binding_fields(model, turns)},
        "output_config": {"effort": to_effort_level(effort)},
    }


def encode_thinking(part: Thinking) -> dict[str, Any] | None:
    """Return earlier thinking as its original block; None if another provider's model produced it."""
    if part.metadata.get("wire") != ORIGIN:
        return None
    if isinstance(data := part.metadata.get("redacted"), str):
        return {"type": "redacted_thinking", "data": data}
    if not part.signature:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _default_fields(model: ClaudeModel, turns: Sequence[dict[str, Any]], *, shown: bool) -> dict[str, Any]:
    fields = (_SHOWN if shown and model.thinks_by_default else {}) | _binding_fields(model, turns)
    return {"thinking": {"type": "adaptive", **fields}} if fields else {}


def _binding_fields(model: ClaudeModel, turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Let the API drop thinking whose prefix changed: users may shorten the history or change the tools."""
    if not model.binds_thinking or not any(map(_has_thinking, turns)):
        return {}
    return {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}


def _started_without_thinking(turns: Sequence[dict[str, Any]]) -> bool:
    """Return whether tool results answer a step that did not start with thinking, as another model's step does.

    The budgeted form requires every step of a turn to start with a thinking block, so it must not be requested then.
    """
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    return not turns[-2]["content"][0]["type"].endswith("thinking")


def _has_thinking(turn: dict[str, Any]) -> bool:
    return any(block["type"] in ("thinking", "redacted_thinking") for block in turn["content"])


# claude-3-7-sonnet-20250219, claude-opus-4-20250514, us.anthropic.claude-opus-4-6-v1, anthropic/claude-4.6-opus
_NAME = r"claude[a-z-]*-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?"
_FAMILY = r"fable|mythos|opus|sonnet|haiku"
#: Default limit: enough for long answers with thinking, within what each generation allows.
_DEFAULT_TOKENS = 32_000
_UNKNOWN_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class ClaudeModel:
    """The features of a model by its name. Version (0, 0) is an unknown model, treated as the oldest thinking one."""

    family: str
    version: tuple[int, int]

    @property
    def supports_adaptive(self) -> bool:
        """``thinking: {"type": "adaptive"}`` with an effort."""
        return self.version >= (4, 6)

    @property
    def supports_budget(self) -> bool:
        """``thinking: {"type": "enabled", "budget_tokens": N}``; refused since 4.7."""
        return self.version <= (4, 6)

    @property
    def thinks_by_default(self) -> bool:
        return self.version >= (5, 0)

    @property
    def off_switch(self) -> str:
        """The lowest thinking setting; models that always think reject it with a clear message."""
        return "between_tools" if self.family == "sonnet" and self.version >= (5, 5) else "disabled"

    @property
    def binds_thinking(self) -> bool:
        """Earlier thinking is rejected if anything before it changed, unless the request asks to drop it.

        https://platform.claude.com/docs/en/build-with-claude/preserved-thinking
        """
        return self.version >= (5, 1)

    @property
    def supports_schema(self) -> bool:
        """``output_config.format``; https://platform.claude.com/docs/en/build-with-claude/structured-outputs."""
        return self.version >= (4, 5)

    @property
    def max_output_tokens(self) -> int | None:
        """The longest answer including thinking; None if unknown."""
        if self.version < (3, 0):
            return None
        if self.version >= (4, 6):
            return 128_000
        if self.family == "opus" and (4, 0) <= self.version <= (4, 1):
            return 32_000
        return 64_000 if self.version >= (3, 7) else 8192 if self.version >= (3, 5) else 4096

    @property
    def default_max_tokens(self) -> int:
        return min(_DEFAULT_TOKENS, self.max_output_tokens or _UNKNOWN_TOKENS)


def parse_model_name(model: str) -> ClaudeModel:
    """Return the features that a model's name implies."""
    family = re.search(_FAMILY, model.lower())
    found = re.search(_NAME, model.lower())
    if found:
        version = (int(found[1]), int(found[2] or 0))
    else:
        version = (5, 0) if "claude-mythos" in model.lower() else (0, 0)
    return ClaudeModel(family[0] if family else "", version)
