"""Write OpenAI's chat messages: JSON Lines of ``{"messages": [...]}``, as fine-tuning and batch tools take them.

https://platform.openai.com/docs/guides/supervised-fine-tuning
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.exported_conversation import ExportedMessage, ExportedToolCall
from llmctl.core.imported_conversation import SkipCounter
from llmctl.core.stored_values import dumps
from llmctl.formats.exports import Conversation, tool_results
from llmctl.formats.training import Example, list_examples

_NOT_IN_NAMES, _MAX_NAME_LENGTH = re.compile(r"[^a-zA-Z0-9_-]"), 64


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield one line per conversation that has a complete answer."""
    return render_examples(list_examples(found, SkipCounter()))


def render_examples(examples: Iterable[Example]) -> Iterator[str]:
    """Yield one line per example."""
    for example in examples:
        line: dict[str, Any] = {"messages": [one for message in example.messages for one in _to_messages(message)]}
        if example.tools:
            line["tools"] = list(map(_to_tool, example.tools))
        yield dumps(line) + "\n"


def _to_messages(message: ExportedMessage) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for result in tool_results(message):
            yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
        return
    found: dict[str, Any] = {"role": message.role, "content": _to_content(message)}
    if message.tool_calls:
        found["tool_calls"] = [_to_call(call) for call in message.tool_calls]
    yield found


def _to_content(message: ExportedMessage) -> Any:
    pictures = [file.data_url for file in message.attachments if file.data_url and message.role == "user"]
    if not pictures:
        return message.content
    text = [{"type": "text", "text": message.content}] if message.content else []
    return [*text, *({"type": "image_url", "image_url": {"url": url}} for url in pictures)]


def _to_call(call: ExportedToolCall) -> dict[str, Any]:
    arguments = dumps({"arguments": call.arguments}) if isinstance(call.arguments, str) else call.arguments_text
    return {"id": call.id, "type": "function", "function": {"name": _to_name(call.name), "arguments": arguments}}


def _to_tool(tool: dict[str, Any]) -> dict[str, Any]:
    return tool | {"function": tool["function"] | {"name": _to_name(tool["function"]["name"])}}


def _to_name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_MAX_NAME_LENGTH]
