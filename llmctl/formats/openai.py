"""Write OpenAI's chat messages: JSON Lines of ``{"messages": [...]}``, as fine-tuning and batch tools take them.

https://platform.openai.com/docs/guides/supervised-fine-tuning
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.exported_conversation import ExportedMessage, ExportedToolCall
from llmctl.core.stored_values import dumps
from llmctl.formats.exports import Conversation, sendable_messages, tool_results


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield one line per conversation that has messages."""
    for conversation in map(Conversation.to_exported, found):
        sendable = list(sendable_messages(conversation.messages))
        messages = [one for message in _drop_open_calls(sendable) for one in _to_openai_messages(message)]
        if messages:
            yield dumps({"messages": messages}) + "\n"


def _drop_open_calls(messages: list[ExportedMessage]) -> Iterator[ExportedMessage]:
    """Yield the messages without unanswered tool calls, which the API refuses."""
    answered = {result.call_id for message in messages if message.role == "tool" for result in tool_results(message)}
    for message in messages:
        calls = [call for call in message.tool_calls if call.id in answered]
        if message.content or calls or message.role == "tool":
            yield message._replace(tool_calls=calls)


def _to_openai_messages(message: ExportedMessage) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for result in tool_results(message):
            yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
        return
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [_to_openai_call(call) for call in message.tool_calls]
    yield found


def _to_openai_call(call: ExportedToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text}}
