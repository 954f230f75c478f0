"""OpenAI's chat messages: JSON Lines of ``{"messages": [...]}``, as fine-tuning and batch tools take them.

https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.stored_json import dumps
from llmctl.formats.conversations import Message
from llmctl.formats.exports import Conversation, results, said


def conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield a line for each conversation in which something was said."""
    for conversation in found:
        kept = [said_as for message in _answered(list(said(conversation.messages))) for said_as in _said_as(message)]
        if kept:
            yield dumps({"messages": kept}) + "\n"


def _answered(messages: list[Message]) -> Iterator[Message]:
    """Yield the messages; calls of tools that nobody answered are left out, since the API refuses them."""
    answered = {
        result.get("call_id") for message in messages if message["role"] == "tool" for result in results(message)
    }
    for message in messages:
        calls = [call for call in message["tool_calls"] if call["id"] in answered]
        if message["content"] or calls or message["role"] == "tool":
            yield {**message, "tool_calls": calls}


def _said_as(message: Message) -> Iterator[dict[str, Any]]:
    if message["role"] == "tool":
        for result in results(message):
            yield {"role": "tool", "tool_call_id": result.get("call_id"), "content": str(result.get("content", ""))}
        return
    found: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if message["tool_calls"]:
        found["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    yield found


def _call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call["arguments"]
    text = arguments if isinstance(arguments, str) else dumps(arguments)
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": text}}
