"""Encode messages: system text apart, user and assistant alternating, tool results first.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UsageError
from llmctl.core.media_types import is_text
from llmctl.core.messages import File, Message, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.wire.anthropic.thinking import encode_thinking
from llmctl.wire.attachments import decode_text, encode_base64, inline_text, split_media_type
from llmctl.wire.tool_call_compat import parse_arguments, to_valid_id, to_valid_name

#: Metadata key of an answer's blocks that parts cannot represent, such as runs of the provider's own tools.
CONTENT_KEY = "anthropic_content"
#: A conversation must start with the user; this replaces a start that was cut off.
_TRUNCATED_NOTE = "(earlier messages left out)"
_MAX_NAME_LENGTH = 128

Block = dict[str, Any]


def encode_messages(messages: Iterable[Message]) -> tuple[str, list[dict[str, Any]]]:
    """Return the system text and the turns. Consecutive messages of one side form one turn.

    Blank text and empty messages are omitted. Ids of tool calls are made acceptable.
    """
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    ids = ToolIdMap()
    for message in messages:
        if message.role == "system":
            system += [message.text] if message.text.strip() else []
        elif blocks := _encode_assistant(message, ids) if message.role == "assistant" else _encode_user(message, ids):
            _append_blocks(turns, "assistant" if message.role == "assistant" else "user", blocks)
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [_text_block(_TRUNCATED_NOTE)]})
    return "\n\n".join(system), turns


def list_called_tools(turns: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of the tools that earlier turns called, without duplicates."""
    blocks = (block for turn in turns for block in turn["content"])
    return list(dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use"))


def _append_blocks(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not turns or turns[-1]["role"] != role:
        turns.append({"role": role, "content": blocks})
        return
    content = turns[-1]["content"] + blocks
    # Nothing may come between calls and their results.
    turns[-1]["content"] = sorted(content, key=lambda block: bool(block["type"] != "tool_result"))


def _encode_user(message: Message, ids: ToolIdMap) -> list[Block]:
    """Return the blocks of a user or tool message; files beside a result become part of the last result."""
    results = [_encode_result(part, ids) for part in message.parts if isinstance(part, ToolResult)]
    others = [block for part in message.parts if (block := _encode_user_part(part))]
    if not results:
        return others
    if others:
        text = results[-1].get("content")
        results[-1]["content"] = ([_text_block(text)] if text else []) + others
    return results


def _encode_user_part(part: Part) -> Block | None:
    if isinstance(part, File):
        return encode_file(part)
    return _text_block(part.text) if isinstance(part, Text) and part.text.strip() else None


def _encode_result(part: ToolResult, ids: ToolIdMap) -> Block:
    content = part.content if part.content.strip() else "failed" if part.is_error else ""
    return (
        {"type": "tool_result", "tool_use_id": ids.for_result(part.call_id)}
        | ({"content": content} if content else {})
        | ({"is_error": True} if part.is_error else {})
    )


def _encode_assistant(message: Message, ids: ToolIdMap) -> list[Block]:
    """Return the blocks of an answer; none if it has only thinking."""
    stored = message.metadata.get(CONTENT_KEY)
    blocks = _restore_content(stored, message, ids) if isinstance(stored, list) else _encode_parts(message, ids)
    return blocks if any(not block["type"].endswith("thinking") for block in blocks) else []


def _encode_parts(message: Message, ids: ToolIdMap) -> list[Block]:
    blocks: list[Block] = []
    for part in message.parts:
        if isinstance(part, Thinking) and (block := encode_thinking(part)):
            blocks.append(block)
        elif isinstance(part, Text) and part.text.strip():
            blocks.append(_text_block(part.text))
        elif isinstance(part, ToolCall):
            blocks.append(_encode_call(part, ids))
    return blocks


def _restore_content(stored: list[Any], message: Message, ids: ToolIdMap) -> list[Block]:
    """Return the original blocks of an answer, with only those calls that the message still has."""
    calls = {call.id: call for call in message.tool_calls}
    blocks: list[Block] = []
    for block in stored:
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str) or (kind == "text" and not str(block.get("text")).strip()):
            continue
        if kind != "tool_use":
            blocks.append(block)
        elif call := calls.get(str(block.get("id"))):
            blocks.append(block | _encode_call(call, ids))
    return blocks


def _encode_call(call: ToolCall, ids: ToolIdMap) -> Block:
    return {
        "type": "tool_use",
        "id": ids.for_call(call.id),
        "name": to_valid_name(call.name, _MAX_NAME_LENGTH),
        "input": parse_arguments(call.arguments),
    }


def _text_block(text: str) -> Block:
    return {"type": "text", "text": text}


_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF = "application/pdf"


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: text, PDF and four image types; PDF and images also by URL."""
    kind = _normalize_media_type(media_type)
    return kind in _IMAGES or kind == _PDF or (is_text(media_type) and not by_url)


def encode_file(file: File) -> dict[str, Any]:
    """Return the block of a file. Raises UsageError for types that the API does not accept."""
    kind = _normalize_media_type(file.media_type)
    if kind in _IMAGES:
        return {"type": "image", "source": _encode_source(file, kind)}
    if kind == _PDF:
        return {"type": "document", "source": _encode_source(file, kind)} | _title_field(file)
    if not is_text(file.media_type):
        raise UsageError(
            f"this connection does not accept {file.media_type}: {file.name or 'attachment'}",
            hint="it accepts images (jpeg, png, gif, webp), PDF and text",
            reason="attachment",
        )
    if not (text := decode_text(file)).strip():
        return {"type": "text", "text": inline_text(file)}  # Empty documents are rejected.
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}} | _title_field(
        file
    )


def _encode_source(file: File, kind: str) -> dict[str, Any]:
    if file.data is None and file.url:
        return {"type": "url", "url": file.url}
    return {"type": "base64", "media_type": kind, "data": encode_base64(file)}


def _title_field(file: File) -> dict[str, Any]:
    return {"title": file.name[:500]} if file.name else {}


def _normalize_media_type(media_type: str) -> str:
    return "/".join(split_media_type(media_type)).replace("image/jpg", "image/jpeg")


_ID = r"[a-zA-Z0-9_-]{1,64}"


class ToolIdMap:
    """Maps the call ids of one request to unique ids of letters, digits, ``_`` and ``-``.

    Other providers use other characters and longer ids, and repeat them in later turns.
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._latest: dict[str, str] = {}
        self._uses: dict[str, int] = {}

    def for_call(self, id: str) -> str:
        """Return the id to send for a call; a new one if it was used before."""
        plain = sent = to_valid_id(id, _ID)
        while sent in self._used:
            self._uses[plain] = number = self._uses.get(plain, 1) + 1
            sent = f"{plain[:56]}_{number}"
        self._used.add(sent)
        self._latest[id] = sent
        return sent

    def for_result(self, id: str) -> str:
        """Return the id of the nearest preceding call."""
        return self._latest.get(id) or to_valid_id(id, _ID)
