"""What is struck out of texts on their way out: keys always, personal data on request."""

from __future__ import annotations

from typing import Any

from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.core.stored_json import dumps, loads

#: Nothing shorter is a key; and nothing shorter an address or a number worth hiding.
_SHORTEST_KEY, _SHORTEST_PERSONAL = 13, 5

#: Folders, scripts and names come again and again: that many short texts are looked at once only.
_SHORT, _MOST_REMEMBERED = 100, 5_000
_FIXED = frozenset(
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
    """Tell whether a column holds text of somebody's own, not an id, a time or a word of ours."""
    return column not in _FIXED and not column.endswith(("_id", "_at"))


class Clean:
    """Cleans texts and counts those it changed."""

    def __init__(self, *, personal: bool = False) -> None:
        self.personal = personal
        #: Texts below this length are left alone.
        self.shortest = _SHORTEST_PERSONAL if personal else _SHORTEST_KEY
        self.changed = 0
        self._innocent: set[str] = set()

    def text(self, text: str) -> str:
        """Return a text without what looks like a key (and without personal data, if asked for)."""
        if len(text) < self.shortest:
            return text
        if text in self._innocent:
            return text
        found = mask_keys(text)
        if self.personal:
            from llmctl.core.redaction.pii_patterns import mask_personal  # only on request

            found = mask_personal(found)
        if found is not text and found != text:
            self.changed += 1
        elif len(text) < _SHORT and len(self._innocent) < _MOST_REMEMBERED:
            self._innocent.add(text)
        return found

    def document(self, text: str) -> str:
        """Return a JSON text, cleaned; numbers and structure stay."""
        if not self.personal:
            return self.text(text)
        try:
            value = loads(text)
        except (ValueError, RecursionError):
            return self.text(text)
        cleaned = self.value(value)
        return text if cleaned == value else dumps(cleaned)

    def value(self, value: Any) -> Any:
        """Return a document with every text in it cleaned."""
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.value(item) for item in value]
            case dict():
                return {key: self.value(item) for key, item in value.items()}
            case _:
                return value
