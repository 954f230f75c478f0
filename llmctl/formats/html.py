"""Conversations as one self-contained HTML page: no scripts, light and dark, Markdown rendered, the rest escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.exported_conversation import ExportedConversation, ExportedMessage
from llmctl.formats import templates
from llmctl.formats.conversations import format_file, format_remark
from llmctl.formats.exports import Conversation, tool_results
from llmctl.formats.markdown_blocks import render_html

#: No scripts and nothing loaded: a message could do no harm even if it were not escaped.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


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


def _message_values(message: ExportedMessage) -> dict[str, Any]:
    is_result = message.role == "tool"
    return {
        "id": message.id,
        "role": message.role,
        "remark": format_remark(message),
        "thinking": message.thinking_text,
        "html": "" if is_result or not message.content else render_html(message.content),
        "calls": [{"name": call.name, "arguments": call.arguments_text} for call in message.tool_calls],
        "results": [result.content for result in tool_results(message)] if is_result else [],
        "files": list(map(format_file, message.attachments)),
    }
