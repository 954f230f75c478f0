"""Export formats: each is a function from conversations to pieces of text.

``jsonl`` is the lossless one and works on rows instead: see :mod:`llmctl.formats.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmctl.core.registry import Registry
from llmctl.formats.conversations import Message

LOSSLESS = "jsonl"


class Conversation(NamedTuple):
    """A chat and its complete thread: message records with ``tool_calls`` and ``attachments``."""

    chat: Mapping[str, Any]
    messages: Sequence[Message]

    @property
    def title(self) -> str:
        return str(self.chat.get("name") or self.chat.get("description") or self.chat["id"][:8])


Export = Callable[[Iterable[Conversation]], Iterator[str]]

EXPORTS: Registry[Export] = Registry(
    "format",
    "llmctl.formats",
    {
        LOSSLESS: "jsonl:format_lines",
        "markdown": "markdown:render_conversations",
        "html": "html:render_conversations",
        "csv": "csv:render_conversations",
        "openai": "openai:render_conversations",
        "sharegpt": "sharegpt:render_conversations",
    },
    group="llmctl.exports",
)


def sendable_messages(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the messages that can be sent to a model again: no placeholders, no empty ones."""
    for message in messages:
        if message["status"] != "pending" and (message["content"] or message["content_raw"] or message["tool_calls"]):
            yield message


def tool_results(message: Message) -> Iterator[Mapping[str, Any]]:
    """Yield the tool results in a message of role ``tool``: ``call_id``, ``name``, ``content``."""
    parts = message["content_raw"]
    if isinstance(parts, list) and any(part.get("type") == "tool_result" for part in parts):
        yield from (part for part in parts if part.get("type") == "tool_result")
    else:
        yield {"call_id": "", "name": "", "content": message["content"] or ""}
