"""Encode messages as contents: user and model, system text apart, all results of a step right after its calls.

https://ai.google.dev/api/caching#Content
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.media_types import is_text
from llmctl.core.messages import File, Message, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.attachments import encode_base64, inline_text, split_media_type
from llmctl.wire.gemini.thinking import parse_version
from llmctl.wire.tool_call_compat import parse_arguments

#: Signature of a call that Google did not make or sign; the API rejects such calls otherwise.
#: https://ai.google.dev/gemini-api/docs/thought-signatures (the page's FAQ)
_MISSING_SIGNATURE = "skip_thought_signature_validator"
#: Replaces the start of a conversation that was cut off.
_TRUNCATED_NOTE = "(earlier messages left out)"
#: First generation that requires signed steps and accepts files inside results.
_GEMINI_3 = (3, 0)


def encode_system(messages: Iterable[Message]) -> Json | None:
    """Return the system instruction; None if there is none."""
    texts = [message.text for message in messages if message.role == "system" and message.text.strip()]
    return {"parts": [{"text": text} for text in texts]} if texts else None


def encode_contents(messages: Sequence[Message], model: str) -> list[Json]:
    """Return the contents. Empty messages are omitted."""
    is_gemini_3 = parse_version(model) >= _GEMINI_3
    results = _ToolResults(is_gemini_3)
    present = max((place for place, message in enumerate(messages) if message.role == "user"), default=-1)
    contents: list[Json] = []
    for place, message in enumerate(messages):
        if message.role == "tool":
            results.add(message)
            continue
        contents += results.take_contents()
        if message.role == "assistant":
            results.calls = {call.id: call for call in message.tool_calls}
            _append_model(contents, _encode_model_parts(message, is_gemini_3 and place > present))
        elif message.role == "user":
            contents += _make_content("user", _encode_user_parts(message))
    return contents + results.take_contents()


def _append_model(contents: list[Json], parts: list[Json]) -> None:
    """Append the model's parts: the user must come first, and consecutive model messages become one."""
    if not contents:
        contents += _make_content("user", [{"text": _TRUNCATED_NOTE}] if parts else [])
    if contents and contents[-1]["role"] == "model":
        contents[-1]["parts"] += parts
    else:
        contents += _make_content("model", parts)


class _ToolResults:
    """Collects the results of one step until the next message."""

    def __init__(self, nested: bool) -> None:
        self._nested = nested
        self._responses: list[Json] = []
        self._files: list[Json] = []
        #: The calls that the results answer.
        self.calls: dict[str, ToolCall] = {}

    def add(self, message: Message) -> None:
        self._responses += [self._encode_result(part) for part in message.parts if isinstance(part, ToolResult)]
        files = [encode_file(part) for part in message.parts if isinstance(part, File)]
        inside = [part for part in files if self._nested and self._responses and "inlineData" in part]
        if inside:
            self._responses[-1]["functionResponse"].setdefault("parts", []).extend(inside)
        self._files += [part for part in files if part not in inside]

    def take_contents(self) -> list[Json]:
        contents = _make_content("user", self._responses) + _make_content("user", self._files)
        self._responses, self._files = [], []
        return contents

    def _encode_result(self, part: ToolResult) -> Json:
        call = self.calls.get(part.call_id)
        id = call.metadata.get(CALL_ID) if call else None
        name = to_valid_tool_name(call.name if call else part.name)
        payload = {"error" if part.is_error else "output": part.content}
        return {"functionResponse": ({"id": id} if id else {}) | {"name": name, "response": payload}}


def _make_content(role: str, parts: list[Json]) -> list[Json]:
    return [{"role": role, "parts": parts}] if parts else []


def _encode_user_parts(message: Message) -> list[Json]:
    payload = (part for part in message.parts if isinstance(part, File) or (isinstance(part, Text) and part.text))
    return [encode_file(part) if isinstance(part, File) else {"text": part.text} for part in payload]


