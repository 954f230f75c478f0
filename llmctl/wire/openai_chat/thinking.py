"""Thinking: read it from all the fields that hosts use, and send it back as each host expects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.events import ThinkingDelta
from llmctl.core.messages import Thinking

_TEXT_FIELDS = ("text", "summary", "signature")


class ThinkingParts:
    """Assigns each piece of thinking to a part.

    Plain text forms one part until other content arrives. Each of OpenRouter's ``reasoning_details`` is a part, with
    pieces merged by index; fields other than text and signature become the part's metadata.
    """

    def __init__(self) -> None:
        self._next = 0
        self._plain: int | None = None
        self._details: dict[str, tuple[int, dict[str, Any]]] = {}

    def end_part(self) -> None:
        """End the current part: plain thinking that follows starts a new one."""
        self._plain = None

    def read(self, message: dict[str, Any]) -> list[ThinkingDelta]:
        """Return the pieces of one delta. Text that is also in the details is not read twice."""
        events: list[ThinkingDelta] = []
        details = message.get("reasoning_details")
        if details and isinstance(details, list):
            events = [self._read_detail(detail) for detail in details if isinstance(detail, dict)]
            if any(event.text for event in events):
                return events
        text = message.get("reasoning_content") or message.get("reasoning")
        if text and isinstance(text, str):
            events.append(ThinkingDelta(text, index=self._plain_index()))
        return events

    def read_content_part(self, part: dict[str, Any]) -> list[ThinkingDelta]:
        """Return the pieces of Mistral's content part ``{"type": "thinking", "thinking": [{"type": "text", …}]}``."""
        inner = part.get("thinking")
        pieces = [inner] if isinstance(inner, str) else inner if isinstance(inner, list) else []
        texts = (piece if isinstance(piece, str) else _get_text(piece) for piece in pieces)
        return [ThinkingDelta(text, index=self._plain_index()) for text in texts if text]

    def read_signature(self, signature: str, extra: Any) -> ThinkingDelta:
        """Return Gemini's signature of a whole message as a part without text."""
        self._next += 1
        return ThinkingDelta("", signature, self._next - 1, {"extra_content": extra})

    def _plain_index(self) -> int:
        if self._plain is None:
            self._plain = self._next
            self._next += 1
        return self._plain

    def _read_detail(self, detail: dict[str, Any]) -> ThinkingDelta:
        kind = detail.get("type")
        own = detail.get("id") if kind == "reasoning.encrypted" else None
        key = repr((detail.get("index"), kind, own))
        if key not in self._details:
            self._details[key] = (self._next, {})
            self._next += 1
        index, known = self._details[key]
        metadata = {name: value for name, value in detail.items() if name not in _TEXT_FIELDS}
        changed = metadata if metadata != known else {}
        known.update(changed)
        text = _get_text(detail) or _get_text(detail, "summary")
        return ThinkingDelta(text, _get_text(detail, "signature") or None, index, changed)


def find_thought_signature(holder: dict[str, Any]) -> str | None:
    """Return the signature in ``extra_content.google`` of a message of Gemini's OpenAI API."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def encode_thinking(parts: Iterable[Thinking], field: str | None) -> dict[str, Any]:
    """Return earlier thinking as fields of an assistant message, for the dialect's ``thinking_replay_field``.

    ``reasoning_details`` returns each detail unchanged; ``extra_content`` Gemini's signature; any other field
    (``reasoning_content``, ``reasoning``) the text. ``content`` (Mistral) is handled in ``messages``.
    """
    parts = list(parts)
    if field is None or field == "content" or not parts:
        return {}
    if field == "extra_content":
        extras = [part.metadata["extra_content"] for part in parts if part.metadata.get("extra_content")]
        return {field: extras[-1]} if extras else {}
    if field == "reasoning_details":
        details = [_encode_detail(part) for part in parts if "type" in part.metadata]
        if details:
            return {field: details}
        field = "reasoning"
    text = "".join(part.text for part in parts)
    return {field: text} if text else {}


def _encode_detail(part: Thinking) -> dict[str, Any]:
    detail = dict(part.metadata)
    if part.text:
        detail["summary" if detail.get("type") == "reasoning.summary" else "text"] = part.text
    return detail | ({"signature": part.signature} if part.signature else {})


def _get_text(holder: Any, name: str = "text") -> str:
    text = holder.get(name) if isinstance(holder, dict) else None
    return text if isinstance(text, str) else ""
