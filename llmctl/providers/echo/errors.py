"""The errors that the echo provider can simulate, in the format of OpenAI's API."""

from __future__ import annotations

from dataclasses import dataclass

from llmctl.core.stored_json import dumps


@dataclass(frozen=True, slots=True)
class EchoError:
    """An HTTP error. ``code`` is the provider's error code, or the status if it has none."""

    status: int
    type: str
    code: str | int | None
    message: str
    param: str | None = None

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return dumps({"error": error}).encode()


_REFUSED = "invalid_request_error"

KINDS: dict[str, EchoError] = {
    "auth": EchoError(401, _REFUSED, "invalid_api_key", "incorrect API key provided"),
    "content_filter": EchoError(400, _REFUSED, "content_filter", "the prompt was caught by the content filter"),
    "context_length": EchoError(
        400, _REFUSED, "context_length_exceeded", "the prompt is longer than the context of the model"
    ),
    "model_not_found": EchoError(404, _REFUSED, "model_not_found", "the model does not exist"),
    "quota": EchoError(429, "insufficient_quota", "insufficient_quota", "you exceeded your current quota"),
    "rate_limit": EchoError(429, "requests", "rate_limit_exceeded", "rate limit reached"),
}

_USUAL = {"401": "auth", "404": "model_not_found", "429": "rate_limit"}


def find_error(fail: str) -> EchoError:
    """Return the error of that name or status; raise ValueError with the valid ones if there is none."""
    known = KINDS.get(_USUAL.get(fail, fail))
    if known is not None:
        return known
    if not (fail.isascii() and fail.isdecimal() and 400 <= int(fail) <= 599):
        raise ValueError(f"a status from 400 to 599 or one of {', '.join(KINDS)}")
    status = int(fail)
    kind = "server_error" if status >= 500 else _REFUSED
    return EchoError(status, kind, status, f"simulated failure with status {status}")
