"""Read a hub with plain SQLite, without llmctl."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from llmctl.engine.connections import trust
from llmctl.store.opening import open_hub
from llmctl.store.records import connections
from tests.harness import gunzip

Row = dict[str, Any]


class HubFile:
    """One hub file, opened anew for each query."""

    def __init__(self, path: str) -> None:
        self.path = path

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            connection.create_function("gunzip", 1, gunzip, deterministic=True)
            return [dict(row) for row in connection.execute(sql, parameters)]

    def one(self, sql: str, *parameters: Any) -> Row:
        rows = self.rows(sql, *parameters)
        assert len(rows) == 1, rows
        return rows[0]

    def value(self, sql: str, *parameters: Any) -> Any:
        return next(iter(self.one(sql, *parameters).values()))

    @property
    def messages(self) -> list[Row]:
        """All messages, thread by thread, in order."""
        return self.rows("SELECT * FROM messages ORDER BY thread_id, seq")

    @property
    def messages_by_role(self) -> list[tuple[str, str, str]]:
        """Role, status and content of all messages."""
        return [(row["role"], row["status"], row["content"]) for row in self.messages]

    def states(self) -> dict[str, list[str]]:
        """The status of every row that has one."""
        tables = ("messages", "requests", "response_streams", "network_calls", "jobs")
        return {
            table: [row["status"] for row in self.rows(f"SELECT status FROM {table} ORDER BY rowid")]
            for table in tables
        }

    def raw(self) -> str:
        """Return the bytes of the newest stream so far: in chunks while it runs, joined afterwards."""
        kept = "gunzip(coalesce(raw_output_gz, raw_output)) AS output"
        stream = self.rows(f"SELECT id, {kept} FROM response_streams ORDER BY rowid DESC LIMIT 1")[0]
        if stream["output"] is not None:
            return str(stream["output"])
        chunks = self.rows("SELECT data FROM stream_chunks WHERE stream_id = ? ORDER BY seq", stream["id"])
        return b"".join(row["data"] for row in chunks).decode()

    def is_free(self) -> bool:
        """Whether no thread is locked."""
        return not self.rows("SELECT 1 FROM message_threads WHERE locking_job_id IS NOT NULL")

    def assert_sound(self) -> None:
        """Assert that the file and its totals are intact."""
        assert self.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert self.rows("PRAGMA foreign_key_check") == []
        # Compares the search index with the messages; raises where they differ.
        assert self.rows("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)") == []

    def connect(self, name: str, base_url: str, provider: str = "openai", model: str = "fake-1", **data: Any) -> None:
        """Add a connection that the user whose home folder the hub is in trusts, whatever is wrong with it."""
        with closing(open_hub(self.path, "write")) as database:
            columns = {"name": name, "provider": provider, "model_id": model}
            row = connections.add(database, {**columns, "data": json.dumps({"base_url": base_url, **data})})
            trust.add(database, row, {"HOME": os.path.dirname(self.path)})

    def list_side_files(self) -> list[str]:
        """Return the names of the files next to the hub that start with its name."""
        folder, name = os.path.split(self.path)
        return sorted(found for found in os.listdir(folder) if found.startswith(name) and found != name)


def parse_text(raw: str) -> str:
    """Return the text in the events of a raw stream."""
    pieces = []
    for line in raw.splitlines():
        data: Mapping[str, Any] = {}
        if line.startswith("data: {"):
            try:
                data = json.loads(line[6:])
            except ValueError:
                continue
        for choice in data.get("choices") or ():
            pieces.append(choice.get("delta", {}).get("content") or "")
    return "".join(pieces)
