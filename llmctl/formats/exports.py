"""Formats of exported conversations. Each is a function from conversations to pieces of text; ``jsonl`` is the one
that keeps everything, and works on rows: see :mod:`llmctl.formats.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmctl.core.registry import Registry
from llmctl.formats.conversations import Message

LOSSLESS = "jsonl"


class Conversation(NamedTuple):
    """A chat and its whole thread: records with ``tool_calls`` and ``attachments``."""

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
        LOSSLESS: "jsonl:lines",
        "markdown": "markdown:conversations",
        "html": "html:conversations",
        "csv": "table:conversations",
        "openai": "openai:conversations",
        "sharegpt": "sharegpt:conversations",
    },
    group="llmctl.exports",
)


def said(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield what can be said again: no placeholders, nothing that came to nothing."""
    for message in messages:
        if message["status"] != "pending" and (message["content"] or message["content_raw"] or message["tool_calls"]):
            yield message


def results(message: Message) -> Iterator[Mapping[str, Any]]:
    """Yield the results a message of the role ``tool`` holds: ``call_id``, ``name``, ``content``."""
    parts = message["content_raw"]
    if isinstance(parts, list) and any(part.get("type") == "tool_result" for part in parts):
        yield from (part for part in parts if part.get("type") == "tool_result")
    else:
        yield {"call_id": "", "name": "", "content": message["content"] or ""}
