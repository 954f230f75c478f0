"""Export formats: each is a function from conversations to pieces of text.

``jsonl`` is the lossless one and works on rows instead: see :mod:`llmctl.formats.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmctl.core.chat import HIDDEN_KEY
from llmctl.core.exported_conversation import ExportedConversation, ExportedMessage, ExportedToolResult
from llmctl.core.humanize import format_title
from llmctl.core.registry import Registry
from llmctl.core.values import Value

LOSSLESS = "jsonl"


class Conversation(Value):
    """A chat and its complete thread as records, the messages with ``tool_calls`` and ``attachments``.

    Exporters of other packages get these; the ones here take what they need with :meth:`to_exported`.
    """

    chat: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]]
    #: Records of the tools that are called, where they are known; loaded for training only.
    tools: Sequence[Mapping[str, Any]] = ()

    @property
    def title(self) -> str:
        """The name, the description, or how the conversation begins."""
        name = self.chat.get("name") or self.chat.get("description")
        prompts = (one["content"] for one in self.messages if one["role"] == "user" and one["content"])
        return format_title(name, next(prompts, None), self.chat["id"])

    def to_exported(self) -> ExportedConversation:
        """Return the conversation as a typed value."""
        return ExportedConversation(
            id=self.chat["id"],
            name=self.chat["name"],
            description=self.chat["description"],
            model=self.chat["model"],
            created_at=self.chat["created_at"],
            title=self.title,
            messages=[ExportedMessage.from_record(one) for one in self.messages if not _is_hidden(one)],
        )


def _is_hidden(message: Mapping[str, Any]) -> bool:
    metadata = message.get("metadata")
    return isinstance(metadata, Mapping) and bool(metadata.get(HIDDEN_KEY))


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


#: Formats for training; each is a function from the examples of :mod:`llmctl.formats.training`.
TRAINING: Registry[Callable[[Iterable[Any]], Iterator[str]]] = Registry(
    "format", "llmctl.formats", {"openai": "openai:render_examples", "sharegpt": "sharegpt:render_examples"}
)


def tool_results(message: ExportedMessage) -> list[ExportedToolResult]:
    """Return the results in a message of role ``tool``; other programs store one result, as the content."""
    return message.tool_results or [ExportedToolResult("", message.content or "")]
