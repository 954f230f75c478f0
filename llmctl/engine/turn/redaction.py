"""What must not be stored or shown: the secrets of one turn, applied to everything it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import AnyStr

from llmctl.core.errors import LlmctlError
from llmctl.core.events import MessageMetadata, ResponseStart, StreamEvent, Unreadable
from llmctl.core.redaction.secret_patterns import REDACTED
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.turn.stream_buffer import hold_back
from llmctl.transport import redact

#: Local servers are given words for keys ("ollama", "lm-studio"), which answers may well hold.
_SHORTEST_WORD = 12

#: Characters of a key that tell which one it is.
_SHORTEST_BEGINNING = 8


@dataclass(frozen=True, slots=True)
class Redaction:
    secrets: tuple[str, ...] = ()
    #: Those that are struck out of what a server says, too.
    _telling: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        telling = sorted(filter(_is_telling, self.secrets), key=len, reverse=True)
        object.__setattr__(self, "_telling", tuple(telling))

    def text(self, text: str) -> str:
        """Return the text without the turn's own secrets."""
        for secret in self._telling:
            text = text.replace(secret, REDACTED)
        return text

    def raw(self, data: bytes) -> bytes:
        for secret in self._telling:
            data = data.replace(secret.encode(), REDACTED.encode())
        return data

    def unfinished(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a secret."""
        return max((_overlap(data, secret.encode()) for secret in self._telling), default=0)

    def count(self, text: str) -> int:
        """Return how often a secret stands in a text."""
        return sum(text.count(secret) for secret in self._telling)

    def events(self, events: Iterable[StreamEvent], struck: Callable[[int], None]) -> Iterator[StreamEvent]:
        """Yield what a model says without the secrets, however many events one is spread over.

        ``struck`` is told how many were struck out.
        """
        if not self._telling:
            return iter(events)

        def cut(text: str) -> tuple[str, str]:
            if found := self.count(text):
                struck(found)
                text = self.text(text)
            wait = max(_overlap(text, secret) for secret in self._telling)
            return text[: len(text) - wait], text[len(text) - wait :]

        return map(self._unspoken, hold_back(events, cut, self.text))

    def error(self, error: LlmctlError) -> None:
        """Strike the secrets out of an error: servers like to quote the key they refuse."""
        error.message = self._excerpt(error.message)
        error.hint = self.text(error.hint) if error.hint else None
        error.args = (error.message,)

    def _unspoken(self, event: StreamEvent) -> StreamEvent:
        """Strike the secrets out of what is no text of the answer."""
        match event:
            case Unreadable(detail):
                return Unreadable(self._excerpt(detail))
            case ResponseStart(model, response_id):
                return ResponseStart(self.text(model or "") or None, self.text(response_id or "") or None)
            case MessageMetadata(data) if self.count(text := dumps(dict(data))):
                return MessageMetadata(loads(self.text(text)))
        return event

    def _excerpt(self, text: str) -> str:
        """Strike secrets out of a text that may have been cut within one."""
        for secret in self._telling:
            for size in range(len(secret), _SHORTEST_BEGINNING - 1, -1):
                if secret[:size] in text:
                    text = text.replace(secret[:size], REDACTED)
        return text

    def request_text(self, text: str) -> str:
        """Return a request's body without secrets, known ones and such as look like one."""
        return redact.redact_text(text, self.secrets)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return redact.redact_headers(headers, self.secrets)

    def url(self, url: str) -> str:
        return redact.redact_url(url, self.secrets)


def _is_telling(secret: str) -> bool:
    return len(secret) >= redact.SHORTEST_SECRET and (
        len(secret) >= _SHORTEST_WORD or not secret.replace("-", "").isalpha()
    )


def _overlap(text: AnyStr, secret: AnyStr) -> int:
    """Return the length of the longest end of a text that a secret begins with, but is not whole."""
    last = text[-1:]
    size = min(len(text), len(secret) - 1)
    while size and (size := secret.rfind(last, 0, size) + 1):
        if text.endswith(secret[:size]):
            return size
        size -= 1
    return 0
