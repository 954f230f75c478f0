"""Conversations as one self-contained HTML page: no scripts, light and dark, everything escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.exported_conversation import ExportedConversation, ExportedMessage
from llmctl.formats import templates
from llmctl.formats.conversations import format_file, format_remark
from llmctl.formats.exports import Conversation, tool_results

#: No scripts and nothing loaded: a message could do no harm even if it were not escaped.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)(?:^ {0,3}\1[`~]*[ \t]*$\n?|\Z)", re.MULTILINE | re.DOTALL)


def render_conversations(found: Iterable[Conversation]) -> Iterator[str]:
    """Yield the page piece by piece, one section per conversation."""
    style = templates.read_style("page/style.css")
    yield from templates.render_html("page/head.html", {"policy": _POLICY, "style": style})
    for conversation in map(Conversation.to_exported, found):
        yield from render_section(conversation)
    yield from templates.render_html("page/foot.html", {})


def render_section(conversation: ExportedConversation) -> Iterator[str]:
    """Yield one conversation as a section of a page."""
    messages = [_message_values(message) for message in conversation.messages]
    values = {"chat": conversation, "title": conversation.title, "messages": messages}
    yield from templates.render_html("page/chat.html", values)


def split_code_blocks(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the pieces of a text: whether each is code, and its text without the fence."""
    at = 0
    for fence in _FENCED.finditer(text):
        if before := text[at : fence.start()].strip("\n"):
            yield False, before
        yield True, fence[2].rstrip("\n")
        at = fence.end()
    if rest := text[at:].strip("\n"):
        yield False, rest


def _message_values(message: ExportedMessage) -> dict[str, Any]:
    is_result = message.role == "tool"
    return {
        "id": message.id,
        "role": message.role,
        "remark": format_remark(message),
        "thinking": message.thinking_text,
        "blocks": [] if is_result else list(split_code_blocks(message.content or "")),
        "calls": [{"name": call.name, "arguments": call.arguments_text} for call in message.tool_calls],
        "results": [result.content for result in tool_results(message)] if is_result else [],
        "files": list(map(format_file, message.attachments)),
    }
