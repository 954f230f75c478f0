"""Conversations as plain text, for terminals and pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from llmctl.core.exported_conversation import ExportedMessage
from llmctl.formats.conversations import content_text, format_call, format_remark, message_text


def render_conversation(
    messages: Iterable[ExportedMessage],
    heading: Callable[[str], str] = str,
    *,
    results: bool = False,
    content: Callable[[ExportedMessage], str] = content_text,
) -> Iterator[str]:
    """Yield one piece of text per message; ``heading`` formats the line above it, ``content`` what it says.

    With ``results``, results follow their tool calls; a thread with all steps has messages of its own for them.
    """
    between = ""
    for message in messages:
        remark = format_remark(message)
        who = message.role + (f" ({remark})" if remark else "")
        text = message_text(message, content) if not results else _text_with_results(message, content)
        yield f"{between}{heading(f'{who}:')}\n{text}" + ("\n" if text and not text.endswith("\n") else "")
        between = "\n"


def _text_with_results(message: ExportedMessage, content: Callable[[ExportedMessage], str]) -> str:
    text = message_text(message._replace(tool_calls=()), content)
    lines = [f"{format_call(call)}\n-> {call.result or call.error or call.status}" for call in message.tool_calls]
    return "\n".join([*lines, *([text] if text else [])])
