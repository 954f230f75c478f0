"""Stored conversations as the formats render them: in exports, reports and ``chats render``.

They are read from records, which plug-in exporters get unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, Self

from llmctl.core.stored_values import dumps
from llmctl.core.values import Value


class ExportedToolCall(NamedTuple):
    """A tool call and its result. ``arguments`` are an object, or a text that is not valid JSON."""

    id: str | None
    name: str
    arguments: Any
    result: Any
    status: str
    error: str | None

    @property
    def arguments_text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else dumps(self.arguments)


class ExportedFile(NamedTuple):
    """An attachment. Its content is loaded for training only: as text, or as a data URL of a picture."""

    name: str | None
    url: str | None
    media_type: str
    size: int | None
    text: str | None = None
    data_url: str | None = None


class ExportedToolResult(Value):
    """A tool result in a message of role ``tool``; ``call_id`` is empty if the call is unknown."""

    call_id: str | None
    content: str


class ExportedMessage(NamedTuple):
    """A message. ``content_raw`` are its parts as JSON."""

    id: str
    seq: int | None
    role: str
    type: str | None
    status: str
    content: str | None
    content_raw: Any
    thinking_text: str | None
    model_id: str | None
    finish_reason: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    created_at: str
    tool_calls: Sequence[ExportedToolCall] = ()
    attachments: Sequence[ExportedFile] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the message of a record; raise KeyError if a field is missing."""
        calls, files = record["tool_calls"], record["attachments"]
        return cls._make(
            (
                *_message_values(record),
                [ExportedToolCall._make(_call_values(call)) for call in calls] if calls else (),
                list(map(_to_file, files)) if files else (),
            )
        )

    @property
    def tool_results(self) -> list[ExportedToolResult]:
        """The results in the parts of the message."""
        parts = self.content_raw if isinstance(self.content_raw, list) else ()
        return [
            ExportedToolResult(part.get("call_id"), str(part.get("content", "")))
            for part in parts
            if part.get("type") == "tool_result"
        ]


class ExportedConversation(Value):
    """A chat and the messages of its thread."""

    id: str
    name: str | None
    description: str | None
    model: str | None
    created_at: str
    title: str
    messages: Sequence[ExportedMessage]


_message_values = itemgetter(*ExportedMessage._fields[:-2])
_call_values = itemgetter(*ExportedToolCall._fields)
_file_values = itemgetter(*ExportedFile._fields[:-2])


def _to_file(record: Mapping[str, Any]) -> ExportedFile:
    return ExportedFile._make((*_file_values(record), record.get("text"), record.get("data_url")))
