"""Is an answer whole? What its end, or the break of its line, means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import IncompleteError, LlmctlError, RejectedError, UnavailableError
from llmctl.engine.turn.state import Step

#: Options that bound the answer: reaching one of these is what the user asked for.
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict")


def judge(step: Step, *options: Mapping[str, Any]) -> None:
    """Raise where the stream ended, but not as a complete answer ends; ``options`` are what the user chose."""
    response = step.fold.response()
    if response.finish_reason is None and not step.events:
        if response.unreadable:
            raise UnavailableError(f"the answer cannot be read: {response.unreadable[0]}", reason="not_json")
        raise UnavailableError("the answer was cut before its first event", reason="empty")
    if response.finish_reason is None:
        raise IncompleteError("the answer broke off: the stream ended without its end marker", reason="cut")
    if response.unreadable:
        raise IncompleteError(
            f"the answer holds an event that cannot be read: {response.unreadable[0]}", reason="unreadable"
        )
    if response.finish_reason == "content_filter":
        raise RejectedError("the provider's content filter stopped the answer", reason="content_filter")
    if response.finish_reason == "incomplete":
        why = f'the provider ended the answer early: "{response.raw_finish_reason}"'
        raise IncompleteError(why, reason="ended_early")
    if response.finish_reason == "length" and not any(chosen.get(name) for chosen in options for name in _LIMITS):
        raise IncompleteError(
            "the answer was cut at the model's length limit", hint="raise it with -o max_tokens=N", reason="length"
        )


def judged_break(step: Step, error: LlmctlError, broke: LlmctlError | None) -> LlmctlError:
    """Return what a break of the connection means; an error that the provider sent stays what it is."""
    if error is not broke or not step.events or (error.reason == "timeout" and not step.delivered):
        return error
    return IncompleteError(f"the answer broke off: {error.message}", hint=error.hint, reason=error.reason or "cut")
