"""Messages as contents: user and model, the system text apart, all results of a step together behind its calls.

https://ai.google.dev/api/caching#Content
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llmctl.core.messages import File, Message, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.gemini.files import file_part
from llmctl.wire.gemini.parts import CALL_ID, Json, encode_call, encode_text, encode_thinking, tool_name
from llmctl.wire.gemini.urls import version_of

#: Stands for the signature of a call that Google did not make, or that came without one; it is refused otherwise.
#: https://ai.google.dev/gemini-api/docs/thought-signatures (the page's FAQ)
_UNSIGNED = "skip_thought_signature_validator"
#: Stands for the beginning of a conversation that was cut off.
_BEGINNING = "(earlier messages left out)"
#: First generation that wants every step signed, and takes files inside results.
_THIRD = (3, 0)


def encode_system(messages: Iterable[Message]) -> Json | None:
    """Return the system instruction, None where there is none."""
    texts = [message.text for message in messages if message.role == "system" and message.text.strip()]
    return {"parts": [{"text": text} for text in texts]} if texts else None


def encode_contents(messages: Sequence[Message], model: str) -> list[Json]:
    """Return the contents. A message that holds nothing is left out."""
    third = version_of(model) >= _THIRD
    results = _Results(third)
    present = max((place for place, message in enumerate(messages) if message.role == "user"), default=-1)
    contents: list[Json] = []
    for place, message in enumerate(messages):
        if message.role == "tool":
            results.add(message)
            continue
        contents += results.taken()
        if message.role == "assistant":
            results.calls = {call.id: call for call in message.tool_calls}
            _append_model(contents, _model_parts(message, third and place > present))
        elif message.role == "user":
            contents += _content("user", _user_parts(message))
    return contents + results.taken()


def _append_model(contents: list[Json], parts: list[Json]) -> None:
    """Add what the model said: it never begins, and calls follow what the user or a tool said, not the model itself."""
    if not contents:
        contents += _content("user", [{"text": _BEGINNING}] if parts else [])
    if contents and contents[-1]["role"] == "model":
        contents[-1]["parts"] += parts
    else:
        contents += _content("model", parts)


class _Results:
    """The results of one step, until what comes after them begins."""

    def __init__(self, nested: bool) -> None:
        self._nested = nested
        self._responses: list[Json] = []
        self._files: list[Json] = []
        #: The calls they answer.
        self.calls: dict[str, ToolCall] = {}

    def add(self, message: Message) -> None:
        self._responses += [self._response(part) for part in message.parts if isinstance(part, ToolResult)]
        files = [file_part(part) for part in message.parts if isinstance(part, File)]
        inside = [part for part in files if self._nested and self._responses and "inlineData" in part]
        if inside:
            self._responses[-1]["functionResponse"].setdefault("parts", []).extend(inside)
        self._files += [part for part in files if part not in inside]

    def taken(self) -> list[Json]:
        contents = _content("user", self._responses) + _content("user", self._files)
        self._responses, self._files = [], []
        return contents

    def _response(self, part: ToolResult) -> Json:
        call = self.calls.get(part.call_id)
        id = call.metadata.get(CALL_ID) if call else None
        name = tool_name(call.name if call else part.name)
        said = {"error" if part.is_error else "output": part.content}
        return {"functionResponse": ({"id": id} if id else {}) | {"name": name, "response": said}}


def _content(role: str, parts: list[Json]) -> list[Json]:
    return [{"role": role, "parts": parts}] if parts else []


def _user_parts(message: Message) -> list[Json]:
    said = (part for part in message.parts if isinstance(part, File) or (isinstance(part, Text) and part.text))
    return [file_part(part) if isinstance(part, File) else {"text": part.text} for part in said]


def _model_parts(message: Message, wants_signature: bool) -> list[Json]:
    """Return the parts of an answer; thinking alone is none. Only the first of several calls is signed."""
    parts = [encoded for part in message.parts if (encoded := _model_part(part))]
    calls = [part for part in parts if "functionCall" in part]
    if wants_signature and calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = _UNSIGNED
    return parts if any(not part.get("thought") for part in parts) else []


def _model_part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return encode_text(part)
        case Thinking():
            return encode_thinking(part)
        case ToolCall():
            return encode_call(part)
        case File():
            return file_part(part)
    return None
