"""Errors of Ollama. https://docs.ollama.com/api/errors"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import LlmctlError, RejectedError
from llmctl.wire.errors import classify_error
from llmctl.wire.errors import parse_error as parse_shared_error

_NOT_HERE = r'(?i)model ["\']?([^"\' ]+)["\']? not found'
_TOO_LONG = r"(?i)exceeds? (the )?(maximum |available )?context|prompt (is )?too long|context (length|size) exceeded"


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> LlmctlError:
    """Return the error of an error response."""
    return _refine_error(parse_shared_error(status, headers, body))


def parse_embedded_error(payload: Mapping[str, Any]) -> LlmctlError:
    """Return the error of a line, or of a document that came with a 200."""
    return _refine_error(classify_error(payload))


def _refine_error(error: LlmctlError) -> LlmctlError:
    """Add hints for errors specific to this server: models to pull, and a context whose size is an option."""
    if error.reason == "model_not_found" and (found := re.search(_NOT_HERE, error.message)):
        error.hint = f"ollama pull {found[1]}"
    if error.reason == "context_length" or re.search(_TOO_LONG, error.message):
        hint = "increase the context with -o num_ctx=N, or send less: --history N drops the oldest turns"
        return RejectedError(error.message, hint=hint, reason="context_length", status_code=error.status_code)
    return error
