"""Messages as the Messages API wants them: the system text apart, user and assistant in turn, results first.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.messages import File, Message, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.anthropic.files import file_block
from llmctl.wire.anthropic.thinking import replayed
from llmctl.wire.anthropic.tool_ids import ToolIds
from llmctl.wire.tool_call_compat import arguments_object, fitting_name

#: Where a message keeps the blocks of an answer that its parts cannot say: what the provider's own tools did.
KEPT = "anthropic_content"
#: A conversation begins with the user; where its beginning was cut off, this stands for it.
_BEGINNING = "(earlier messages left out)"
_LONGEST_NAME = 128

Block = dict[str, Any]


def encode_messages(messages: Iterable[Message]) -> tuple[str, list[dict[str, Any]]]:
    """Return the system text and the turns. Messages of one side that follow each other make one turn.

    Blank text is left out, and so is a message that holds nothing else. Ids of calls are made acceptable.
    """
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    ids = ToolIds()
    for message in messages:
        if message.role == "system":
            system += [message.text] if message.text.strip() else []
        elif blocks := _assistant(message, ids) if message.role == "assistant" else _user(message, ids):
            _append(turns, "assistant" if message.role == "assistant" else "user", blocks)
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [_text(_BEGINNING)]})
    return "\n\n".join(system), turns


def calls_in(turns: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of the tools that earlier turns call, each once."""
    blocks = (block for turn in turns for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _append(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not turns or turns[-1]["role"] != role:
        turns.append({"role": role, "content": blocks})
        return
    content = turns[-1]["content"] + blocks
    # Nothing may stand between calls and their results.
    turns[-1]["content"] = sorted(content, key=lambda block: bool(block["type"] != "tool_result"))


def _user(message: Message, ids: ToolIds) -> list[Block]:
    """Return the blocks of a user's or a tool's message; files beside a result are a part of the last result."""
    results = [_result(part, ids) for part in message.parts if isinstance(part, ToolResult)]
    others = [block for part in message.parts if (block := _said(part))]
    if not results:
        return others
    if others:
        said = results[-1].get("content")
        results[-1]["content"] = ([_text(said)] if said else []) + others
    return results


def _said(part: Part) -> Block | None:
    if isinstance(part, File):
        return file_block(part)
    return _text(part.text) if isinstance(part, Text) and part.text.strip() else None


def _result(part: ToolResult, ids: ToolIds) -> Block:
    content = part.content if part.content.strip() else "failed" if part.is_error else ""
    return (
        {"type": "tool_result", "tool_use_id": ids.of_result(part.call_id)}
        | ({"content": content} if content else {})
        | ({"is_error": True} if part.is_error else {})
    )


def _assistant(message: Message, ids: ToolIds) -> list[Block]:
    """Return the blocks of an answer; thinking alone is none."""
    kept = message.metadata.get(KEPT)
    blocks = _as_it_came(kept, message, ids) if isinstance(kept, list) else _from_parts(message, ids)
    return blocks if any(not block["type"].endswith("thinking") for block in blocks) else []


def _from_parts(message: Message, ids: ToolIds) -> list[Block]:
    blocks: list[Block] = []
    for part in message.parts:
        if isinstance(part, Thinking) and (block := replayed(part)):
            blocks.append(block)
        elif isinstance(part, Text) and part.text.strip():
            blocks.append(_text(part.text))
        elif isinstance(part, ToolCall):
            blocks.append(_call(part, ids))
    return blocks


def _as_it_came(kept: list[Any], message: Message, ids: ToolIds) -> list[Block]:
    """Return an answer's own blocks; calls only as far as they are still part of the message."""
    calls = {call.id: call for call in message.tool_calls}
    blocks: list[Block] = []
    for block in kept:
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str) or (kind == "text" and not str(block.get("text")).strip()):
            continue
        if kind != "tool_use":
            blocks.append(block)
        elif call := calls.get(str(block.get("id"))):
            blocks.append(block | _call(call, ids))
    return blocks


def _call(call: ToolCall, ids: ToolIds) -> Block:
    return {
        "type": "tool_use",
        "id": ids.of_call(call.id),
        "name": fitting_name(call.name, _LONGEST_NAME),
        "input": arguments_object(call.arguments),
    }


def _text(text: str) -> Block:
    return {"type": "text", "text": text}
