"""Parse the responses of hosts: JSON objects, counts and costs, vectors; shared by all wires."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llmctl.core.chat import Usage
from llmctl.core.errors import LlmctlError, UnavailableError
from llmctl.core.redaction import mask_keys
from llmctl.core.registry import LazyFunction

if TYPE_CHECKING:
    from llmctl.core.embeddings import EmbedRequest, EmbedResponse

# Errors are rare: their module is imported for the first one.
classify_error: Callable[[Any], LlmctlError] = LazyFunction("llmctl.wire.errors:classify_error")
not_json_error: Callable[[int, bytes], LlmctlError] = LazyFunction("llmctl.wire.errors:not_json_error")

# Some hosts send unescaped line breaks inside strings.
_decode = json.JSONDecoder(strict=False).decode


def parse_object(data: str) -> dict[str, Any] | None:
    """Return the JSON object in an event; None for anything else."""
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def filter_objects(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def format_excerpt(data: str) -> str:
    """Return the start of an unreadable event on one line, with keys masked."""
    return mask_keys(" ".join(data[:200].split()))[:120]


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a response; raise UnavailableError (``not_json``) for a page or a truncated body."""
    # OpenRouter sends lines of white space before the JSON while it waits.
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise not_json_error(200, body) from None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise not_json_error(200, body)
    return answer


def top_level_error(answer: Mapping[str, Any]) -> LlmctlError | None:
    """Return the top-level error of a 200 response; None if there is none."""
    return classify_error(answer) if answer.get("error") or answer.get("object") == "error" else None


#: xAI counts in units of 1e-10 dollars.
_USD_PER_TICK = 1e-10
_UPPER_BOUND = 1e15


def parse_cost(data: Mapping[str, Any]) -> float | None:
    """Return the cost in US dollars; None if the host does not report one.

    A plain 0 is a price (free models). A 0 in a sum or in ticks means "not computed": Perplexity sends it in every
    chunk but the last, Azure for models it bills itself.
    """
    cost = data.get("cost")
    if isinstance(cost, dict):
        return parse_number(cost.get("total_cost")) or None
    if (plain := parse_number(cost)) is not None:
        return float(plain)
    return (parse_number(data.get("cost_in_usd_ticks")) or 0) * _USD_PER_TICK or None


def parse_number(value: object) -> float | None:
    """Return a plausible number: not negative and not absurdly large; None otherwise."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _UPPER_BOUND
    return value if usable else None  # type: ignore[return-value]


def parse_count(data: Mapping[str, Any], name: str) -> int:
    return int(parse_number(data.get(name)) or 0)


def get_object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


Vector = tuple[float, ...]


def parse_vector(value: Any) -> Vector:
    """Return a list of numbers as a vector; an empty vector for anything else."""
    if not isinstance(value, list) or not all(isinstance(number, int | float) for number in value):
        return ()
    return tuple(map(float, value))


def build_embed_response(
    vectors: Iterable[Vector], request: EmbedRequest, usage: Usage | None, model: Any
) -> EmbedResponse:
    """Return the response; raise UnavailableError if the number of vectors differs from that of the texts."""
    from llmctl.core.embeddings import EmbedResponse  # not needed by chats

    found = tuple(filter(None, vectors))
    if len(found) != len(request.texts):
        raise UnavailableError(
            f"the response has {len(found)} vectors for {len(request.texts)} texts",
            reason="no_answer",
            status_code=200,
        )
    return EmbedResponse(found, usage, model if isinstance(model, str) and model else None)
