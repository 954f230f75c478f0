"""Parse error responses of any host, whatever their shape, into llmctl's errors."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from llmctl.core.errors import (
    BudgetError,
    ConfigError,
    LlmctlError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from llmctl.core.redaction import mask_keys
from llmctl.core.values import Value

_MAX_LENGTH = 500
# Patterns are strings: compiled when an error occurs, not at start-up.
_TITLE = r"(?i)<(title|h1)[^>]*>([^<]{1,200})"
# Control characters, line breaks and bidirectional marks: a terminal would interpret them.
_UNSAFE = "[\x00-\x20\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
_WAIT = r"(?i)(?:retry|try again) in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)(ms|s))?"
_MESSAGE_FIELDS = ("message", "msg", "error_msg", "status_msg", "detail", "details", "error_description")
_CODE_FIELDS = ("code", "type", "status", "error_type", "error_code", "reason")
_ERROR_FIELDS = ("error", "errors", "base_resp")
#: MiniMax's numbers, as the codes of other hosts. https://platform.minimax.io/docs/api-reference/errorcode
_BASE_RESP_CODES = {
    1001: "timeout",
    1002: "rate_limit_exceeded",
    1004: "invalid_api_key",
    1008: "insufficient_balance",
    1026: "content_filter",
    1027: "content_filter",
    1039: "context_length_exceeded",
    1041: "rate_limit_exceeded",
    1042: "invalid_request_error",
    2013: "invalid_request_error",
    2045: "rate_limit_exceeded",
    2049: "invalid_api_key",
    2056: "rate_limit_exceeded",
}


class ProviderError(Value):
    """An error as the host reports it. ``code`` is the reported status; 200 if an error in a 200 reports none."""

    status: int
    code: int
    message: str
    codes: frozenset[str]
    retry_after: float | None = None
    #: A moderation refused the input and says why.
    flagged: bool = False

    @property
    def has_no_status(self) -> bool:
        return self.code < 400

    def has_code(self, codes: set[str]) -> bool:
        """Return whether one of the codes is reported, in any spelling: ``InvalidApiKey``, ``invalid-api-key``."""
        return not {_squash(code) for code in codes}.isdisjoint(map(_squash, self.codes))

    def message_matches(self, pattern: str) -> bool:
        return re.search(pattern, self.message.lower()) is not None


def _squash(code: str) -> str:
    return re.sub("[^a-z0-9]", "", code.lower())


def parse_error_body(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Parse the body of an error response; a body that is not JSON is its own message."""
    text = body[: 1 << 20].decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        payload = _find_title(text) or text
    kind = headers.get("x-amzn-errortype", "").partition(":")[0]
    message = _find_message(payload) or f"the provider answered {status}" + (
        "" if text.strip() else " with an empty body"
    )
    return ProviderError(
        status=status,
        code=status,
        message=sanitize_message(message),
        codes=frozenset({*_iter_codes(payload), *([kind.lower()] if kind else [])}),
        retry_after=_find_retry_after(headers, payload, message),
        flagged=_is_flagged(payload),
    )


def parse_error_payload(payload: Any) -> ProviderError:
    """Parse an error that came with status 200."""
    holders = [payload, payload.get("error")] if isinstance(payload, dict) else []
    numbers = (
        str(holder.get(name))
        for holder in reversed(holders)
        if isinstance(holder, dict)
        for name in ("status_code", "code", "status", "error_code")
    )
    named = next((int(number) for number in numbers if re.fullmatch("[45][0-9][0-9]", number)), 200)
    message = _find_message(payload) or "the provider ended the response with an error"
    wait = _find_retry_after({}, payload, message)
    return ProviderError(
        named, named, sanitize_message(message), frozenset(_iter_codes(payload)), wait, _is_flagged(payload)
    )


def is_markup(body: bytes) -> bool:
    """Return whether the body is HTML or XML instead of JSON."""
    return body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def sanitize_message(text: str) -> str:
    """Return a single safe line of at most 500 characters, with anything that looks like a key masked."""
    line = re.sub(_UNSAFE, " ", mask_keys(text[: 8 * _MAX_LENGTH])).strip()
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 1] + "…"


def _find_title(text: str) -> str:
    found = re.search(_TITLE, text[:65536]) if text.lstrip()[:1] == "<" else None
    return found[2].strip() if found else ""


def _find_message(payload: Any, depth: int = 0) -> str:
    """Return the message of an error in any of its shapes; OpenRouter puts the cause in ``metadata.raw``."""
    if isinstance(payload, str):
        return payload
    if isinstance(payload, list) and depth < 6:
        return "; ".join(text for item in payload[:20] if (text := _find_message(item, depth + 1)))
    if not isinstance(payload, dict) or depth > 5:
        return ""
    inner = next((payload[name] for name in _ERROR_FIELDS if payload.get(name)), None)
    found = next((text for name in _MESSAGE_FIELDS if (text := _find_message(payload.get(name), depth + 1))), "")
    message = _find_message(inner, depth + 1) or found
    where = payload.get("loc")
    if message and isinstance(where, list):  # FastAPI's list of validation errors.
        message = f"{'.'.join(map(str, where))}: {message}"
    return " ".join(filter(None, (message, _find_cause(payload.get("metadata"), message))))


