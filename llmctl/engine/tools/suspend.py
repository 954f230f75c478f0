"""Suspended tool calls: they continue where they stopped when their turn continues."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.core.errors import LlmctlError, PendingError
from llmctl.engine.events import ApprovalNeeded
from llmctl.engine.tools import records


class ApprovalPending(PendingError):
    """Tool calls of this turn, or of sub-agents in it, wait for the user's approval."""

    def __init__(self, calls: Sequence[ApprovalNeeded], *, is_logged: bool) -> None:
        self.calls = tuple(calls)
        names = ", ".join(dict.fromkeys(f'"{records.printable_name(call.name)}"' for call in calls))
        verb = "needs" if len({call.name for call in calls}) == 1 else "need"
        super().__init__(f"{names} {verb} your approval", hint=self._hint(is_logged), reason="approval")

    def _hint(self, is_logged: bool) -> str:
        if is_logged:
            return f"llmctl tool approve {' '.join(call.invocation_id[:8] for call in self.calls)} --continue"
        approve = " ".join(f"--approve {name}" for name in dict.fromkeys(call.name for call in self.calls))
        return f"this turn is not logged, so approve it beforehand: {approve}"


class Suspended(LlmctlError):
    """Raised by a tool that continues later; the turn that called it stops with ``cause``."""

    def __init__(self, cause: LlmctlError) -> None:
        super().__init__(cause.message, hint=cause.hint, reason=cause.reason)
        self.cause = cause
