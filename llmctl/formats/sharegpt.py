"""ShareGPT: JSON Lines of ``{"conversations": [{"from": "human", "value": ...}, ...]}``, as fine-tuning tools read it.

https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.stored_json import dumps
from llmctl.formats.conversations import Message
from llmctl.formats.exports import Conversation, results, said

_FROM = {"system": "system", "user": "human", "assistant": "gpt"}


def conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield a line for each conversation that has an answer."""
    for conversation in found:
        turns = [turn for message in said(conversation.messages) for turn in _turns(message)]
        if any(turn["from"] == "gpt" for turn in turns):
            yield dumps({"id": conversation.chat["id"], "conversations": turns}) + "\n"


def _turns(message: Message) -> Iterator[dict[str, Any]]:
    if message["role"] == "tool":
        for result in results(message):
            yield {"from": "observation", "value": str(result.get("content", ""))}
        return
    if message["content"]:
        yield {"from": _FROM.get(message["role"], message["role"]), "value": message["content"]}
    for call in message["tool_calls"]:
        yield {"from": "function_call", "value": dumps({"name": call["name"], "arguments": call["arguments"]})}
