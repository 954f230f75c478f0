"""Conversations as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmctl.core.stored_json import dumps
from llmctl.formats.conversations import Message, format_file, format_remark, message_text
from llmctl.formats.exports import Conversation

_FENCES = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)


def render_conversation(messages: Iterable[Message]) -> Iterator[str]:
    """Yield one section per message."""
    between = ""
    for message in messages:
        remark = format_remark(message)
        yield f"{between}## {message['role'].capitalize()}{f' ({remark})' if remark else ''}\n\n{_section(message)}"
        between = "\n"


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield all conversations: a heading for each, and one level below for its messages."""
    between = ""
    for one in found:
        about = ", ".join(word for word in (one.chat["created_at"], one.chat["model"], one.chat["id"]) if word)
        yield f"{between}# {' '.join(one.title.split())}\n\n{about}\n\n"
        yield from render_conversation(one.messages)
        between = "\n"


def _section(message: Message) -> str:
    blocks = []
    text = message_text({**message, "tool_calls": (), "attachments": ()})
    if text:
        blocks.append(fence(text) if message["role"] == "tool" else text)
    for one in message.get("tool_calls") or ():
        arguments = one["arguments"]
        blocks.append(f"Calls `{one['name']}`:")
        blocks.append(fence(arguments if isinstance(arguments, str) else dumps(arguments), "json"))
    blocks += [f"- file: {format_file(one)}" for one in message.get("attachments") or ()]
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n" if blocks else "(empty)\n"


def fence(text: str, language: str = "") -> str:
    """Return a fenced code block; the fence is longer than any run of backticks in the text."""
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCES.findall(text))])
    return f"{fence}{language}\n{text}" + ("" if text.endswith("\n") else "\n") + fence
