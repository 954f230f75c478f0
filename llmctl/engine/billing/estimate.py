"""The most tokens that a request can come to, told from what is sent. Never less than what is billed.

Held against recorded traffic: only what a provider adds on its own (searches, stored conversations, other models)
came to more. Options that ask for that are named by :func:`unbounded`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from llmctl.core.messages import File

#: No tokenizer makes more tokens of a text than it has bytes. Providers add words of their own: the prompt of the
#: chat template, of tools, of a house style (at most some hundreds were seen).
_WORDS_OF_THEIRS = 1_000
#: The dearest picture there is (gpt-4o-mini counts 2,833 and 5,667 for each of 8 tiles).
_OF_A_PICTURE = 50_000
#: A page of a PDF is sent as text and as a picture; it takes more bytes than it comes to tokens, but for small files.
_OF_A_DOCUMENT = 50_000
#: A file that the provider fetches itself: nobody here knows its size.
_OF_A_LINK = 200_000
#: Where neither the request nor the price list limits the answer: the longest that today's models give.
MOST_OUTPUT = 128_000

#: How wires spell the limit of an answer, and the number of answers.
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict")
_ANSWERS = ("n", "candidateCount", "best_of")
#: Where in a body they stand, beside the body itself.
_PLACES = ("generationConfig", "options")

#: Options by which a provider adds tokens that nobody here sends, or lets another model answer.
_OPEN_ENDED = (
    *("tools", "plugins", "web_search_options", "search_parameters", "mcp_servers", "container", "background"),
    *("previous_response_id", "conversation", "prompt", "cachedContent", "cached_content", "models", "route"),
)


def unbounded(options: Mapping[str, Any]) -> str | None:
    """Return the option that makes it impossible to tell what a request may come to, or None."""
    return next((name for name in _OPEN_ENDED if options.get(name)), None)


def input_tokens(body: bytes, files: Iterable[File], window: int | None) -> int:
    """Return the most tokens of a request; ``body`` is what is sent, without the content of files.

    ``window`` is the model's context: more than it takes is refused, and not billed.
    """
    tokens = len(body) + _WORDS_OF_THEIRS + sum(map(_of_file, files))
    return tokens if window is None else min(tokens, window)


def output_tokens(body: bytes, window: int | None, most: int | None) -> int:
    """Return the most tokens of the answer: the limit that is sent, else the model's own."""
    fields = _fields(body)
    limits = [value for name in _LIMITS if _is_count(value := fields.get(name))]
    own = most or min(window or MOST_OUTPUT, MOST_OUTPUT)
    answers = max([1, *(value for name in _ANSWERS if _is_count(value := fields.get(name)))])
    return (min(limits) if limits else own) * answers


def _of_file(file: File) -> int:
    if file.data is None:
        return _OF_A_PICTURE if file.media_type.startswith("image/") else _OF_A_LINK
    if file.media_type.startswith("image/"):
        return _OF_A_PICTURE
    if file.media_type == "application/pdf":
        return max(_OF_A_DOCUMENT, 2 * len(file.data))
    return len(file.data)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    inner = [place for name in _PLACES if isinstance(place := document.get(name), Mapping)]
    return {name: value for place in [*inner, document] for name, value in place.items()}


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
