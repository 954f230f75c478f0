"""Wire protocols as records of pure functions. Knows no HTTP client, no database and no provider's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from llmctl.core.chat import ChatRequest
from llmctl.core.dialect import Dialect
from llmctl.core.errors import LlmctlError
from llmctl.core.events import StreamEvent
from llmctl.core.http import Endpoint, HttpRequest, ServerEvent
from llmctl.core.registry import Registry

if TYPE_CHECKING:  # of which a chat needs nothing
    from llmctl.core.embeddings import EmbedRequest, EmbedResponse
    from llmctl.core.images import ImageRequest, ImageResponse


def later(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a wire that is imported when it is called: for what a chat has no need of."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"llmctl.wire.{module}"), name)(*arguments)

    return call


def accepts_nothing(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Say that a wire takes text only."""
    return False


class Embeddings(NamedTuple):
    """How a protocol embeds. Refusals are read by the wire's ``parse_error``."""

    build_request: Callable[[Endpoint, EmbedRequest], HttpRequest]
    parse_response: Callable[[bytes, EmbedRequest], EmbedResponse]
    #: Most texts that one request takes.
    most_texts: int = 2048


class Images(NamedTuple):
    """How a protocol draws. Refusals are read by the wire's ``parse_error``."""

    build_request: Callable[[Endpoint, ImageRequest], HttpRequest]
    parse_response: Callable[[bytes], ImageResponse]


@dataclass(frozen=True, slots=True)
class Wire:
    """One protocol. All functions are pure: values in, values out.

    ``parse_response`` and ``parse_stream`` yield the same events; both raise the :class:`LlmctlError` of its
    class where a 200 carries an error. ``parse_stream`` yields ``Unreadable`` for an event it cannot decode and
    goes on, and yields ``Finish`` only when the terminal event came.
    """

    name: str
    build_request: Callable[[Endpoint, ChatRequest], HttpRequest]
    parse_response: Callable[[bytes, Dialect], Iterator[StreamEvent]]
    parse_stream: Callable[[Iterable[ServerEvent], Dialect], Iterator[StreamEvent]]
    #: (status, lower-case headers, body) of an answer that is no success.
    parse_error: Callable[[int, Mapping[str, str], bytes], LlmctlError]
    build_models_request: Callable[[Endpoint], HttpRequest]
    #: Each model is ``{"id": str, ...}`` with what else the host says, in no provider's words where possible.
    parse_models: Callable[[bytes], list[dict[str, Any]]]
    framing: Literal["sse", "ndjson"] = "sse"
    #: Whether a user message may carry a file of this media type, as bytes or (``by_url``) as a URL that the
    #: provider fetches itself. Text files are the wire's to inline where it has no other way.
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
