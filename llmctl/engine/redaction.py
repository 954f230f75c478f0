"""Mask the secrets of one turn in everything it stores or shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import AnyStr

from llmctl.core.chat import MessageMetadata, ResponseStart, StreamEvent, Unreadable, buffer_incomplete_tail
from llmctl.core.errors import LlmctlError
from llmctl.core.redaction import REDACTED, SHORTEST_SECRET, redact_headers, redact_text, redact_url
from llmctl.core.stored_values import dumps, loads

#: Local servers get plain words as keys ("ollama", "lm-studio"), which may well occur in answers.
_MIN_WORD_LENGTH = 12

#: Characters of a key that identify it.
_MIN_PREFIX_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Redaction:
    """The secrets of a turn, and how each kind of text is masked."""

    secrets: tuple[str, ...] = ()
    #: Those that are masked in what a server says, too; longest first.
    _maskable: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        maskable = sorted(filter(_is_maskable, self.secrets), key=len, reverse=True)
        object.__setattr__(self, "_maskable", tuple(maskable))

    def text(self, text: str) -> str:
        """Return the text without the turn's own secrets."""
        for secret in self._maskable:
            text = text.replace(secret, REDACTED)
        return text

    def raw(self, data: bytes) -> bytes:
        """Return the bytes without the turn's own secrets."""
        for secret in self._maskable:
            data = data.replace(secret.encode(), REDACTED.encode())
        return data

    def partial_secret_bytes(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a secret."""
        return max((_overlap(data, secret.encode()) for secret in self._maskable), default=0)

    def count(self, text: str) -> int:
        """Return how many secrets a text contains."""
        return sum(text.count(secret) for secret in self._maskable)

    def events(self, events: Iterable[StreamEvent], on_redacted: Callable[[int], None]) -> Iterator[StreamEvent]:
        """Yield events without the secrets, even where one is spread over several events.

        ``on_redacted`` gets the number of secrets that were masked.
        """
        if not self._maskable:
            return iter(events)

        def split(text: str) -> tuple[str, str]:
            if found := self.count(text):
                on_redacted(found)
                text = self.text(text)
            tail = max(_overlap(text, secret) for secret in self._maskable)
            return text[: len(text) - tail], text[len(text) - tail :]

        return map(self._redact_metadata, buffer_incomplete_tail(events, split, self.text))

    def error(self, error: LlmctlError) -> None:
        """Mask the secrets in an error, in place: servers like to quote the key they refuse."""
        error.message = self._redact_truncated(error.message)
        error.hint = self.text(error.hint) if error.hint else None
        error.args = (error.message,)

    def _redact_metadata(self, event: StreamEvent) -> StreamEvent:
        """Mask the secrets in an event that is not text of the answer."""
        match event:
            case Unreadable(detail):
                return Unreadable(self._redact_truncated(detail))
            case ResponseStart(model, response_id):
                return ResponseStart(self.text(model or "") or None, self.text(response_id or "") or None)
            case MessageMetadata(data) if self.count(text := dumps(dict(data))):
                return MessageMetadata(loads(self.text(text)))
        return event

    def _redact_truncated(self, text: str) -> str:
        """Mask secrets in a text that may have been cut inside one."""
        for secret in self._maskable:
            for size in range(len(secret), _MIN_PREFIX_LENGTH - 1, -1):
                if secret[:size] in text:
                    text = text.replace(secret[:size], REDACTED)
        return text

    def request_text(self, text: str) -> str:
        """Return a request body without known secrets and without what looks like one."""
        return redact_text(text, self.secrets)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return redact_headers(headers, self.secrets)

    def url(self, url: str) -> str:
        return redact_url(url, self.secrets)


def _is_maskable(secret: str) -> bool:
    return len(secret) >= SHORTEST_SECRET and (len(secret) >= _MIN_WORD_LENGTH or not secret.replace("-", "").isalpha())


def _overlap(text: AnyStr, secret: AnyStr) -> int:
    """Return the length of the longest end of a text that is a proper prefix of a secret."""
    last = text[-1:]
    size = min(len(text), len(secret) - 1)
    while size and (size := secret.rfind(last, 0, size) + 1):
        if text.endswith(secret[:size]):
            return size
        size -= 1
    return 0
