"""llm's responses (up to 0.31): a row holds the prompt, the answer, and links to fragments, files and tools."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from llmctl.core.imported_conversation import Entry
from llmctl.core.messages import Part, Text, Thinking, ToolCall, ToolResult
from llmctl.store.adopt.convert import time_of
from llmctl.store.importers.llm_parts import attachment
from llmctl.store.importers.llm_usage import usage

Row = Mapping[str, Any]

_USAGE = ("input_tokens", "output_tokens", "token_details", "duration_ms", "resolved_model")


class Responses:
    """The older tables of one database. Columns and tables came one after the other: any may be missing."""

    def __init__(self, connection: sqlite3.Connection, tables: Collection[str]) -> None:
        self._connection = connection
        self._tables = tables
        self._columns = {row[1] for row in connection.execute("PRAGMA table_info(responses)")}

    def entries(self, conversation_id: str, superseded: bool) -> Iterator[Entry]:
        """Yield the messages of a conversation; with ``superseded`` without those that later tables hold too."""
        newer = " AND id NOT IN (SELECT id FROM turns)" if superseded else ""
        sql = f"SELECT * FROM responses WHERE conversation_id = ?{newer} ORDER BY id"
        system = None
        for row in self._connection.execute(sql, (conversation_id,)).fetchall():
            at = time_of(row["datetime_utc"])
            said = self._text(row, "system")
            if said and said != system:
                system = said
                yield Entry("system", (Text(said),), f"{row['id']}/system", at)
            yield from self._results(row, at)
            if prompt := self._prompt(row):
                yield Entry("user", prompt, f"{row['id']}/prompt", at)
            yield self._answer(row, at)

    def _answer(self, row: Row, at: str | None) -> Entry:
        parts: list[Part] = [Thinking(row["reasoning"])] if "reasoning" in self._columns and row["reasoning"] else []
        parts += [Text(row["response"])] if row["response"] else []
        for call in self._linked("tool_calls", row["id"]):
            parts.append(
                ToolCall(call["tool_call_id"] or f"call_{call['id']}", call["name"], call["arguments"] or "{}")
            )
        told = {name: row[name] if name in self._columns else None for name in _USAGE}
        return Entry("assistant", tuple(parts), row["id"], at, row["model"], usage=usage(told))

    def _results(self, row: Row, at: str | None) -> Iterator[Entry]:
        """What tools gave stands with the response that was told of it."""
        for result in self._linked("tool_results", row["id"]):
            part = ToolResult(result["tool_call_id"] or "", result["name"] or "", result["output"] or "")
            yield Entry("tool", (part,), f"{row['id']}/result/{result['id']}", at)

    def _prompt(self, row: Row) -> tuple[Part, ...]:
        text = self._text(row, "prompt")
        files = []
        if "prompt_attachments" in self._tables:
            sql = 'SELECT attachment_id FROM prompt_attachments WHERE response_id = ? ORDER BY "order"'
            ids = self._connection.execute(sql, (row["id"],)).fetchall()
            files = [file for (id,) in ids if (file := attachment(self._connection, id))]
        return (*((Text(text),) if text else ()), *files)

    def _text(self, row: Row, column: str) -> str:
        """Return prompt or system prompt, with the fragments that went before it."""
        pieces = []
        if f"{column}_fragments" in self._tables:
            sql = (
                f"SELECT f.content FROM {column}_fragments p JOIN fragments f ON f.id = p.fragment_id"
                ' WHERE p.response_id = ? ORDER BY p."order"'
            )
            pieces = [content for (content,) in self._connection.execute(sql, (row["id"],)).fetchall()]
        return "\n".join(piece for piece in (*pieces, row[column]) if piece)

    def _linked(self, table: str, response_id: str) -> list[Any]:
        if table not in self._tables:
            return []
        sql = f"SELECT * FROM {table} WHERE response_id = ? ORDER BY id"
        return self._connection.execute(sql, (response_id,)).fetchall()
