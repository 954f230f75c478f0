"""Write ShareGPT: JSON Lines of ``{"conversations": [{"from": "human", "value": ...}, ...]}``, for fine-tuning.

https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.exported_conversation import ExportedMessage
from llmctl.core.stored_values import dumps
from llmctl.formats.exports import Conversation, sendable_messages, tool_results

_FROM = {"system": "system", "user": "human", "assistant": "gpt"}


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield one line per conversation that has an answer."""
    for conversation in map(Conversation.to_exported, found):
        turns = [turn for message in sendable_messages(conversation.messages) for turn in _to_turns(message)]
        if any(turn["from"] == "gpt" for turn in turns):
            yield dumps({"id": conversation.id, "conversations": turns}) + "\n"


def _to_turns(message: ExportedMessage) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for result in tool_results(message):
            yield {"from": "observation", "value": result.content}
        return
    if message.content:
        yield {"from": _FROM.get(message.role, message.role), "value": message.content}
    for call in message.tool_calls:
        yield {"from": "function_call", "value": dumps({"name": call.name, "arguments": call.arguments})}
