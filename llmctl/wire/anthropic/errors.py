"""Errors of the Messages API. https://platform.claude.com/docs/en/api/errors"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import BudgetError, LlmctlError, NotFoundError
from llmctl.wire.errors import classify_error
from llmctl.wire.errors import parse_error as parse_shared_error

#: The status of each error type, for errors in a stream that started with a 200.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_NO_MONEY = r"(?i)usage limit|spend(ing)? limit|credit balance"


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> LlmctlError:
    """Return the error of an error response."""
    return _refine_error(parse_shared_error(status, headers, body), _error_type(_decode_json(body)))


def parse_embedded_error(payload: Mapping[str, Any]) -> LlmctlError:
    """Return the error of an ``error`` event, or of an error document that came with a 200."""
    kind = _error_type(payload)
    inner = payload.get("error")
    details: dict[str, Any] = inner if isinstance(inner, dict) else {"message": str(inner or "")}
    return _refine_error(classify_error({"error": {"status_code": _STATUS.get(kind, 200)} | details}), kind)


def _refine_error(error: LlmctlError, kind: str) -> LlmctlError:
    """Return a more specific error if the wording says more than the status."""
    if kind == "not_found_error" and re.match(r"model\b", error.message) and error.reason != "model_not_found":
        hint = "list the models of this host: llmctl connection models NAME"
        return NotFoundError(error.message, hint=hint, reason="model_not_found", status_code=error.status_code)
    limited = kind in ("invalid_request_error", "rate_limit_error") and error.retry_after is None
    if limited and error.reason in ("invalid_request", "rate_limit") and re.search(_NO_MONEY, error.message):
        hint = "raise the limit at the provider, or use another connection"
        return BudgetError(error.message, hint=hint, reason="quota", status_code=error.status_code)
    return error


def _error_type(payload: Any) -> str:
    inner = payload.get("error") if isinstance(payload, dict) else None
    kind = inner.get("type") if isinstance(inner, dict) else None
    return kind if isinstance(kind, str) else ""


def _decode_json(body: bytes) -> Any:
    try:
        return json.loads(body[: 1 << 20])
    except (ValueError, RecursionError):
        return None
