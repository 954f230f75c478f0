"""Errors inside an answer of Chat Completions that came with 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import LlmctlError
from llmctl.wire.refusals import error_of, stated_error


def error_in(answer: Mapping[str, Any]) -> LlmctlError | None:
    """Return the error inside an answer or a chunk that came with 200, None where there is none."""
    if error := stated_error(answer):
        return error
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("error"):
            return error_of(choice)
        if choice.get("finish_reason") in ("error", "insufficient_system_resource", "network_error"):
            return error_of({"error": {"message": "the provider broke the answer off", "type": "server_error"}})
    if not choices and "choices" not in answer and answer.get("detail"):
        return error_of(answer)
    return None
