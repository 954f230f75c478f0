"""Many rows at once: within one transaction the search index and the roll-ups wait, and take in all rows together.

FTS5 writes its index out after every statement of a trigger, and the roll-ups read and write their histograms for
every request: row by row this takes far longer than the rows themselves. It would be wrong, too: a request comes
before its attempts, which tell the retries. And any trigger costs, even one that finds nothing to do: without one, a
message goes in nearly twice as fast. The triggers are dropped and made again inside the transaction, so nobody ever
sees a hub without them, and no crash leaves one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.transfer_records import Record
from llmctl.store.database import Database
from llmctl.store.transfer.rollups import RollUps

#: What is done for each row that comes: indexing, counting, adding to the sums.
_TRIGGERS = ("message_search_insert", "requests_usage_insert", "tool_invocations_activity_insert")
_ADDS = "usage_deltas_add"
#: What is done for messages of other programs, which name no thread, and for all when they are where they end up.
_ADOPTS, _COUNTS = "messages_adopted", "messages_activity_insert"
#: The tables whose new rows wait.
_TABLES = ("messages", "requests", "network_calls", "tool_invocations")
_INDEX = "INSERT INTO message_search (rowid, content) SELECT rowid, content FROM {messages} WHERE rowid > ?"
_COUNT = "INSERT INTO usage_changes SELECT 1, COLUMNS FROM {requests} WHERE rowid > ? AND status <> 'pending'"
_COUNT_MESSAGES = """
INSERT INTO {activity_daily} (day, messages)
SELECT substr(created_at, 1, 10) || 'T00:00:00.000+00:00', count(*)
FROM {messages} WHERE rowid > ? AND chat_id IS NOT NULL GROUP BY 1
ON CONFLICT (day, tool) DO UPDATE SET messages = messages + excluded.messages
"""
_COUNT_CALLS = """
INSERT INTO {activity_daily} (day, tool, tool_calls, failed_tool_calls, tool_duration)
SELECT
  substr(created_at, 1, 10) || 'T00:00:00.000+00:00', name,
  count(*), sum(status = 'failed'), sum(coalesce(duration, 0))
FROM {tool_invocations} WHERE rowid > ? GROUP BY 1, 2
ON CONFLICT (day, tool) DO UPDATE SET
  tool_calls = tool_calls + excluded.tool_calls,
  failed_tool_calls = failed_tool_calls + excluded.failed_tool_calls,
  tool_duration = tool_duration + excluded.tool_duration
"""
#: What attempts add that come after their request was counted.
_RETRY = """
INSERT INTO usage_deltas
SELECT
  0 AS sign, r.created_at, lower(r.provider) AS provider, coalesce(r.response_model, r.model) AS model,
  coalesce(r.connection, '') AS connection, coalesce(r.agent, '') AS agent, coalesce(r.tag, '') AS tag, r.status,
  0 AS input_tokens, 0 AS output_tokens, 0 AS cached_tokens, 0 AS cache_write_tokens, 0 AS thinking_tokens,
  0 AS cost, 0 AS priced_requests, 0 AS unpriced_requests, 0 AS duration, 0 AS timed_requests,
  max(n.attempt) - max(1, coalesce(max(CASE WHEN n.rowid <= :network_calls THEN n.attempt END), 1)) AS retries,
  NULL AS cache_savings, NULL AS duration_bucket, NULL AS first_token_bucket
FROM {network_calls} n JOIN {requests} r ON r.id = n.request_id
WHERE r.id IN (SELECT request_id FROM {network_calls} WHERE rowid > :network_calls AND attempt > 1)
  AND r.rowid <= :requests AND r.status <> 'pending'
GROUP BY r.id
"""
_COLLECT = """
CREATE TEMP TRIGGER llmctl_collect INSTEAD OF INSERT ON main.usage_deltas
BEGIN INSERT INTO llmctl_deltas VALUES (COLUMNS); END
"""


class Bulk:
    """The waiting of one transaction; ``flush`` must be called before a row that waits is changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._roll_ups = RollUps(database)
        #: The triggers that rest, and how they are made again.
        self._resting: dict[str, str] = {}
        self._collects = False
        #: The last row of each table that was taken in.
        self._known: dict[str, int] = {}

    def begin(self) -> None:
        """Let index and roll-ups wait from now on."""
        columns = self._columns("usage_deltas")
        self._collects = self._roll_ups.fit(columns)
        self._rest(*_TRIGGERS, _ADOPTS, _COUNTS, *[_ADDS] * self._collects)
        if self._collects:
            self._database.execute("CREATE TEMP TABLE llmctl_deltas AS SELECT * FROM usage_deltas")
            values = ", ".join(f"NEW.{name}" for name in columns)
            self._database.connection.execute(_COLLECT.replace("COLUMNS", values))
        self._mark()

    def heed(self, record: Record) -> None:
        """Look at a row that is about to come: one that has to be adopted wakes the trigger which does that."""
        if record.table == "messages" and _ADOPTS in self._resting and _is_foreign(record.row):
            self.flush()
            self._wake(_ADOPTS, _COUNTS)

    def flush(self) -> None:
        """Take in what waits."""
        before = self._known
        self._mark()
        if self._known["messages"] != before["messages"]:
            self._database.execute(_INDEX, (before["messages"],))
            if _COUNTS in self._resting:
                self._database.execute(_COUNT_MESSAGES, (before["messages"],))
        if self._known["tool_invocations"] != before["tool_invocations"]:
            self._database.execute(_COUNT_CALLS, (before["tool_invocations"],))
        if self._known["requests"] != before["requests"]:
            columns = self._columns("usage_changes")[1:]
            self._database.execute(_COUNT.replace("COLUMNS", ", ".join(columns)), (before["requests"],))
        if self._known["network_calls"] != before["network_calls"]:
            self._database.execute(_RETRY, before)
        if self._collects:
            self._roll_ups.add_all()

    def end(self) -> None:
        """Take in what waits, and let the triggers do it again."""
        self.flush()
        if self._collects:
            self._database.execute("DROP TRIGGER llmctl_collect")
            self._database.execute("DROP TABLE llmctl_deltas")
        self._wake(*self._resting)

    def _rest(self, *triggers: str) -> None:
        sql = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        made = {name: self._database.value(sql, (name,)) for name in triggers}
        self._resting = {name: sql for name, sql in made.items() if sql}
        for name in self._resting:
            self._database.execute(f"DROP TRIGGER {name}")

    def _wake(self, *triggers: str) -> None:
        for name in triggers:
            if name in self._resting:
                self._database.connection.execute(self._resting.pop(name))

    def _columns(self, view: str) -> list[str]:
        return [row["name"] for row in self._database.rows(f"PRAGMA table_info({view})")]

    def _mark(self) -> None:
        last = "SELECT coalesce(max(rowid), 0) FROM {%s}"
        self._known = {table: self._database.value(last % table) for table in _TABLES}


def _is_foreign(message: Mapping[str, Any]) -> bool:
    return message.get("thread_id") is None and message.get("origin") in (None, "orm")
