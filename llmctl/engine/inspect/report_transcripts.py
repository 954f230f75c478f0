"""Load the conversations of a report: complete threads, masked, and truncated to a readable length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llmctl.core.redaction.masking import Masker
from llmctl.engine.inspect.transcript import with_partial_answers
from llmctl.formats.exports import Conversation
from llmctl.formats.report import tables
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, messages, threads


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """Maximum characters of one text, and of a whole thread."""

    text_chars: int = 20_000
    thread_chars: int = 100_000


def load_conversations(database: Database, ids: Iterable[str], limit: SizeLimit) -> Iterator[Conversation]:
    """Yield chats with messages, tool calls and results; long texts are cut, with a note."""
    masker = Masker()
    for id in ids:
        chat = chats.get_summary(database, id)
        thread = threads.find_for_chat(database, id)
        found = messages.conversation(database, thread.id, steps=True) if thread else []
        masked = [masker.mask_value(row) for row in _truncate_thread(with_partial_answers(database, found), limit)]
        yield Conversation(masker.mask_value({**chat, "name": tables.chat_title(chat)}), masked)


def _truncate_thread(found: Iterable[Row], limit: SizeLimit) -> Iterator[Row]:
    left = limit.thread_chars
    rows = list(found)
    for index, row in enumerate(rows):
        if left <= 0:
            note = f"{len(rows) - index:,} more messages: llmctl chats show"
            yield {**row, "content": None, "content_raw": None, "thinking_text": None, "tool_calls": [], "error": note}
            return
        truncated = row | {
            name: _truncate(row[name], limit.text_chars) for name in ("content", "thinking_text", "content_raw")
        }
        truncated["tool_calls"] = _truncate(row["tool_calls"], limit.text_chars)
        left -= sum(_text_length(truncated[name]) for name in ("content", "thinking_text", "content_raw", "tool_calls"))
        yield truncated


def _truncate(value: Any, max_chars: int) -> Any:
    """Return a JSON value with its long texts cut."""
    match value:
        case str() if len(value) > max_chars:
            return f"{value[:max_chars]}… ({len(value):,} characters in all)"
        case list():
            return [_truncate(item, max_chars) for item in value]
        case dict():
            return {key: _truncate(item, max_chars) for key, item in value.items()}
        case _:
            return value


def _text_length(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case list():
            return sum(map(_text_length, value))
        case dict():
            return sum(map(_text_length, value.values()))
        case _:
            return 0
