"""Upper bounds for the tokens of a request, from what is sent. Never less than what is billed.

Checked against recorded traffic: only what a provider adds on its own (searches, stored conversations, other models)
exceeded them. :func:`find_unbounded_option` finds the options that cause this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from llmctl.core.chat import ChatResponse
from llmctl.core.messages import File

#: No tokenizer makes more tokens of a text than it has bytes. Providers add their own text: chat template, tool prompt,
#: system prompt (a few hundred tokens at most were seen).
_PROVIDER_OVERHEAD_TOKENS = 1_000
#: The most expensive image (gpt-4o-mini counts 2,833 and 5,667 for each of 8 tiles).
_IMAGE_TOKENS = 50_000
#: A PDF page is sent as text and as an image; except for small files it has more bytes than tokens.
_DOCUMENT_TOKENS = 50_000
#: A file that the provider fetches itself: its size is unknown here.
_LINKED_FILE_TOKENS = 200_000
#: If neither the request nor the price list limits the answer: the longest of today's models.
MAX_OUTPUT_TOKENS = 128_000

#: Names of the output limit, and of the number of answers, in the wires.
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict")
_ANSWER_COUNT_FIELDS = ("n", "candidateCount", "best_of")
#: Objects in a body that may contain them, besides the body itself.
_NESTED_OBJECTS = ("generationConfig", "options")

#: Options that make a provider add tokens of its own, or let another model answer.
_UNBOUNDED_OPTIONS = (
    *("tools", "plugins", "web_search_options", "search_parameters", "mcp_servers", "container", "background"),
    *("previous_response_id", "conversation", "prompt", "cachedContent", "cached_content", "models", "route"),
)


def find_unbounded_option(options: Mapping[str, Any]) -> str | None:
    """Return the option that makes the tokens of a request unpredictable, or None."""
    return next((name for name in _UNBOUNDED_OPTIONS if options.get(name)), None)


def max_input_tokens(body: bytes, files: Iterable[File], window: int | None) -> int:
    """Return the most input tokens of a request; ``body`` is what is sent, without the content of files.

    ``window`` is the model's context window: larger requests are refused and not billed.
    """
    tokens = len(body) + _PROVIDER_OVERHEAD_TOKENS + sum(map(_max_file_tokens, files))
    return tokens if window is None else min(tokens, window)


def max_output_tokens(body: bytes, window: int | None, model_limit: int | None) -> int:
    """Return the most output tokens of a request: the limit in the request, else that of the model."""
    fields = _read_fields(body)
    limits = [value for name in _LIMIT_FIELDS if _is_count(value := fields.get(name))]
    default_limit = model_limit or min(window or MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS)
    answers = max([1, *(value for name in _ANSWER_COUNT_FIELDS if _is_count(value := fields.get(name)))])
    return (min(limits) if limits else default_limit) * answers


def max_response_tokens(response: ChatResponse) -> int:
    """Return the most tokens that the text, thinking and tool calls of a response can have."""
    message = response.message
    calls = (call.name + call.arguments for call in message.tool_calls)
    return len("".join((message.text, message.thinking, *calls)).encode("utf-8", "replace"))


def _max_file_tokens(file: File) -> int:
    if file.data is None:
        return _IMAGE_TOKENS if file.media_type.startswith("image/") else _LINKED_FILE_TOKENS
    if file.media_type.startswith("image/"):
        return _IMAGE_TOKENS
    if file.media_type == "application/pdf":
        return max(_DOCUMENT_TOKENS, 2 * len(file.data))
    return len(file.data)


def _read_fields(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    objects = [nested for name in _NESTED_OBJECTS if isinstance(nested := document.get(name), Mapping)]
    return {name: value for nested in [*objects, document] for name, value in nested.items()}


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
