"""Rows of a hub, in an order that depends on nothing but their content: what belongs together stands together.

First what conversations refer to (connections, agents, tools, jobs, logs, files), each row after those it names;
then each conversation with all its rows; last what belongs to none. Rows are read as they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmctl.core.transfer_records import Header, Row
from llmctl.store.database import Database
from llmctl.store.schema import ddl
from llmctl.store.serialize import Shape
from llmctl.store.transfer.layouts import Layouts
from llmctl.store.transfer.plan import LEDGER, LEFT, OF_CHAT, OF_REQUESTS, OF_THREAD, SHARED, STRAY, THREADS, Part
from llmctl.store.transfer.select import Chosen


class Reader:
    """Reads what was chosen of one hub. All of it is of one moment, however long the reading takes."""

    def __init__(self, database: Database, chosen: Chosen) -> None:
        self._database = database
        self._chosen = chosen
        self._layouts = Layouts(database)
        self._sql: dict[Part, str | None] = {}

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let the block see the hub as it is now, whatever others write meanwhile."""
        if self._database.connection.in_transaction:
            yield
            return
        self._database.connection.execute("BEGIN")
        try:
            yield
        finally:
            self._database.connection.execute("ROLLBACK")

    def header(self) -> Header:
        return Header(ddl.VERSION, self._layouts.all_fields())

    def count(self) -> int:
        """Return how many messages there are to come: for a progress bar."""
        sql = "SELECT count(*) FROM {messages}"
        if not self._chosen.whole:
            sql += self._chosen.filled(" WHERE thread_id IN THREADS")
        return int(self._database.value(sql, self._chosen.parameters))

    def rows(self) -> Iterator[Row]:
        """Yield every row, each after those it refers to."""
        for part in SHARED:
            condition = self._chosen.rows_of(part.table)
            if condition is not None:
                shared = part._replace(source=part.source.replace("WHICH", condition))
                yield from self._part(shared, self._chosen.parameters)
        yield from self._conversations()
        if self._chosen.whole:
            for part in LEFT:
                yield from self._part(part, {})

    def chats(self) -> Iterator[tuple[dict[str, Any], list[str]]]:
        """Yield each conversation as a record, and the ids of its threads."""
        shape = Shape(self._database, "chats")
        for chat in self._part(self._chats(), self._chosen.parameters):
            row = dict(zip(chat.layout.columns, chat.values, strict=True))
            threads = self._part(THREADS, {**self._chosen.parameters, "chat": row["id"]})
            yield shape.record(row), [thread.values[0] for thread in threads]

    def _chats(self) -> Part:
        return Part("chats", f"{{chats}} t WHERE {self._chosen.condition}", "t.created_at, t.id")

    def _conversations(self) -> Iterator[Row]:
        strays = self._is_any("{messages} WHERE thread_id IS NULL")
        lone = self._is_any("{response_streams} WHERE request_id IS NULL")
        of_chat = self._present((*OF_CHAT, STRAY) if strays else OF_CHAT)
        of_thread, ledger = self._present(OF_THREAD), self._present(LEDGER if lone else OF_REQUESTS)
        for chat in self._part(self._chats(), self._chosen.parameters):
            yield chat
            key: dict[str, Any] = {"chat": chat.values[0]}
            threads = list(self._part(THREADS, {**self._chosen.parameters, **key}))
            yield from threads
            for part in of_chat:
                yield from self._part(part, key)
            for thread in threads:
                for part in of_thread:
                    yield from self._part(part, {"thread": thread.values[0]})
            for part in ledger:
                yield from self._part(part, key)

    def _present(self, parts: tuple[Part, ...]) -> list[Part]:
        """Return those parts whose table has any row: a query for each conversation is too many for none."""
        tables = {part.table for part in parts}
        present = {table for table in tables if self._layouts.find(table) and self._is_any(f"{{{table}}}")}
        return [part for part in parts if part.table in present]

    def _is_any(self, source: str) -> bool:
        return bool(self._database.value(f"SELECT 1 FROM {source} LIMIT 1"))

    def _part(self, part: Part, parameters: Any) -> Iterator[Row]:
        layout = self._layouts.find(part.table)
        if layout is None:
            return
        if part not in self._sql:
            self._sql[part] = self._select(part)
        cursor = self._database.connection.execute(self._sql[part] or "", parameters)
        for values in cursor:
            yield Row(layout, values)

    def _select(self, part: Part) -> str:
        layout = self._layouts.find(part.table)
        assert layout is not None
        columns = ", ".join(self._column(part.table, name) for name in layout.columns)
        return self._database.sql(f"SELECT {columns} FROM {part.source} ORDER BY {part.order}")

    def _column(self, table: str, name: str) -> str:
        column = f"t.{ddl.quoted(name)}"
        if (table, name) == ("message_threads", "parent_id") and not self._chosen.whole:
            # The conversation it was forked from may not come along.
            return self._chosen.filled(f"CASE WHEN {column} IN THREADS THEN {column} END")
        return column
