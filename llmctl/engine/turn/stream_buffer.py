"""Text that cannot go on yet: its end may be half of something, and the other half comes with the next event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from llmctl.core.events import StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta

#: Splits a text into what may go on and an end that has to wait.
Cut = Callable[[str], tuple[str, str]]

Spoken = TextDelta | ThinkingDelta | ToolCallDelta


def hold_back(events: Iterable[StreamEvent], cut: Cut, leftover: Callable[[str], str]) -> Iterator[StreamEvent]:
    """Yield events with the texts that ``cut`` lets go on; an end that waited in vain comes as ``leftover`` has it."""
    held: Spoken | None = None
    for event in events:
        if held is not None:
            if isinstance(event, Spoken) and _continues(held, event):
                event = _with(event, _text(held) + _text(event))
            else:
                yield _with(held, leftover(_text(held)))
            held = None
        if isinstance(event, Spoken):
            before = _text(event)
            text, end = cut(before)
            if end:
                held = _only(event, end)
                if not text and _is_bare(event):
                    continue
            event = event if text == before else _with(event, text)
        yield event
    if held is not None:
        yield _with(held, leftover(_text(held)))


def _text(event: Spoken) -> str:
    return event.arguments if isinstance(event, ToolCallDelta) else event.text


def _with(event: Spoken, text: str) -> Spoken:
    return replace(event, arguments=text) if isinstance(event, ToolCallDelta) else replace(event, text=text)


def _only(event: Spoken, text: str) -> Spoken:
    """Return an event with that text and nothing else: id, name and signature go on at once."""
    if isinstance(event, TextDelta):
        return TextDelta(text, index=event.index)
    if isinstance(event, ThinkingDelta):
        return ThinkingDelta(text, index=event.index)
    return ToolCallDelta(event.index, arguments=text)


def _is_bare(event: Spoken) -> bool:
    """Say whether an event says nothing beside its text."""
    return event == _only(event, _text(event))


def _continues(held: Spoken, event: Spoken) -> bool:
    return type(held) is type(event) and held.index == event.index
