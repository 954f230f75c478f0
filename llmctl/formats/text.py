"""Conversations as plain text, for terminals and pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from llmctl.formats.conversations import Message, format_call, format_remark, message_text


def render_conversation(
    messages: Iterable[Message], heading: Callable[[str], str] = str, *, results: bool = False
) -> Iterator[str]:
    """Yield one piece of text per message; ``heading`` formats the line above it.

    With ``results``, results follow their tool calls; a thread with all steps has messages of its own for them.
    """
    between = ""
    for message in messages:
        remark = format_remark(message)
        who = message["role"] + (f" ({remark})" if remark else "")
        text = message_text(message) if not results else _text_with_results(message)
        yield f"{between}{heading(f'{who}:')}\n{text}" + ("\n" if text and not text.endswith("\n") else "")
        between = "\n"


def _text_with_results(message: Message) -> str:
    calls = message.get("tool_calls") or ()
    text = message_text({**message, "tool_calls": ()})
    lines = [f"{format_call(one)}\n-> {one['result'] or one['error'] or one['status']}" for one in calls]
    return "\n".join([*lines, *([text] if text else [])])
