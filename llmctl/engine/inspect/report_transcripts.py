"""The conversations that stand in a report: whole threads, without secrets, and no longer than a page should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llmctl.core.redaction.masking import Clean
from llmctl.formats.exports import Conversation
from llmctl.formats.report import tables
from llmctl.store.database import Database, Row
from llmctl.store.records import chats, messages, threads


@dataclass(frozen=True, slots=True)
class Room:
    """How many characters there is room for: of one text, and of a whole thread."""

    text: int = 20_000
    thread: int = 100_000


def conversations(database: Database, ids: Iterable[str], room: Room) -> Iterator[Conversation]:
    """Yield chats with their messages, tool calls and results; what is too long is cut, and says so."""
    clean = Clean()
    for id in ids:
        chat = chats.one(database, id)
        thread = threads.of_chat(database, id)
        found = messages.conversation(database, thread["id"], steps=True) if thread else []
        kept = [clean.value(row) for row in _within(_so_far(database, found), room)]
        yield Conversation(clean.value({**chat, "name": tables.title(chat)}), kept)


def _so_far(database: Database, found: Iterable[Row]) -> Iterator[Row]:
    for row in found:
        if row["status"] == "pending":
            from llmctl.engine.inspect import reparse  # 10 ms of wires and providers

            yield from reparse.complete(database, [row])
        else:
            yield row


def _within(found: Iterable[Row], room: Room) -> Iterator[Row]:
    left = room.thread
    rows = list(found)
    for index, row in enumerate(rows):
        if left <= 0:
            note = f"{len(rows) - index:,} more messages: llmctl chats show"
            yield {**row, "content": None, "content_raw": None, "thinking_text": None, "tool_calls": [], "error": note}
            return
        kept = row | {name: _cut(row[name], room.text) for name in ("content", "thinking_text", "content_raw")}
        kept["tool_calls"] = _cut(row["tool_calls"], room.text)
        left -= sum(_size(kept[name]) for name in ("content", "thinking_text", "content_raw", "tool_calls"))
        yield kept


def _cut(value: Any, most: int) -> Any:
    """Return a document without the end of the texts that are too long."""
    match value:
        case str() if len(value) > most:
            return f"{value[:most]}… ({len(value):,} characters in all)"
        case list():
            return [_cut(item, most) for item in value]
        case dict():
            return {key: _cut(item, most) for key, item in value.items()}
        case _:
            return value


def _size(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case list():
            return sum(map(_size, value))
        case dict():
            return sum(map(_size, value.values()))
        case _:
            return 0
