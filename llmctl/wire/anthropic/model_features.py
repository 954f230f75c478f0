"""What the name of a Claude model says of what it takes: models of one API differ by generation.

Other names (hosts that copy the API serve any model) get what the oldest thinking model would take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# claude-3-7-sonnet-20250219, claude-opus-4-20250514, us.anthropic.claude-opus-4-6-v1, anthropic/claude-4.6-opus
_NAME = r"claude[a-z-]*-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?"
_FAMILY = r"fable|mythos|opus|sonnet|haiku"
#: Where nobody set a limit: enough for long answers that think, within what each generation allows.
_DEFAULT_TOKENS = 32_000
_UNKNOWN_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Claude:
    """A model by its name. Version (0, 0) is a model nobody here knows."""

    family: str
    version: tuple[int, int]

    @property
    def takes_adaptive(self) -> bool:
        """``thinking: {"type": "adaptive"}`` with an effort."""
        return self.version >= (4, 6)

    @property
    def takes_budget(self) -> bool:
        """``thinking: {"type": "enabled", "budget_tokens": N}``; refused since 4.7."""
        return self.version <= (4, 6)

    @property
    def thinks_unasked(self) -> bool:
        return self.version >= (5, 0)

    @property
    def off_switch(self) -> str:
        """The lowest setting of thinking; models that always think refuse it and say so themselves."""
        return "between_tools" if self.family == "sonnet" and self.version >= (5, 5) else "disabled"

    @property
    def binds_thinking(self) -> bool:
        """Earlier thinking is refused where anything before it changed, unless the request says to drop it.

        https://platform.claude.com/docs/en/build-with-claude/preserved-thinking
        """
        return self.version >= (5, 1)

    @property
    def takes_schema(self) -> bool:
        """``output_config.format``; https://platform.claude.com/docs/en/build-with-claude/structured-outputs."""
        return self.version >= (4, 5)

    @property
    def most_tokens(self) -> int | None:
        """The longest answer, thinking included; None where it is not known."""
        if self.version < (3, 0):
            return None
        if self.version >= (4, 6):
            return 128_000
        if self.family == "opus" and (4, 0) <= self.version <= (4, 1):
            return 32_000
        return 64_000 if self.version >= (3, 7) else 8192 if self.version >= (3, 5) else 4096

    @property
    def default_tokens(self) -> int:
        return min(_DEFAULT_TOKENS, self.most_tokens or _UNKNOWN_TOKENS)


def claude(model: str) -> Claude:
    """Return what a model's name says."""
    family = re.search(_FAMILY, model.lower())
    found = re.search(_NAME, model.lower())
    if found:
        version = (int(found[1]), int(found[2] or 0))
    else:
        version = (5, 0) if "claude-mythos" in model.lower() else (0, 0)
    return Claude(family[0] if family else "", version)
