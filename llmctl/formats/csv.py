"""Messages as CSV (RFC 4180), one per row, for spreadsheets and data frames. Texts are not changed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.exported_conversation import ExportedConversation, ExportedMessage
from llmctl.core.stored_values import dumps
from llmctl.formats.conversations import format_file
from llmctl.formats.exports import Conversation, tool_results

_COLUMNS = (
    *("chat_id", "chat", "message_id", "seq", "role", "status", "model", "created_at"),
    *("input_tokens", "output_tokens", "content", "tool_calls", "attachments"),
)


class _EchoWriter:
    """A file for ``csv.writer`` that returns each line instead of storing it."""

    def write(self, text: str) -> str:
        return text


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield the header, then one line per message."""
    writer: Any = csv.writer(_EchoWriter())
    yield writer.writerow(_COLUMNS)
    for conversation in map(Conversation.to_exported, found):
        for message in conversation.messages:
            yield writer.writerow(_message_cells(conversation, message))


def _message_cells(conversation: ExportedConversation, message: ExportedMessage) -> list[Any]:
    content = message.content
    if message.role == "tool" and not content:
        content = "\n".join(result.content for result in tool_results(message))
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    return [
        *(conversation.id, conversation.name, message.id, message.seq, message.role),
        *(message.status, message.model_id, message.created_at),
        *(message.input_tokens, message.output_tokens, content),
        dumps(calls) if calls else None,
        "; ".join(map(format_file, message.attachments)) or None,
    ]
