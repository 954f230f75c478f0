"""What went wrong, in llmctl's classes. https://docs.ollama.com/api/errors"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import LlmctlError, RejectedError
from llmctl.wire.refusals import error_of
from llmctl.wire.refusals import parse_error as refusal

_NOT_HERE = r'(?i)model ["\']?([^"\' ]+)["\']? not found'
_TOO_LONG = r"(?i)exceeds? (the )?(maximum |available )?context|prompt (is )?too long|context (length|size) exceeded"


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> LlmctlError:
    """Return the error behind an answer that is no success."""
    return _finer(refusal(status, headers, body))


def stated_error(payload: Mapping[str, Any]) -> LlmctlError:
    """Return the error of a line, or of a document that came with a 200."""
    return _finer(error_of(payload))


def _finer(error: LlmctlError) -> LlmctlError:
    """Say how to mend what only this server has: models to be pulled, and a context whose size is an option."""
    if error.reason == "model_not_found" and (found := re.search(_NOT_HERE, error.message)):
        error.hint = f"ollama pull {found[1]}"
    if error.reason == "context_length" or re.search(_TOO_LONG, error.message):
        hint = "give the model more room with -o num_ctx=N, or send less: --history N drops the oldest turns"
        return RejectedError(error.message, hint=hint, reason="context_length", status_code=error.status_code)
    return error
