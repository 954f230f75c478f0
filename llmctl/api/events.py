"""The events of a turn that programs tell apart, as ``llmctl`` exports them; others may be added."""

from llmctl.core.chat import TextDelta, ThinkingDelta, ToolCallDelta
from llmctl.engine.runtime import ApprovalNeeded, Notice, RetryScheduled, StepStarted, ToolEvent

__all__ = [
    "ApprovalNeeded",
    "Notice",
    "RetryScheduled",
    "StepStarted",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolEvent",
]
