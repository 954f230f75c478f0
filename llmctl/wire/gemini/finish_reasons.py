"""Why an answer ended, in our words; and which endings mean that there is no answer.

https://ai.google.dev/api/generate-content#FinishReason
"""

from __future__ import annotations

from llmctl.core.errors import IncompleteError
from llmctl.wire.errors import clean

REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
#: The model said something that Google could not make an answer of.
_BROKEN = {
    "MALFORMED_FUNCTION_CALL": "malformed_tool_call",
    "UNEXPECTED_TOOL_CALL": "unexpected_tool_call",
    "TOO_MANY_TOOL_CALLS": "too_many_tool_calls",
    "MISSING_THOUGHT_SIGNATURE": "thought_signature",
    "MALFORMED_RESPONSE": "malformed_answer",
}


def is_reason(word: object) -> bool:
    return isinstance(word, str) and bool(word) and word != _UNSPECIFIED


def broken(word: str | None, message: str | None, *, said_nothing: bool) -> IncompleteError | None:
    """Return the error that an ending is, None where what came is the answer.

    Any ending that nobody here knows is one where nothing was said at all.
    """
    reason = _BROKEN.get(word or "") or ("no_answer" if said_nothing and word and word not in REASONS else None)
    if reason is None:
        return None
    text = f"the provider gave no usable answer ({word})" + (f": {message}" if message else "")
    return IncompleteError(clean(text), reason=reason, status_code=200)