def _find_cause(metadata: Any, message: str) -> str:
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str):
        return ""
    with suppress(ValueError, RecursionError):
        raw = _find_message(json.loads(raw)) or raw
    return "" if raw in message else f"({raw})"


def _iter_error_objects(payload: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the objects that may hold codes: the body, its error, and that error's details and inner error."""
    if isinstance(payload, list):
        for item in payload[:20]:
            yield from _iter_error_objects(item, depth)
    elif isinstance(payload, dict) and depth < 4:
        yield payload
        for name in (*_ERROR_FIELDS, "details", "innererror", "metadata"):
            yield from _iter_error_objects(payload.get(name), depth + 1)


def _iter_codes(payload: Any) -> Iterator[str]:
    for item in _iter_error_objects(payload):
        for name in _CODE_FIELDS:
            if isinstance(word := item.get(name), str):
                yield word.lower()
                yield from word.lower().split(".")  # Throttling.RateQuota, Model.AccessDenied
        if word := _BASE_RESP_CODES.get(item.get("status_code", 0) if "status_msg" in item else 0):
            yield word


def _is_flagged(payload: Any) -> bool:
    metadata = (item.get("metadata") for item in _iter_error_objects(payload))
    return any(isinstance(item, dict) and bool(item.get("reasons")) for item in metadata)


def _find_retry_after(headers: Mapping[str, str], payload: Any, message: str) -> float | None:
    """Return the longest wait that any field asks for: Azure sends 1 s in one header and 0 ms in another."""
    waits = [
        _parse_seconds(headers.get("retry-after-ms", ""), 0.001),
        _parse_seconds(headers.get("retry-after", "")) or _parse_retry_date(headers),
        *(_parse_seconds(str(item.get("retryDelay", "")).removesuffix("s")) for item in _iter_error_objects(payload)),
        _find_wait(message),
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _parse_seconds(text: str, unit: float = 1.0) -> float | None:
    try:
        value = float(text) * unit
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _parse_retry_date(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until an HTTP date (RFC 9110, 10.2.3), by the server's clock if it sends one."""
    from email.utils import mktime_tz, parsedate_tz  # error path; slow to import

    moment = parsedate_tz(headers.get("retry-after", ""))
    if moment is None:
        return None
    present = parsedate_tz(headers.get("date", ""))
    return max(0.0, mktime_tz(moment) - (mktime_tz(present) if present else time.time()))


def _find_wait(message: str) -> float | None:
    found = re.search(_WAIT, message)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, amount, unit = found.groups()
    seconds = (_parse_seconds(amount or "") or 0.0) * (0.001 if unit == "ms" else 1)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds


_HINTS = {
    "auth": "check the key: llmctl connection edit NAME --key-env VARIABLE",
    "quota": "add credit at the provider, or use another connection",
    "model_not_found": "list the models of this host: llmctl connection models NAME",
    "not_found": "check the base URL of the connection",
    "context_length": "send less: --history N drops the oldest turns; or start a new chat",
    "not_json": "check the base URL; a proxy or gateway may have answered instead of the provider",
}

# Codes and types must match exactly, so that messages may mention anything.
_AUTH = {
    "invalid_api_key", "api_key_invalid", "authentication_error", "unauthenticated", "invalid_authentication",
    "authentication_failed", "unauthorized", "access_denied", "invalid_token", "token_expired",
}  # fmt: skip
_QUOTA = {
    "insufficient_quota", "insufficient_balance", "insufficient_credits", "billing_hard_limit_reached",
    "billing_not_active", "billing_error", "exceeded_current_quota_error", "payment_required", "arrearage",
    "insufficient_user_quota", "account_overdue",
}  # fmt: skip
_MODEL = {
    "model_not_found",
    "model_not_available",
    "invalid_model",
    "model_not_exist",
    "model_not_supported",
    "unsupported_model",
}
_FILTER = {
    "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked",
    "data_inspection_failed", "content_moderation", "safety_check_failed", "image_content_policy_violation",
}  # fmt: skip
_CONTEXT = {
    "context_length_exceeded",
    "exceed_context_size_error",
    "context_window_exceeded",
    "string_above_max_length",
}
_BUSY = {
    "overloaded_error", "overloaded", "engine_overloaded_error", "unavailable", "insufficient_system_resource",
    "server_is_overloaded", "slow_down",
}  # fmt: skip
_RATE = {
    "rate_limit_exceeded",
    "rate_limit_error",
    "rate_limited",
    "rate_limit_reached",
    "resource_exhausted",
    "throttling",
    "too_many_requests",
    "limit_requests",
}
_REJECTED = {
    "invalid_request_error", "invalid_argument", "invalid_parameter", "invalid_request", "bad_request",
    "bad_request_error", "tool_use_failed",
    "invalid_prompt", "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url",
    "invalid_image_mode", "image_too_large", "image_too_small", "image_parse_error", "image_file_too_large",
    "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
}  # fmt: skip

_BAD_KEY = (
    r"(incorrect|invalid|missing|expired|malformed|no) api[ _-]?key|api[ _-]?key[^.]{0,40}"
    r"(not valid|invalid|incorrect|expired|not found|missing)|missing authentication"
)
_NO_MONEY = (
    r"insufficient (balance|credits?|funds)|credit balance is too low|out of credits|no credits"
    r"|used all (your )?available credits|requires more credits|payment required"
)
# Google reports this with the status of a rate limit.
_SPENT = r"credits? (are|is|have been|has been) (depleted|exhausted|used up)"
_NO_MODEL = (
    r"\bmodels?\b(?:[^.]|\.\b){0,150}?(does not exist|doesn't exist|not exist|not found|not deployed)"
    r"|(invalid|unknown|no such) model\b|not a valid model|no endpoints found"
)
_TOO_LONG = (
    r"context[ _-]?(length|window|size)|(prompt|input|request)( is)? too (long|large)|maximum prompt length"
    r"|too many (input )?tokens|input token count|reduce the length|exceeds the context|max_new_tokens"
)
_FILTERED = r"content[ _-](filter|management policy|policy)|flagged|safety system"


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> LlmctlError:
    """Return the error of an error response; its message is the host's own text, sanitized.

    ``status_code`` is the HTTP status, ``retry_after`` the seconds that the host asks to wait.
    """
    if is_markup(body) and status not in (401, 404):
        return not_json_error(status, body)
    return _to_llmctl_error(parse_error_body(status, headers, body))


def classify_error(payload: Any) -> LlmctlError:
    """Return the error in a 200 response. ``status_code`` is the code that the error reports, else 200."""
    return _to_llmctl_error(parse_error_payload(payload))


def not_json_error(status: int, body: bytes) -> UnavailableError:
    """Return the error for a body that is a web page or not JSON."""
    error = parse_error_body(status, {}, body)
    kind = "an HTML page" if is_markup(body) else "a body that is not JSON"
    excerpt = f': "{error.message}"' if body.strip() else ": it is empty"
    return UnavailableError(
        f"the server answered {status} with {kind}{excerpt}",
        reason="not_json",
        hint=_HINTS["not_json"],
        status_code=status,
    )


def _to_llmctl_error(error: ProviderError) -> LlmctlError:
    kind, reason = next((kind, reason) for kind, reason, applies in _RULES if applies(error))
    return kind(
        error.message,
        hint=_HINTS.get(reason),
        reason=reason,
        status_code=error.status,
        retry_after=error.retry_after if issubclass(kind, UnavailableError) else None,
    )


def _is_request_refused(error: ProviderError) -> bool:
    """Return whether the host refused this request (or reported no status), so that its wording may say why."""
    return error.code in (400, 403, 404, 413, 422) or error.has_no_status


# The first matching rule wins. Codes come first: wording is only checked if the status leaves it open.
_RULES: tuple[tuple[type[LlmctlError], str, Callable[[ProviderError], bool]], ...] = (
    (
        BudgetError,
        "quota",
        lambda f: (
            f.code == 402
            or f.has_code(_QUOTA)
            or (_is_request_refused(f) and f.message_matches(_NO_MONEY))
            or (f.code == 429 and f.message_matches(_SPENT))
        ),
    ),
    (RejectedError, "context_length", lambda f: f.has_code(_CONTEXT)),
    (RejectedError, "content_filter", lambda f: f.has_code(_FILTER) or (f.code == 403 and f.flagged)),
    (NotFoundError, "model_not_found", lambda f: f.has_code(_MODEL)),
    (
        ConfigError,
        "auth",
        lambda f: f.code in (401, 403) or f.has_code(_AUTH) or (_is_request_refused(f) and f.message_matches(_BAD_KEY)),
    ),
    (RejectedError, "context_length", lambda f: _is_request_refused(f) and f.message_matches(_TOO_LONG)),
    (NotFoundError, "model_not_found", lambda f: _is_request_refused(f) and f.message_matches(_NO_MODEL)),
    (NotFoundError, "not_found", lambda f: f.code == 404),
    (RejectedError, "content_filter", lambda f: _is_request_refused(f) and f.message_matches(_FILTERED)),
    (RejectedError, "too_large", lambda f: f.code == 413),
    (UnavailableError, "timeout", lambda f: f.code == 408),
    (RejectedError, "conflict", lambda f: f.code == 409),
    (UnavailableError, "rate_limit", lambda f: f.code in (425, 429) or (f.has_no_status and f.has_code(_RATE))),
    (UnavailableError, "overloaded", lambda f: f.code in (498, 503, 529) or (f.code >= 500 and f.has_code(_BUSY))),
    (RejectedError, "invalid_request", lambda f: 400 <= f.code < 500 or (f.has_no_status and f.has_code(_REJECTED))),
    (UnavailableError, "overloaded", lambda f: f.has_no_status and f.has_code(_BUSY)),
    (UnavailableError, "server_error", lambda f: True),
)
