"""A conversation as plain text, for terminals and pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from llmctl.formats.conversations import Message, body, call, remark


def conversation(
    messages: Iterable[Message], heading: Callable[[str], str] = str, *, results: bool = False
) -> Iterator[str]:
    """Yield one piece of text for each message; ``heading`` paints the line above it.

    With ``results`` what a tool gave stands under its call; a thread has a message of its own for it.
    """
    between = ""
    for message in messages:
        said = remark(message)
        who = message["role"] + (f" ({said})" if said else "")
        text = body(message) if not results else _with_results(message)
        yield f"{between}{heading(f'{who}:')}\n{text}" + ("\n" if text and not text.endswith("\n") else "")
        between = "\n"


def _with_results(message: Message) -> str:
    calls = message.get("tool_calls") or ()
    said = body({**message, "tool_calls": ()})
    lines = [f"{call(one)}\n-> {one['result'] or one['error'] or one['status']}" for one in calls]
    return "\n".join([*lines, *([said] if said else [])])
