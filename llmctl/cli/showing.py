"""Conversations on stdout: as a person reads them, as the thread has them, as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_record
from llmctl.cli.looking import called, harmless, paint
from llmctl.core import stored_json
from llmctl.engine.inspect.transcript import conversation
from llmctl.formats import text
from llmctl.store.database import Database, Row
from llmctl.store.records import threads
from llmctl.store.serialize import Shape
from llmctl.store.stats import query


def show_chat(app: App, database: Database, chat: Row, *, steps: bool, raw: bool) -> None:
    """Write a chat with its messages."""
    thread = threads.of_chat(database, chat["id"])
    found = conversation(database, thread["id"], steps=steps or raw) if thread else []
    if app.format.is_json or app.format.columns:
        record = Shape(database, "chats").record(dict(chat))
        document = record | {"messages": found, "stats": query.chat_stats(database, chat["id"])}
        emit_record(app, document, [Column(name, "json") for name in document])
        return
    if app.io.stdout_tty and not raw:
        app.io.write(paint(app, harmless(app, _title(chat)), "bold") + "\n\n")
    show_messages(app, found, raw=raw, results=not steps)


def show_messages(app: App, found: list[Row], *, raw: bool = False, results: bool = False) -> None:
    """Write messages as text; with ``raw`` their rows, one after the other."""
    safe = harmless(app, found)
    if raw:
        pieces = _raw(safe)
    else:
        pieces = text.conversation(safe, lambda line: paint(app, line, "bold"), results=results)
    for piece in pieces:
        app.io.write(piece)


def _title(chat: Row) -> str:
    party = chat["agent"] or chat["connection"]
    words = [called(chat), chat["id"][:8] if chat["name"] else None, party, chat["model"], chat["description"]]
    return "  ".join(word for word in words if word)


def _raw(found: list[Row]) -> Iterator[str]:
    """Yield each row of a thread: its place, kind and id, then its parts as JSON or else its text."""
    for row in found:
        words: list[Any] = [f"#{row['seq']}", row["role"], row["type"], row["status"], row["id"]]
        words += [row["model_id"], row["finish_reason"], row["error"]]
        parts = row["content_raw"]
        said = stored_json.dumps(parts) if parts is not None else row["content"] or ""
        calls = [f"call {stored_json.dumps(one)}\n" for one in row["tool_calls"]]
        files = [f"file {stored_json.dumps(one)}\n" for one in row["attachments"]]
        yield " ".join(str(word) for word in words if word) + f"\n{said}\n" + "".join([*calls, *files])
