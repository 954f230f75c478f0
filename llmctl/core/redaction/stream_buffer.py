"""Delay the end of a streamed text until it is known to be whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from llmctl.core.events import StreamEvent, TextDelta, ThinkingDelta, ToolCallDelta

#: Splits a text into the part to emit now and the tail to hold back.
SplitText = Callable[[str], tuple[str, str]]

TextEvent = TextDelta | ThinkingDelta | ToolCallDelta


def buffer_incomplete_tail(
    events: Iterable[StreamEvent], split: SplitText, finish_tail: Callable[[str], str]
) -> Iterator[StreamEvent]:
    """Yield the events, holding back the tail that ``split`` returns until the next event of the same part.

    A tail that nothing follows is emitted as ``finish_tail(tail)``.
    """
    held: TextEvent | None = None
    for event in events:
        if held is not None:
            if isinstance(event, TextEvent) and _continues(held, event):
                event = _with_text(event, _event_text(held) + _event_text(event))
            else:
                yield _with_text(held, finish_tail(_event_text(held)))
            held = None
        if isinstance(event, TextEvent):
            before = _event_text(event)
            text, end = split(before)
            if end:
                held = _text_only(event, end)
                if not text and _has_only_text(event):
                    continue
            event = event if text == before else _with_text(event, text)
        yield event
    if held is not None:
        yield _with_text(held, finish_tail(_event_text(held)))


def _event_text(event: TextEvent) -> str:
    return event.arguments if isinstance(event, ToolCallDelta) else event.text


def _with_text(event: TextEvent, text: str) -> TextEvent:
    return replace(event, arguments=text) if isinstance(event, ToolCallDelta) else replace(event, text=text)


def _text_only(event: TextEvent, text: str) -> TextEvent:
    """Return an event with only that text: id, name and signature are not held back."""
    if isinstance(event, TextDelta):
        return TextDelta(text, index=event.index)
    if isinstance(event, ThinkingDelta):
        return ThinkingDelta(text, index=event.index)
    return ToolCallDelta(event.index, arguments=text)


def _has_only_text(event: TextEvent) -> bool:
    """Return whether an event carries nothing but its text."""
    return event == _text_only(event, _event_text(event))


def _continues(held: TextEvent, event: TextEvent) -> bool:
    return type(held) is type(event) and held.index == event.index
