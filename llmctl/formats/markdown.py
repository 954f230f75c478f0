"""A conversation as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmctl.core.stored_json import dumps
from llmctl.formats.conversations import Message, body, file, remark
from llmctl.formats.exports import Conversation

_FENCES = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)


def conversation(messages: Iterable[Message]) -> Iterator[str]:
    """Yield one section for each message."""
    between = ""
    for message in messages:
        said = remark(message)
        yield f"{between}## {message['role'].capitalize()}{f' ({said})' if said else ''}\n\n{_section(message)}"
        between = "\n"


def conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield every conversation under its title, its messages one level below."""
    between = ""
    for one in found:
        about = ", ".join(word for word in (one.chat["created_at"], one.chat["model"], one.chat["id"]) if word)
        yield f"{between}# {' '.join(one.title.split())}\n\n{about}\n\n"
        yield from conversation(one.messages)
        between = "\n"


def _section(message: Message) -> str:
    blocks = []
    text = body({**message, "tool_calls": (), "attachments": ()})
    if text:
        blocks.append(fenced(text) if message["role"] == "tool" else text)
    for one in message.get("tool_calls") or ():
        arguments = one["arguments"]
        blocks.append(f"Calls `{one['name']}`:")
        blocks.append(fenced(arguments if isinstance(arguments, str) else dumps(arguments), "json"))
    blocks += [f"- file: {file(one)}" for one in message.get("attachments") or ()]
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n" if blocks else "(empty)\n"


def fenced(text: str, language: str = "") -> str:
    """Return a fenced block, with more backticks than the text has in a row."""
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCES.findall(text))])
    return f"{fence}{language}\n{text}" + ("" if text.endswith("\n") else "\n") + fence
