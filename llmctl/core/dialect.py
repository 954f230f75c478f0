"""What a host says differently from its wire's inventor. Wires ask this, never who the provider is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Dialect:
    """Differences of one host, as data. The defaults describe OpenAI's Chat Completions as most hosts copy it."""

    #: Field that bounds the answer's length.
    max_tokens_field: str = "max_tokens"
    #: Role of system messages.
    system_role: str = "system"
    #: The host needs (or takes) ``stream_options: {"include_usage": true}`` to report usage in a stream.
    stream_usage: bool = True
    #: The stream ends with ``[DONE]``; where False, the finish reason is the terminal event.
    done_marker: bool = True
    #: Streams may end without any finish reason; then the marker alone is the terminal event.
    finish_reason_optional: bool = False
    #: Reasoning tokens come on top of the completion tokens instead of being a part of them.
    thinking_on_top: bool = False
    #: Request field for thinking: ``reasoning_effort``, ``reasoning``, ``thinking`` or None where there is none.
    thinking_field: str | None = "reasoning_effort"
    #: Field of an assistant message in which earlier thinking is given back; None where it is not wanted.
    thinking_replay_field: str | None = None
    #: Files that the host takes, by the beginnings of their media types; text is taken as a part of the prompt.
    files: tuple[str, ...] = ("image/", "video/", "audio/", "application/pdf")
    #: What a PDF is sent as: ``file`` has bytes only, the others a URL or bytes.
    document_part: Literal["file", "document_url", "file_url"] = "file"
    #: Ids of tool calls that the host takes, as an expression; others are spelled anew.
    tool_call_ids: str = r"(?s).+"
    #: What the host takes to hold an answer to a schema: the schema, the promise of an object, or nothing. What it
    #: does not take is said in words.
    schema_mode: Literal["json_schema", "json_object", "none"] = "json_schema"
    #: Path of the chat operation below the base URL.
    chat_path: str = "/chat/completions"
    #: Path of one model below the base URL, for wires that name the model and the operation in the address.
    model_path: str = "/models/{model}"
    #: Operation of such a model that embeds.
    embed_operation: str = "batchEmbedContents"
    #: Path of embeddings below the base URL.
    embeddings_path: str = "/embeddings"
    #: How pictures to begin with are sent: as a form with files, or as JSON with their addresses.
    image_edits: Literal["form", "json"] = "form"
    #: Path of the list of models below the base URL.
    models_path: str = "/models"
    #: Fields sent with every request.
    extra: Mapping[str, Any] = field(default_factory=dict)
