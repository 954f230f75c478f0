"""Mask text that leaves the hub: keys always, personal data on request."""

from __future__ import annotations

from typing import Any

from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.core.stored_json import dumps, loads

#: Nothing shorter can be a key, or an address or number worth hiding.
_MIN_KEY_LENGTH, _MIN_PERSONAL_LENGTH = 13, 5

#: Folders, scripts and names repeat: results of this many short texts are cached.
_MAX_CACHED_LENGTH, _MAX_CACHED_TEXTS = 100, 5_000
_STRUCTURAL_COLUMNS = frozenset(
    [
        "id",
        "status",
        "role",
        "type",
        "origin",
        "content_hash",
        "body_hash",
        "version_hash",
        "finish_reason",
        "provider",
        "model",
        "response_model",
        "media_type",
        "method",
        "effect",
        "permission",
    ]
)


def is_free_text(column: str) -> bool:
    """Return whether a column holds free text rather than an id, a time or one of our own values."""
    return column not in _STRUCTURAL_COLUMNS and not column.endswith(("_id", "_at"))


class Masker:
    """Masks texts and counts those it changed."""

    def __init__(self, *, personal: bool = False) -> None:
        self.personal = personal
        #: Shorter texts are returned unchanged.
        self.min_length = _MIN_PERSONAL_LENGTH if personal else _MIN_KEY_LENGTH
        self.changed_count = 0
        self._unchanged: set[str] = set()

    def mask_text(self, text: str) -> str:
        """Return a text with everything that looks like a key masked (and personal data, if enabled)."""
        if len(text) < self.min_length:
            return text
        if text in self._unchanged:
            return text
        masked = mask_keys(text)
        if self.personal:
            from llmctl.core.redaction.pii_patterns import mask_personal  # only on request

            masked = mask_personal(masked)
        if masked is not text and masked != text:
            self.changed_count += 1
        elif len(text) < _MAX_CACHED_LENGTH and len(self._unchanged) < _MAX_CACHED_TEXTS:
            self._unchanged.add(text)
        return masked

    def mask_json(self, text: str) -> str:
        """Return a JSON text with its strings masked; numbers and structure are unchanged."""
        if not self.personal:
            return self.mask_text(text)
        try:
            value = loads(text)
        except (ValueError, RecursionError):
            return self.mask_text(text)
        masked = self.mask_value(value)
        return text if masked == value else dumps(masked)

    def mask_value(self, value: Any) -> Any:
        """Return a JSON value with every string in it masked."""
        match value:
            case str():
                return self.mask_text(value)
            case list():
                return [self.mask_value(item) for item in value]
            case dict():
                return {key: self.mask_value(item) for key, item in value.items()}
            case _:
                return value
