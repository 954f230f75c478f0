"""Messages as CSV (RFC 4180), one a row: for spreadsheets and data frames. Texts stay as they are."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.stored_json import dumps
from llmctl.formats.conversations import Message, file
from llmctl.formats.exports import Conversation, results

_COLUMNS = (
    *("chat_id", "chat", "message_id", "seq", "role", "status", "model", "created_at"),
    *("input_tokens", "output_tokens", "content", "tool_calls", "attachments"),
)


class _Line:
    """What ``csv`` writes into: the line itself."""

    def write(self, text: str) -> str:
        return text


def conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield the header and a line for each message."""
    writer: Any = csv.writer(_Line())
    yield writer.writerow(_COLUMNS)
    for conversation in found:
        for message in conversation.messages:
            yield writer.writerow(_cells(conversation, message))


def _cells(conversation: Conversation, message: Message) -> list[Any]:
    content = message["content"]
    if message["role"] == "tool" and not content:
        content = "\n".join(str(result.get("content", "")) for result in results(message))
    calls = [{"name": call["name"], "arguments": call["arguments"]} for call in message["tool_calls"]]
    return [
        *(conversation.chat["id"], conversation.chat["name"], message["id"], message["seq"], message["role"]),
        *(message["status"], message["model_id"], message["created_at"]),
        *(message["input_tokens"], message["output_tokens"], content),
        dumps(calls) if calls else None,
        "; ".join(file(one) for one in message["attachments"]) or None,
    ]
