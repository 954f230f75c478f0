"""What went wrong, in llmctl's classes, from the many shapes in which hosts say it. For every wire that speaks JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core.errors import (
    BudgetError,
    ConfigError,
    LlmctlError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from llmctl.wire.errors import Fault, fault_of_body, fault_of_payload, is_page

_HINTS = {
    "auth": "check the key: llmctl connection edit NAME --key-env VARIABLE",
    "quota": "add credit at the provider, or use another connection",
    "model_not_found": "llmctl connection models NAME lists what this host knows",
    "not_found": "check the base url of the connection",
    "context_length": "send less: --history N drops the oldest turns, or begin a new chat",
    "not_json": "check the base url; a proxy or gateway may have answered in the provider's place",
}

# Codes and types are compared whole, so that a message may mention anything.
_AUTH = {"invalid_api_key", "api_key_invalid", "authentication_error", "unauthenticated", "invalid_authentication"}
_QUOTA = {
    "insufficient_quota", "insufficient_balance", "insufficient_credits", "billing_hard_limit_reached",
    "billing_not_active", "billing_error", "exceeded_current_quota_error", "payment_required",
}  # fmt: skip
_MODEL = {"model_not_found", "model_not_available", "invalid_model", "model_not_exist", "model_not_supported"}
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
_RATE = {"rate_limit_exceeded", "rate_limit_error", "rate_limited", "ratelimitreached", "resource_exhausted"}
_REJECTED = {
    "invalid_request_error", "invalid_argument", "invalid-argument", "tool_use_failed", "badrequesterror",
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
# Google says so with the status of a rate limit.
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
    """Return the error behind an answer that is no success; its message is the host's own text, made harmless.

    ``status_code`` is the status, ``retry_after`` the seconds the host asked to wait.
    """
    if is_page(body) and status not in (401, 404):
        return page_error(status, body)
    return _classify(fault_of_body(status, headers, body))


def error_of(payload: Any) -> LlmctlError:
    """Return the error a 200 carries. ``status_code`` is the code it names, else 200."""
    return _classify(fault_of_payload(payload))


def stated_error(answer: Mapping[str, Any]) -> LlmctlError | None:
    """Return the error that an answer with 200 states at its top, None where there is none."""
    return error_of(answer) if answer.get("error") or answer.get("object") == "error" else None


def page_error(status: int, body: bytes) -> UnavailableError:
    """Return the error for a body that is a page, or no JSON at all."""
    fault = fault_of_body(status, {}, body)
    what = "an html page" if is_page(body) else "no json"
    said = f': "{fault.message}"' if body.strip() else ", nothing at all"
    return UnavailableError(
        f"the server answered {status} with {what}{said}",
        reason="not_json",
        hint=_HINTS["not_json"],
        status_code=status,
    )


def _classify(fault: Fault) -> LlmctlError:
    kind, reason = next((kind, reason) for kind, reason, applies in _RULES if applies(fault))
    return kind(
        fault.message,
        hint=_HINTS.get(reason),
        reason=reason,
        status_code=fault.status,
        retry_after=fault.retry_after if issubclass(kind, UnavailableError) else None,
    )


def _refused(fault: Fault) -> bool:
    """Whether the host refused this very request (or named no status), so that its wording may say why."""
    return fault.code in (400, 403, 404, 413, 422) or fault.unnumbered


# The first rule that applies decides. Codes first: wording is only asked where the status leaves it open.
_RULES: tuple[tuple[type[LlmctlError], str, Callable[[Fault], bool]], ...] = (
    (
        BudgetError,
        "quota",
        lambda f: (
            f.code == 402
            or f.names(_QUOTA)
            or (_refused(f) and f.says(_NO_MONEY))
            or (f.code == 429 and f.says(_SPENT))
        ),
    ),
    (RejectedError, "context_length", lambda f: f.names(_CONTEXT)),
    (RejectedError, "content_filter", lambda f: f.names(_FILTER) or (f.code == 403 and f.flagged)),
    (NotFoundError, "model_not_found", lambda f: f.names(_MODEL)),
    (
        ConfigError,
        "auth",
        lambda f: f.code in (401, 403) or f.names(_AUTH) or (_refused(f) and f.says(_BAD_KEY)),
    ),
    (RejectedError, "context_length", lambda f: _refused(f) and f.says(_TOO_LONG)),
    (NotFoundError, "model_not_found", lambda f: _refused(f) and f.says(_NO_MODEL)),
    (NotFoundError, "not_found", lambda f: f.code == 404),
    (RejectedError, "content_filter", lambda f: _refused(f) and f.says(_FILTERED)),
    (RejectedError, "too_large", lambda f: f.code == 413),
    (UnavailableError, "timeout", lambda f: f.code == 408),
    (UnavailableError, "conflict", lambda f: f.code == 409),
    (UnavailableError, "rate_limit", lambda f: f.code in (425, 429) or (f.unnumbered and f.names(_RATE))),
    (UnavailableError, "overloaded", lambda f: f.code in (498, 503, 529) or (f.code >= 500 and f.names(_BUSY))),
    (RejectedError, "invalid_request", lambda f: 400 <= f.code < 500 or (f.unnumbered and f.names(_REJECTED))),
    (UnavailableError, "overloaded", lambda f: f.unnumbered and f.names(_BUSY)),
    (UnavailableError, "server_error", lambda f: True),
)
