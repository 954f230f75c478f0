"""Conversations as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmctl.core.exported_conversation import ExportedMessage
from llmctl.formats.conversations import content_text, format_file, format_remark
from llmctl.formats.exports import Conversation

_FENCES = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)


def render_conversation(messages: Iterable[ExportedMessage]) -> Iterator[str]:
    """Yield one section per message."""
    between = ""
    for message in messages:
        remark = format_remark(message)
        yield f"{between}## {message.role.capitalize()}{f' ({remark})' if remark else ''}\n\n{_section(message)}"
        between = "\n"


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield all conversations: a heading for each, and one level below for its messages."""
    between = ""
    for one in map(Conversation.to_exported, found):
        about = ", ".join(word for word in (one.created_at, one.model, one.id) if word)
        yield f"{between}# {' '.join(one.title.split())}\n\n{about}\n\n"
        yield from render_conversation(one.messages)
        between = "\n"


def _section(message: ExportedMessage) -> str:
    blocks = []
    text = content_text(message)
    if text:
        blocks.append(fence(text) if message.role == "tool" else text)
    for call in message.tool_calls:
        blocks.append(f"Calls `{call.name}`:")
        blocks.append(fence(call.arguments_text, "json"))
    blocks += [f"- file: {format_file(file)}" for file in message.attachments]
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n" if blocks else "(empty)\n"


def fence(text: str, language: str = "") -> str:
    """Return a fenced code block; the fence is longer than any run of backticks in the text."""
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCES.findall(text))])
    return f"{fence}{language}\n{text}" + ("" if text.endswith("\n") else "\n") + fence
