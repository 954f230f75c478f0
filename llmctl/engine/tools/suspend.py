"""Calls that cannot go on for now: what they began stays, and is gone on with when their turn is."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.core.errors import LlmctlError, PendingError
from llmctl.engine.tools import records
from llmctl.engine.turn.result import Pending


class WaitsForPerson(PendingError):
    """Calls wait for a decision: of this turn, or of agents that were asked in it."""

    def __init__(self, calls: Sequence[Pending], *, is_kept: bool) -> None:
        self.calls = tuple(calls)
        shown = ", ".join(dict.fromkeys(f'"{records.shown_name(call.name)}"' for call in calls))
        verb = "waits" if len({call.name for call in calls}) == 1 else "wait"
        super().__init__(f"{shown} {verb} for your decision", hint=self._hint(is_kept), reason="approval")

    def _hint(self, is_kept: bool) -> str:
        if is_kept:
            return f"llmctl tool approve {' '.join(call.invocation_id[:8] for call in self.calls)} --continue"
        approve = " ".join(f"--approve {name}" for name in dict.fromkeys(call.name for call in self.calls))
        return f"nothing is kept of this turn, so allow it beforehand: {approve}"


class Parked(LlmctlError):
    """Raised by a tool that is gone on with later; until then the turn that called it stops, and says ``why``."""

    def __init__(self, why: LlmctlError) -> None:
        super().__init__(why.message, hint=why.hint, reason=why.reason)
        self.why = why
