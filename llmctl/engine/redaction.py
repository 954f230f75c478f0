"""What must not be stored or shown: the secrets of one turn, applied to everything it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmctl.core.keyshapes import REDACTED
from llmctl.transport import redact


@dataclass(frozen=True, slots=True)
class Redaction:
    secrets: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """Return the text without the turn's own secrets."""
        for secret in self.secrets:
            text = text.replace(secret, REDACTED)
        return text

    def bytes(self, data: bytes) -> bytes:
        for secret in self.secrets:
            data = data.replace(secret.encode(), REDACTED.encode())
        return data

    def request_text(self, text: str) -> str:
        """Return a request's body without secrets, known ones and such as look like one."""
        return redact.redact_text(text, self.secrets)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return redact.redact_headers(headers, self.secrets)

    def url(self, url: str) -> str:
        return redact.redact_url(url, self.secrets)
