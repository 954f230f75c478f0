"""llm's logs.db as conversations: what ``llm`` up to 0.31 kept in ``responses``, and what later ones keep in ``turns``.

https://llm.datasette.io/en/stable/logging.html
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core.imported_conversation import Entry, History, Passed
from llmctl.core.messages import Part, Text, Thinking, ToolCall, ToolResult
from llmctl.store.adopt.convert import time_of
from llmctl.store.importers.llm_parts import Parts
from llmctl.store.importers.llm_responses import Responses
from llmctl.store.importers.llm_usage import usage

Row = Mapping[str, Any]

SOURCE = "llm"


def read(connection: sqlite3.Connection) -> Iterator[History | Passed]:
    """Yield every conversation, the oldest first; and what is left out."""
    logs = _Logs(connection)
    for id, name, model in logs.conversations():
        entries = logs.entries(id)
        if entries:
            times = [entry.at for entry in entries if entry.at]
            yield History(
                SOURCE,
                id,
                entries,
                name,
                min(times, default=None),
                max(times, default=None),
                model or entries[-1].model,
            )
    if "logs" in logs.tables and (count := connection.execute("SELECT count(*) FROM logs").fetchone()[0]):
        yield Passed(count, "rows of llm's first table, logs, which names no conversations")


class _Logs:
    """One database; tables that its version of llm does not have are empty."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._old = Responses(connection, self.tables) if "responses" in self.tables else None
        self._parts = Parts(connection) if "turns" in self.tables else None

    def conversations(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield id, name and model; a conversation that went on with a later llm stands in both places."""
        queries = []
        if self._old:
            queries.append("SELECT id, name, model FROM conversations")
        if self._parts:
            known = " WHERE id NOT IN (SELECT id FROM conversations)" if self._old else ""
            queries.append(f"SELECT id, name, NULL AS model FROM threads{known}")
        for row in self._connection.execute(" UNION ALL ".join(queries) + " ORDER BY id"):
            yield row[0], row[1], row[2]

    def entries(self, id: str) -> list[Entry]:
        found = list(self._old.entries(id, bool(self._parts))) if self._old else []
        if self._parts:
            found += self._turns(id, begun=bool(found))
        return found

    def _turns(self, thread_id: str, *, begun: bool) -> Iterator[Entry]:
        """Yield what each turn added: its chain goes back to the beginning, over what an older llm kept too."""
        assert self._parts is not None
        sql = "SELECT * FROM turns WHERE thread_id = ? ORDER BY id"
        before = None
        for turn in self._connection.execute(sql, (thread_id,)).fetchall():
            chain = self._parts.messages(before, turn["tip_message_hash"])
            yield from self._turn(turn, _last_asked(chain) if begun and before is None else chain)
            before = turn["tip_message_hash"]

    def _turn(self, turn: Row, messages: list[tuple[str, list[dict[str, Any]]]]) -> Iterator[Entry]:
        last = max((place for place, (role, _) in enumerate(messages) if role == "assistant"), default=None)
        for place, (role, parts) in enumerate(messages):
            yield Entry(
                role if role in ("system", "user", "assistant", "tool") else "user",  # type: ignore[arg-type]
                tuple(part for one in parts for part in _parts(one)),
                f"{turn['id']}#{place}",
                time_of(turn["datetime_utc"]),
                turn["model"] if role == "assistant" else None,
                usage=usage(turn) if place == last else None,
            )


def _last_asked(chain: list[tuple[str, list[dict[str, Any]]]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the end of a chain from the last question on."""
    asked = max((place for place, (role, _) in enumerate(chain) if role == "user"), default=0)
    return chain[asked:]


def _parts(one: Mapping[str, Any]) -> Iterator[Part]:
    match one["type"]:
        case "text":
            yield Text(one.get("text") or "")
        case "reasoning":
            if one.get("text"):
                yield Thinking(one["text"])
        case "tool_call":
            arguments = json.dumps(one.get("arguments") or {}, ensure_ascii=False)
            yield ToolCall(one.get("tool_call_id") or one["name"], one["name"], arguments)
        case "tool_result":
            failed = bool(one.get("exception"))
            yield ToolResult(one.get("tool_call_id") or one["name"], one["name"], one.get("output") or "", failed)
            yield from one.get("files", ())
        case "attachment":
            yield from one.get("files", ())
        case other:
            yield Text(f"[{other}]")
