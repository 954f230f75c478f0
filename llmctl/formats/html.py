"""Conversations as one HTML page that needs nothing else: no script, light and dark, whatever messages say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.stored_json import dumps
from llmctl.formats import templates
from llmctl.formats.conversations import Message, file, remark
from llmctl.formats.exports import Conversation, results

_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)(?:^ {0,3}\1[`~]*[ \t]*$\n?|\Z)", re.MULTILINE | re.DOTALL)


def conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield the page piece by piece, a section for each conversation."""
    yield from templates.page("head", {})
    for conversation in found:
        yield from section(conversation)
    yield from templates.page("foot", {})


def section(conversation: Conversation) -> Iterator[str]:
    """Yield one conversation, as a part of a page."""
    shown = [_shown(message) for message in conversation.messages]
    values = {"chat": dict(conversation.chat), "title": conversation.title, "messages": shown}
    yield from templates.page("chat", values)


def blocks(text: str) -> Iterator[tuple[bool, str]]:
    """Yield a text in pieces: whether it is code, and the piece without its fence."""
    at = 0
    for fence in _FENCED.finditer(text):
        if before := text[at : fence.start()].strip("\n"):
            yield False, before
        yield True, fence[2].rstrip("\n")
        at = fence.end()
    if rest := text[at:].strip("\n"):
        yield False, rest


def _shown(message: Message) -> dict[str, Any]:
    is_result = message["role"] == "tool"
    return {
        "id": message["id"],
        "role": message["role"],
        "remark": remark(message),
        "thinking": message["thinking_text"],
        "blocks": [] if is_result else list(blocks(message["content"] or "")),
        "calls": [{"name": call["name"], "arguments": _pretty(call["arguments"])} for call in message["tool_calls"]],
        "results": [str(result.get("content", "")) for result in results(message)] if is_result else [],
        "files": [file(one) for one in message["attachments"]],
    }


def _pretty(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else dumps(arguments)
