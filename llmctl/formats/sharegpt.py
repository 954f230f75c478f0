"""Write ShareGPT: JSON Lines of ``{"conversations": [{"from": "human", "value": ...}, ...]}``, for fine-tuning.

LLaMA-Factory takes only turns that alternate between ``human`` or ``observation`` and ``gpt`` or ``function_call``:
https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmctl.core.exported_conversation import ExportedMessage, ExportedToolCall
from llmctl.core.imported_conversation import SkipCounter
from llmctl.core.stored_values import dumps
from llmctl.formats.exports import Conversation, tool_results
from llmctl.formats.training import Example, list_examples

Turn = dict[str, str]
_FROM = {"system": "system", "user": "human", "assistant": "gpt"}
_CALL, _RESULT = "function_call", "observation"


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield one line per conversation that has a complete answer."""
    return render_examples(list_examples(found, SkipCounter()))


def render_examples(examples: Iterable[Example]) -> Iterator[str]:
    """Yield one line per example."""
    for example in examples:
        turns: list[Turn] = []
        for turn in map(_to_turn, example.messages):
            _add_turn(turns, turn)
        line = {"id": example.conversation.chat["id"], "conversations": turns}
        if example.tools:
            line["tools"] = dumps([tool["function"] for tool in example.tools])
        yield dumps(line) + "\n"


def _to_turn(message: ExportedMessage) -> Turn:
    """Return a message as a turn. Text before a call has no place in it."""
    if message.role == "tool":
        return {"from": _RESULT, "value": "\n".join(result.content for result in tool_results(message))}
    if message.tool_calls:
        calls = [_to_call(call) for call in message.tool_calls]
        return {"from": _CALL, "value": dumps(calls[0] if len(calls) == 1 else calls)}
    return {"from": _FROM[message.role], "value": message.content or ""}


def _to_call(call: ExportedToolCall) -> dict[str, object]:
    return {"name": call.name, "arguments": call.arguments}


def _add_turn(turns: list[Turn], turn: Turn) -> None:
    """Add a turn; one of the same speaker as the last is joined with it."""
    last = turns[-1] if turns else None
    if last is not None and last["from"] == turn["from"] != _CALL:
        last["value"] = f"{last['value']}\n{turn['value']}"
    elif last is not None and (last["from"], turn["from"]) == ("gpt", _CALL):
        turns[-1] = turn
    else:
        turns.append(turn)
