"""Many rows at once: within one transaction the search index and the roll-up wait, and take in all rows together.

FTS5 writes its index out after every statement of a trigger, and the roll-up reads and writes its histograms for
every request: row by row this takes three times as long as the rows themselves. The triggers are dropped and made
again inside the transaction, so nobody ever sees a hub without them, and no crash leaves one.
"""

from __future__ import annotations

from llmctl.core.jsontext import dumps, loads
from llmctl.store.database import Database, Row

_TRIGGERS = ("message_search_insert", "requests_usage_insert")
_INDEX = "INSERT INTO message_search (rowid, content) SELECT rowid, content FROM {messages} WHERE rowid > ?"

#: The key, as the trigger ``requests_usage_insert`` makes it.
_KEY = ("hour", "provider", "model", "connection", "agent", "tag", "status")
_KEYS = """
strftime('%Y-%m-%dT%H:00:00.000+00:00', created_at) AS hour, lower(provider) AS provider,
coalesce(response_model, model) AS model, coalesce(connection, '') AS connection, coalesce(agent, '') AS agent,
coalesce(tag, '') AS tag, status
"""
_COST = "nullif(cost, CASE origin WHEN 'orm' THEN 0 END)"
_SUMS = f"""
SELECT {_KEYS}, count(*) AS requests,
  sum(coalesce(input_tokens, 0)) AS input_tokens, sum(coalesce(output_tokens, 0)) AS output_tokens,
  sum(coalesce(cached_tokens, 0)) AS cached_tokens, sum(coalesce(cache_write_tokens, 0)) AS cache_write_tokens,
  sum(coalesce(thinking_tokens, 0)) AS thinking_tokens, sum(coalesce({_COST}, 0)) AS cost,
  sum({_COST} IS NOT NULL) AS priced_requests,
  sum({_COST} IS NULL AND (status <> 'failed' OR coalesce(input_tokens, 0) + coalesce(output_tokens, 0) > 0))
    AS unpriced_requests,
  sum(coalesce(duration, 0)) AS duration, sum(coalesce(duration, 0) > 0) AS timed_requests,
  min(created_at) AS first_at, max(created_at) AS last_at
FROM {{requests}} WHERE rowid > :mark AND status <> 'pending' GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_COUNTS = f"""
SELECT {_KEYS}, CAST(CAST(printf('%.1e', COLUMN) AS REAL) AS INTEGER) || '' AS bucket, count(*) AS number
FROM {{requests}} WHERE rowid > :mark AND status <> 'pending' AND COLUMN > 0 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY min(rowid)
"""
_HISTOGRAMS = {"duration_histogram": "duration", "first_token_histogram": "time_to_first_token"}
_FIND = f"SELECT * FROM {{usage_hourly}} WHERE ({', '.join(_KEY)}) = ({', '.join(f':{name}' for name in _KEY)})"


class Bulk:
    """The waiting of one transaction; ``flush`` must be called before a row that waits is changed, and at its end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._made: list[str] = []
        self._messages = self._requests = 0

    def begin(self) -> None:
        """Let index and roll-up wait from now on."""
        if self._made:
            return
        sql = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        self._made = [made for name in _TRIGGERS if (made := self._database.value(sql, (name,)))]
        for name in _TRIGGERS:
            self._database.execute(f"DROP TRIGGER IF EXISTS {name}")
        self._mark()

    def flush(self) -> None:
        """Take in what waits."""
        if self._made:
            self._database.execute(_INDEX, (self._messages,))
            self._roll_up()
            self._mark()

    def end(self) -> None:
        """Take in what waits, and let the triggers do it again."""
        self.flush()
        for sql in self._made:
            self._database.connection.execute(sql)
        self._made = []

    def _mark(self) -> None:
        self._messages = self._database.value("SELECT coalesce(max(rowid), 0) FROM {messages}")
        self._requests = self._database.value("SELECT coalesce(max(rowid), 0) FROM {requests}")

    def _roll_up(self) -> None:
        mark = {"mark": self._requests}
        counts: dict[str, dict[tuple[str, ...], dict[str, int]]] = {name: {} for name in _HISTOGRAMS}
        for name, column in _HISTOGRAMS.items():
            for row in self._database.rows(_COUNTS.replace("COLUMN", column), mark):
                counts[name].setdefault(_key(row), {})[row["bucket"]] = row["number"]
        for row in self._database.query(_SUMS, mark):
            row |= {name: found.get(_key(row), {}) for name, found in counts.items()}
            self._add(row)

    def _add(self, sums: Row) -> None:
        known = self._database.one(_FIND, sums)
        merged = _merged(known, sums) if known else sums
        values = {name: dumps(value) if isinstance(value, dict) else value for name, value in merged.items()}
        if known:
            changes = ", ".join(f"{name} = :{name}" for name in values if name not in _KEY)
            where = " AND ".join(f"{name} = :{name}" for name in _KEY)
            self._database.execute(f"UPDATE {{usage_hourly}} SET {changes} WHERE {where}", values)
        else:
            marks = ", ".join(f":{name}" for name in values)
            self._database.execute(f"INSERT INTO {{usage_hourly}} ({', '.join(values)}) VALUES ({marks})", values)


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in _KEY)


def _merged(known: Row, sums: Row) -> Row:
    found = dict(sums)
    for name, value in sums.items():
        if isinstance(value, dict):
            before: dict[str, int] = loads(known[name]) or {}
            found[name] = before | {bucket: before.get(bucket, 0) + number for bucket, number in value.items()}
        elif name not in (*_KEY, "first_at", "last_at"):
            found[name] = known[name] + value
    times = [known["first_at"], sums["first_at"]], [known["last_at"], sums["last_at"]]
    found["first_at"] = min(time for time in times[0] if time)
    found["last_at"] = max(time for time in times[1] if time)
    return found
