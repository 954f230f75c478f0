"""Hosts and HTTP as values: where a host is and how it deviates, requests to send, frames of a streamed body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llmctl.core.values import Value


class Dialect(Value):
    """How a host deviates from the original protocol. Wires look here, never at the provider's name.

    The defaults describe Chat Completions as most hosts implement it.
    """

    #: Field that limits the answer's length.
    max_tokens_field: str = "max_tokens"
    #: Role of system messages.
    system_role: str = "system"
    #: The host needs (or accepts) ``stream_options: {"include_usage": true}`` to report usage in a stream.
    stream_usage: bool = True
    #: The stream ends with ``[DONE]``; if False, the finish reason is the terminal event.
    done_marker: bool = True
    #: Streams may end without any finish reason; then the marker alone is the terminal event.
    finish_reason_optional: bool = False
    #: Reasoning tokens are not part of the completion tokens but in addition to them.
    thinking_on_top: bool = False
    #: Request field for thinking: ``reasoning_effort``, ``reasoning``, ``thinking`` or None if there is none.
    thinking_field: str | None = "reasoning_effort"
    #: Field of an assistant message in which earlier thinking is sent back; None if it is not wanted.
    thinking_replay_field: str | None = None
    #: Accepted files by media type prefix; text is always accepted as part of the prompt.
    files: tuple[str, ...] = ("image/", "video/", "audio/", "application/pdf")
    #: How a PDF is sent: ``file`` as bytes only, the others as a URL or bytes.
    document_part: Literal["file", "document_url", "file_url"] = "file"
    #: Regular expression of accepted tool call ids; other ids are replaced.
    tool_call_ids: str = r"(?s).+"
    #: How the host enforces a schema: by the schema, by guaranteeing an object, or not at all. What it does not
    #: enforce is put into the prompt.
    schema_mode: Literal["json_schema", "json_object", "none"] = "json_schema"
    #: Path of the chat operation below the base URL.
    chat_path: str = "/chat/completions"
    #: Path of one model below the base URL, for wires with the model and the operation in the URL.
    model_path: str = "/models/{model}"
    #: Embedding operation of such a model.
    embed_operation: str = "batchEmbedContents"
    #: Path of embeddings below the base URL.
    embeddings_path: str = "/embeddings"
    #: How input images are sent: as a form with files, or as JSON with URLs.
    image_edits: Literal["form", "json"] = "form"
    #: Path of the list of models below the base URL.
    models_path: str = "/models"
    #: Fields sent with every request.
    extra: Mapping[str, Any] = {}


class Endpoint(Value):
    """Where and how to reach a host. ``headers`` contain the key: never store or print them unredacted."""

    base_url: str
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    dialect: Dialect = Dialect()


class HttpRequest(Value):
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class ServerEvent(Value):
    """One frame of a stream: a server-sent event, or a line of NDJSON (``event`` is None)."""

    data: str
    event: str | None = None
