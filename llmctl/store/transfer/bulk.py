"""Many rows at once: within one transaction the search index and the roll-ups wait, and take in all rows together.

FTS5 writes its index out after every statement of a trigger, and the roll-ups read and write their histograms for
every request: row by row this takes far longer than the rows themselves. It would be wrong, too: a request comes
before its attempts, which tell the retries. The triggers are dropped and made again inside the transaction, so nobody
ever sees a hub without them, and no crash leaves one.
"""

from __future__ import annotations

from llmctl.store.database import Database
from llmctl.store.transfer.rollups import RollUps

#: What is done for each row that comes: indexing, counting, adding to the sums.
_TRIGGERS = ("message_search_insert", "requests_usage_insert")
_ADDS = "usage_deltas_add"
_INDEX = "INSERT INTO message_search (rowid, content) SELECT rowid, content FROM {messages} WHERE rowid > ?"
_COUNT = "INSERT INTO usage_changes SELECT 1, COLUMNS FROM {requests} WHERE rowid > ? AND status <> 'pending'"
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
        self._made: list[str] = []
        self._collects = False
        #: The last row of each table that was taken in.
        self._known: dict[str, int] = {}

    def begin(self) -> None:
        """Let index and roll-ups wait from now on."""
        sql = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        columns = self._columns("usage_deltas")
        self._collects = self._roll_ups.fit(columns)
        names = (*_TRIGGERS, _ADDS) if self._collects else _TRIGGERS
        self._made = [made for name in names if (made := self._database.value(sql, (name,)))]
        for name in names:
            self._database.execute(f"DROP TRIGGER IF EXISTS {name}")
        if self._collects:
            self._database.execute("CREATE TEMP TABLE llmctl_deltas AS SELECT * FROM usage_deltas")
            values = ", ".join(f"NEW.{name}" for name in columns)
            self._database.connection.execute(_COLLECT.replace("COLUMNS", values))
        self._mark()

    def flush(self) -> None:
        """Take in what waits."""
        before = self._known
        self._mark()
        if self._known["messages"] != before["messages"]:
            self._database.execute(_INDEX, (before["messages"],))
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
        for sql in self._made:
            self._database.connection.execute(sql)

    def _columns(self, view: str) -> list[str]:
        return [row["name"] for row in self._database.rows(f"PRAGMA table_info({view})")]

    def _mark(self) -> None:
        last = "SELECT coalesce(max(rowid), 0) FROM {%s}"
        self._known = {table: self._database.value(last % table) for table in ("messages", "requests", "network_calls")}
