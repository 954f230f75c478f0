"""Wire protocols as records of pure functions. No HTTP client, no database, no provider names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from llmctl.core.chat import ChatRequest, StreamEvent
from llmctl.core.errors import LlmctlError
from llmctl.core.http import Dialect, Endpoint, HttpRequest, ServerEvent
from llmctl.core.registry import Registry
from llmctl.core.values import Value

if TYPE_CHECKING:  # not needed by a chat
    from llmctl.core.single_requests import EmbedRequest, EmbedResponse, ImageRequest, ImageResponse
    from llmctl.wire.requests import NameRule


def accepts_nothing(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Reject every file: for wires that take text only."""
    return False


class Embeddings(Value):
    """How a protocol computes embeddings. Error responses go to the wire's ``parse_error``."""

    build_request: Callable[[Endpoint, EmbedRequest], HttpRequest]
    parse_response: Callable[[bytes, EmbedRequest], EmbedResponse]
    #: Maximum number of texts in one request.
    most_texts: int = 2048


class Images(Value):
    """How a protocol generates images. Error responses go to the wire's ``parse_error``."""

    build_request: Callable[[Endpoint, ImageRequest], HttpRequest]
    parse_response: Callable[[bytes], ImageResponse]


class Wire(Value):
    """One protocol. All functions are pure: values in, values out.

    ``parse_response`` and ``parse_stream`` yield the same events; both raise the matching :class:`LlmctlError`
    when a 200 response carries an error. ``parse_stream`` yields ``Unreadable`` for an event it cannot decode and
    continues; it yields ``Finish`` only if the terminal event arrived.
    """

    name: str
    build_request: Callable[[Endpoint, ChatRequest], HttpRequest]
    parse_response: Callable[[bytes, Dialect], Iterator[StreamEvent]]
    parse_stream: Callable[[Iterable[ServerEvent], Dialect], Iterator[StreamEvent]]
    #: Takes status, lower-case headers and body of an error response.
    parse_error: Callable[[int, Mapping[str, str], bytes], LlmctlError]
    build_models_request: Callable[[Endpoint], HttpRequest]
    #: Each model is ``{"id": str, ...}`` plus what else the host reports, under provider-neutral names if possible.
    parse_models: Callable[[bytes], list[dict[str, Any]]]
    #: The names of tools that requests may have; None: any.
    tool_names: NameRule | None = None
    framing: Literal["sse", "ndjson"] = "sse"
    #: Whether a user message may carry a file of this media type, as bytes or (``by_url``) as a URL that the
    #: provider fetches itself. A wire without another way to send text files inlines them.
    accepts: Callable[[str, bool, Dialect], bool] = accepts_nothing
    embeddings: Embeddings | None = None
    images: Images | None = None


WIRES: Registry[Wire] = Registry(
    "wire",
    "llmctl.wire",
    {
        "openai-chat": "openai_chat:WIRE",
        "openai-responses": "openai_responses:WIRE",
        "anthropic": "anthropic:WIRE",
        "gemini": "gemini:WIRE",
        "ollama": "ollama:WIRE",
        "echo": "echo:WIRE",
    },
    group="llmctl.wires",
    wanted=Wire,
)