def _encode_model_parts(message: Message, wants_signature: bool) -> list[Json]:
    """Return the parts of an answer; none if it has only thinking. Of several calls only the first is signed."""
    parts = [encoded for part in message.parts if (encoded := _encode_model_part(part))]
    calls = [part for part in parts if "functionCall" in part]
    if wants_signature and calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = _MISSING_SIGNATURE
    return parts if any(not part.get("thought") for part in parts) else []


def _encode_model_part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return encode_text(part)
        case Thinking():
            return encode_thinking(part)
        case ToolCall():
            return encode_call(part)
        case File():
            return encode_file(part)
    return None


#: Marks thinking that this wire produced; thinking of other providers is not sent to Google.
ORIGIN = "gemini"
#: Metadata key of a text or call: the signature of its part.
SIGNATURE = "thought_signature"
#: Metadata key of a call: its id from Google, which is often missing.
CALL_ID = "gemini_id"
#: Metadata key of a part that we have no type for (code that Google ran, an image in an answer): the original part.
PART = "gemini_part"

Json = dict[str, Any]


def thinking_metadata(part: Mapping[str, Any]) -> Json:
    """Return the metadata of a thinking part, or of a part that is kept unchanged."""
    if part.get("thought") and "text" in part:
        return {"wire": ORIGIN}
    return {"wire": ORIGIN, PART: {name: value for name, value in part.items() if name != "thoughtSignature"}}


def encode_text(part: Text) -> Json | None:
    """Return a text part; an empty text is kept only if it is signed."""
    signed = _signature_field(part.metadata)
    return {"text": part.text} | signed if part.text or signed else None


def encode_thinking(part: Thinking) -> Json | None:
    """Return the original part; None if another provider's model produced it."""
    if part.metadata.get("wire") != ORIGIN:
        return None
    stored = part.metadata.get(PART)
    encoded = dict(stored) if isinstance(stored, dict) else {"text": part.text, "thought": True}
    return encoded | ({"thoughtSignature": part.signature} if part.signature else {})


def encode_call(call: ToolCall) -> Json:
    id = call.metadata.get(CALL_ID)
    payload = ({"id": id} if id else {}) | {
        "name": to_valid_tool_name(call.name),
        "args": parse_arguments(call.arguments),
    }
    return {"functionCall": payload} | _signature_field(call.metadata)


def to_valid_tool_name(name: str) -> str:
    """Return the name of an earlier call in accepted characters."""
    plain = re.sub(r"[^a-zA-Z0-9_.:-]", "_", name)
    return (plain if re.match("[a-zA-Z_]", plain) else f"_{plain}")[:64]


def _signature_field(metadata: Mapping[str, Any]) -> Json:
    signature = metadata.get(SIGNATURE) or _compatible_signature(metadata)
    return {"thoughtSignature": signature} if signature else {}


def _compatible_signature(metadata: Mapping[str, Any]) -> Any:
    """Return the signature received through Google's copy of Chat Completions."""
    extra = metadata.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


#: https://ai.google.dev/gemini-api/docs/image-understanding
_IMAGE_SUBTYPES = ("png", "jpeg", "jpg", "webp", "heic", "heif", "bmp")


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: images, video and PDF, also by URL; audio and text as bytes.

    https://ai.google.dev/gemini-api/docs/file-input-methods
    """
    kind, subtype = split_media_type(media_type)
    if is_text(media_type) or kind == "audio":
        return not by_url
    return kind == "video" or (kind == "image" and subtype in _IMAGE_SUBTYPES) or subtype == "pdf"


def encode_file(file: File) -> dict[str, Any]:
    """Return the part of a file. Raises UsageError for a text that is only a URL."""
    if is_text(file.media_type):
        return {"text": inline_text(file)}
    kind = "/".join(split_media_type(file.media_type)).replace("image/jpg", "image/jpeg")
    if file.data is None and file.url:
        return {"fileData": {"mimeType": kind, "fileUri": file.url}}
    return {"inlineData": {"mimeType": kind, "data": encode_base64(file)}}
