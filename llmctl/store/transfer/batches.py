"""Bulk inserts: within a transaction, search index and roll-ups are updated once for all rows.

FTS5 flushes its index after every statement of a trigger, and the roll-ups read and write their histograms for
every request: row by row this takes far longer than the rows themselves. It would also be wrong: a request comes
before its attempts, which determine the retries. And every trigger costs, even one with nothing to do: without it a
message is inserted nearly twice as fast. The triggers are dropped and recreated inside the transaction, so no process
ever sees a hub without them, and no crash leaves one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from llmctl.core.errors import IncompleteError
from llmctl.core.stored_values import dumps, loads
from llmctl.core.transfer_records import ImportRow, MergeResult
from llmctl.store.database import Database, Row
from llmctl.store.schema import ddl
from llmctl.store.transfer.merge import Merger
from llmctl.store.transfer.read import SHARED_TABLES

#: Triggers per new row: indexing, counting, adding to the totals.
_TRIGGERS = (
    *("message_search_insert", "requests_usage_insert"),
    *("tool_invocations_activity_insert", "tool_invocations_usage_insert"),
)
_ADD_TRIGGER = "usage_deltas_add"
#: Triggers that give messages of other programs a thread, and that count messages once they have one.
_ADOPT_TRIGGER, _COUNT_TRIGGER = "messages_adopted", "messages_activity_insert"
#: Tables whose new rows are processed in bulk.
_TABLES = ("messages", "requests", "network_calls", "tool_invocations")
_INDEX = "INSERT INTO message_search (rowid, content) SELECT rowid, content FROM {messages} WHERE rowid > ?"
_COUNT = "INSERT INTO usage_changes SELECT 1, COLUMNS, NULL FROM {requests} WHERE rowid > ? AND status <> 'pending'"
#: Requests that were counted before: they called tools.
_COUNT_FOR_TOOL = """
INSERT INTO usage_changes SELECT 1, COLUMNS, i.name FROM (
  SELECT DISTINCT n.message_id, n.name FROM {tool_invocations} n
  WHERE n.rowid > :tool_invocations AND NOT EXISTS (SELECT 1 FROM {tool_invocations} o
    WHERE o.message_id = n.message_id AND o.name = n.name AND o.rowid <= :tool_invocations)
) i JOIN {requests} r ON r.message_id = i.message_id WHERE r.rowid <= :requests AND r.status <> 'pending'
"""
_COUNT_NOT_WITHOUT_TOOL = """
INSERT INTO usage_changes SELECT -1, COLUMNS, '' FROM {requests} r
WHERE r.message_id IN (SELECT message_id FROM {tool_invocations} WHERE rowid > :tool_invocations)
  AND NOT EXISTS (SELECT 1 FROM {tool_invocations} o
    WHERE o.message_id = r.message_id AND o.rowid <= :tool_invocations)
  AND r.rowid <= :requests AND r.status <> 'pending'
"""
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
#: Retries of attempts that come after their request was counted.
_RETRY = """
INSERT INTO usage_deltas
SELECT
  0 AS sign, r.created_at, lower(r.provider) AS provider, coalesce(r.response_model, r.model) AS model,
  coalesce(r.connection, '') AS connection, coalesce(r.agent, '') AS agent, coalesce(r.tag, '') AS tag, r.status,
  0 AS input_tokens, 0 AS output_tokens, 0 AS cached_tokens, 0 AS cache_write_tokens, 0 AS thinking_tokens,
  0 AS cost, 0 AS priced_requests, 0 AS unpriced_requests, 0 AS duration, 0 AS timed_requests,
  max(n.attempt) - max(1, coalesce(max(CASE WHEN n.rowid <= :network_calls THEN n.attempt END), 1)) AS retries,
  NULL AS cache_savings, NULL AS duration_bucket, NULL AS first_token_bucket,
  coalesce(r.script, '') AS script, coalesce(r.folder, '') AS folder, r.message_id,
  0 AS cached_requests, 0 AS saved_cost, NULL AS tool
FROM {network_calls} n JOIN {requests} r ON r.id = n.request_id
WHERE r.id IN (SELECT request_id FROM {network_calls} WHERE rowid > :network_calls AND attempt > 1)
  AND r.rowid <= :requests AND r.status <> 'pending'
GROUP BY r.id
"""
_COLLECT = """
CREATE TEMP TRIGGER llmctl_collect INSTEAD OF INSERT ON main.usage_deltas
BEGIN INSERT INTO llmctl_deltas VALUES (COLUMNS); END
"""
#: Unit -> length of the prefix of a time, and the suffix that completes it.
_UNITS = {
    "hour": (13, ":00:00.000+00:00"),
    "day": (10, "T00:00:00.000+00:00"),
    "month": (7, "-01T00:00:00.000+00:00"),
}
#: Every delta once for each label that it counts for.
_LABELLED = """
  SELECT d.*, 'script' AS kind, d.script AS label FROM llmctl_deltas d WHERE d.tool IS NULL
  UNION ALL SELECT d.*, 'folder', d.folder FROM llmctl_deltas d WHERE d.tool IS NULL
  UNION ALL SELECT d.*, 'tool', d.tool FROM llmctl_deltas d WHERE d.tool IS NOT NULL
  UNION ALL SELECT d.*, 'tool', i.name FROM llmctl_deltas d JOIN (
    SELECT DISTINCT message_id, name FROM {tool_invocations}
    WHERE message_id IN (SELECT message_id FROM llmctl_deltas)
  ) i ON i.message_id = d.message_id WHERE d.tool IS NULL
  UNION ALL SELECT d.*, 'tool', '' FROM llmctl_deltas d WHERE d.tool IS NULL
    AND NOT EXISTS (SELECT 1 FROM {tool_invocations} i WHERE i.message_id = d.message_id)
"""
_LABEL_KEYS = ("unit", "period", "kind", "label")
_HISTOGRAM = "_histogram"
_EARLIEST, _LATEST = "first_at", "last_at"
_MINUS = "-"
#: Totals that are not columns of ``usage_deltas``.
_OF_SIGNS = {"requests": "sign", "failed_requests": "sign * (status = 'failed')"}


class BulkInsert:
    """Bulk processing of one transaction; call ``flush`` before changing a row inserted in it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._roll_ups = Rollups(database)
        #: Name -> SQL of the disabled triggers.
        self._disabled: dict[str, str] = {}
        self._collects_deltas = False
        #: Table -> rowid of the last processed row.
        self._last_rowids: dict[str, int] = {}

    def begin(self) -> None:
        """Disable the triggers of index and roll-ups."""
        columns = self._columns("usage_deltas")
        self._collects_deltas = self._roll_ups.can_compute(columns)
        self._disable(*_TRIGGERS, _ADOPT_TRIGGER, _COUNT_TRIGGER, *[_ADD_TRIGGER] * self._collects_deltas)
        if self._collects_deltas:
            self._database.execute("CREATE TEMP TABLE llmctl_deltas AS SELECT * FROM usage_deltas")
            values = ", ".join(f"NEW.{name}" for name in columns)
            self._database.connection.execute(_COLLECT.replace("COLUMNS", values))
        self._mark_rowids()

    def before_insert(self, record: ImportRow) -> None:
        """Prepare for a row about to be inserted: a message to adopt needs the trigger that does so."""
        if record.table == "messages" and _ADOPT_TRIGGER in self._disabled and _is_foreign(record.row):
            self.flush()
            self._enable(_ADOPT_TRIGGER, _COUNT_TRIGGER)

    def flush(self) -> None:
        """Process the rows inserted so far."""
        before = self._last_rowids
        self._mark_rowids()
        if self._last_rowids["messages"] != before["messages"]:
            self._database.execute(_INDEX, (before["messages"],))
            if _COUNT_TRIGGER in self._disabled:
                self._database.execute(_COUNT_MESSAGES, (before["messages"],))
        if self._last_rowids["tool_invocations"] != before["tool_invocations"]:
            self._database.execute(_COUNT_CALLS, (before["tool_invocations"],))
            listed = ", ".join(f"r.{name}" for name in self._columns("usage_changes")[1:-1])
            self._database.execute(_COUNT_NOT_WITHOUT_TOOL.replace("COLUMNS", listed), before)
            self._database.execute(_COUNT_FOR_TOOL.replace("COLUMNS", listed), before)
        if self._last_rowids["requests"] != before["requests"]:
            columns = self._columns("usage_changes")[1:-1]
            self._database.execute(_COUNT.replace("COLUMNS", ", ".join(columns)), (before["requests"],))
        if self._last_rowids["network_calls"] != before["network_calls"]:
            self._database.execute(_RETRY, before)
        if self._collects_deltas:
            self._roll_ups.add_all()

    def end(self) -> None:
        """Process the rows inserted so far, and enable the triggers again."""
        self.flush()
        if self._collects_deltas:
            self._database.execute("DROP TRIGGER llmctl_collect")
            self._database.execute("DROP TABLE llmctl_deltas")
        self._enable(*self._disabled)

    def _disable(self, *triggers: str) -> None:
        sql = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        made = {name: self._database.value(sql, (name,)) for name in triggers}
        self._disabled = {name: sql for name, sql in made.items() if sql}
        for name in self._disabled:
            self._database.execute(f"DROP TRIGGER {name}")

    def _enable(self, *triggers: str) -> None:
        for name in triggers:
            if name in self._disabled:
                self._database.connection.execute(self._disabled.pop(name))

    def _columns(self, view: str) -> list[str]:
        return [row["name"] for row in self._database.rows(f"PRAGMA table_info({view})")]

    def _mark_rowids(self) -> None:
        last = "SELECT coalesce(max(rowid), 0) FROM {%s}"
        self._last_rowids = {table: self._database.value(last % table) for table in _TABLES}


def _is_foreign(message: Mapping[str, Any]) -> bool:
    return message.get("thread_id") is None and message.get("origin") in (None, "orm")


@dataclass(frozen=True, slots=True)
class _Rollup:
    """A roll-up table: its columns by the way they are merged."""

    table: str
    unit: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    histograms: tuple[str, ...]
    source: str = "llmctl_deltas WHERE tool IS NULL"

    @property
    def key_sql(self) -> str:
        length, rest = _UNITS[self.unit]
        time = f"substr(created_at, 1, {length}) || '{rest}'"
        values = {self.unit: time, "period": time, "unit": f"'{self.unit}'"}
        return ", ".join(f"{values.get(key, key)} AS {key}" for key in self.keys)

    @property
    def groups(self) -> str:
        return ", ".join(str(place) for place in range(1, len(self.keys) + 1))


class Rollups:
    """Adds many requests to the roll-ups at once, from ``llmctl_deltas``, which has the columns of ``usage_deltas``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rollups = [_describe_rollup(database, unit, table) for unit, table in ddl.ROLLUP_TABLES.items()]
        labels = [_describe_rollup(database, unit, "usage_labels") for unit in ("day", "month")]
        self._rollups += [replace(roll_up, source=f"({_LABELLED})") for roll_up in labels]

    def can_compute(self, columns: Collection[str]) -> bool:
        """Return whether all columns of the roll-ups can be computed from these columns."""
        known = {*columns, *_OF_SIGNS, *_UNITS, *_LABEL_KEYS, _EARLIEST, _LATEST}
        return all(
            {*roll_up.keys, *roll_up.sums} <= known and {_bucket(name) for name in roll_up.histograms} <= known
            for roll_up in self._rollups
        )

    def add_all(self) -> None:
        """Add the collected deltas, and delete them."""
        if self._database.value("SELECT 1 FROM llmctl_deltas LIMIT 1"):
            for roll_up in self._rollups:
                self._add(roll_up)
            self._database.execute("DELETE FROM llmctl_deltas")

    def _add(self, roll_up: _Rollup) -> None:
        sums = ", ".join(
            f"sum({_OF_SIGNS.get(name, name)}) AS {name}" for name in roll_up.sums if name not in (_EARLIEST, _LATEST)
        )
        times = f"min(created_at) AS {_EARLIEST}, max(created_at) AS {_LATEST}"
        minus = f"CASE WHEN sign < 0 THEN '{_MINUS}' ELSE '' END"
        buckets = ", ".join(f"group_concat({minus} || {_bucket(name)}) AS {name}" for name in roll_up.histograms)
        select = f"SELECT {roll_up.key_sql}, {sums}, {times}, {buckets} FROM {roll_up.source} GROUP BY {roll_up.groups}"
        for row in self._database.query(select):
            for name in roll_up.histograms:
                row[name] = _count_buckets(row[name])
            self._upsert(roll_up, row)

    def _upsert(self, roll_up: _Rollup, sums: Row) -> None:
        where = " AND ".join(f"{name} = :{name}" for name in roll_up.keys)
        known = self._database.one(f"SELECT * FROM {{{roll_up.table}}} WHERE {where}", sums)
        merged = _merge_rows(roll_up, known, sums) if known else sums
        values = {name: dumps(value) if isinstance(value, dict) else value for name, value in merged.items()}
        if merged["requests"] == 0:
            self._database.execute(f"DELETE FROM {{{roll_up.table}}} WHERE {where}", sums)
        elif known:
            changes = ", ".join(f"{name} = :{name}" for name in values if name not in roll_up.keys)
            self._database.execute(f"UPDATE {{{roll_up.table}}} SET {changes} WHERE {where}", values)
        else:
            marks = ", ".join(f":{name}" for name in values)
            self._database.execute(f"INSERT INTO {{{roll_up.table}}} ({', '.join(values)}) VALUES ({marks})", values)


def _bucket(histogram: str) -> str:
    return histogram.removesuffix(_HISTOGRAM) + "_bucket"


def _count_buckets(buckets: str | None) -> dict[str, int]:
    """Count comma-separated buckets; those to subtract have a minus sign."""
    counts = Counter(buckets.split(",") if buckets else ())
    for taken in [bucket for bucket in counts if bucket.startswith(_MINUS)]:
        counts[taken.removeprefix(_MINUS)] -= counts.pop(taken)
    return dict(counts)


def _describe_rollup(database: Database, unit: str, table: str) -> _Rollup:
    columns = database.query(f"PRAGMA table_info({{{table}}})")
    keys = tuple(row["name"] for row in sorted(columns, key=lambda row: row["pk"]) if row["pk"])
    names = [row["name"] for row in columns if not row["pk"]]
    histograms = tuple(name for name in names if name.endswith(_HISTOGRAM))
    return _Rollup(table, unit, keys, tuple(name for name in names if name not in histograms), histograms)


def _merge_rows(roll_up: _Rollup, known: Row, sums: Row) -> Row:
    result = dict(sums)
    for name in roll_up.histograms:
        before: dict[str, int] = loads(known[name]) or {}
        result[name] = before | {bucket: before.get(bucket, 0) + number for bucket, number in sums[name].items()}
    for name in roll_up.sums:
        both = [value for value in (known[name], sums[name]) if value is not None]
        if name in (_EARLIEST, _LATEST):
            result[name] = min(both) if name == _EARLIEST else max(both)
        else:
            result[name] = sum(both) if both else None
    return result


# --- batches


#: Rows after which a transaction ends, at the next end of a conversation.
_BATCH_ROWS = 5_000
#: Bytes of text after which it ends, too; a larger conversation is written while it is read.
_BATCH_BYTES = 24 << 20
#: For bulk writes: a cache of 32 MB and a WAL of 64 MB, so that index pages are written once for
#: many rows.
_PRAGMAS = {"cache_size": -32 << 10, "wal_autocheckpoint": 16 << 10}

#: Called with each record and its result.
OnRecord = Callable[[ImportRow, MergeResult], None]


class _DryRunRollback(Exception):
    """Rolls a dry run back."""


def merge_records(
    database: Database, records: Iterable[ImportRow], on_record: OnRecord, *, dry_run: bool = False
) -> int:
    """Merge records into a hub; return the number of references dropped because their rows were missing.

    A transaction ends only between two conversations, and does not wait for the source unless a conversation is larger
    than the buffer. An exception of ``records`` ends the import: committed rows stay; before IncompleteError all
    complete conversations are written. With ``dry_run`` everything is one transaction and is rolled back.
    """
    bulk = BulkInsert(database)
    merger = Merger(database, bulk.flush)
    lost = 0
    batches = _Batches(records)
    with _bulk_pragmas(database), suppress(_DryRunRollback):
        for batch in [records] if dry_run else batches:
            with database.transaction():
                bulk.begin()
                for record in batch:
                    bulk.before_insert(record)
                    on_record(record, merger.merge_record(record))
                lost = merger.finish() if dry_run else 0
                bulk.end()
                if dry_run:
                    raise _DryRunRollback
    if dry_run:
        database.clear_name_cache()
        return lost
    with database.transaction():
        lost = merger.finish()
    if batches.cut:
        raise batches.cut
    return lost


class _Batches:
    """Splits records into batches of whole conversations. Each batch must be consumed before the next.

    Records without a conversation are split anywhere: in a large hub they do not fit into memory.
    """

    def __init__(self, records: Iterable[ImportRow]) -> None:
        self._records = iter(records)
        self._next: ImportRow | None = None
        self._inside_chat = False
        #: Reading requests without a conversation, and the records that belong to them.
        self._without_chat = False
        #: The error that the records were truncated, raised after all complete batches.
        self.cut: IncompleteError | None = None

    def __iter__(self) -> Iterator[Iterable[ImportRow]]:
        self._next = next(self._records, None)
        while self._next is not None:
            yield self._batch()

    def _batch(self) -> Iterable[ImportRow]:
        """Return the next conversations; the rest of a huge one is read while it is written."""
        result: list[ImportRow] = []
        size = whole = 0
        while self._next is not None:
            if self._starts_conversation(self._next):
                whole = len(result)
                if whole >= _BATCH_ROWS or size >= _BATCH_BYTES:
                    return result
            if size >= _BATCH_BYTES or len(result) >= 2 * _BATCH_ROWS:
                return chain(result, self._rest_of_chat())
            size += _text_size(self._next)
            try:
                result.append(self._next_record())
            except IncompleteError as error:
                self.cut, self._next = error, None
                return result[:whole]
        return result

    def _rest_of_chat(self) -> Iterator[ImportRow]:
        while self._next is not None and not self._starts_conversation(self._next):
            yield self._next_record()

    def _next_record(self) -> ImportRow:
        record = self._next
        assert record is not None
        self._inside_chat = self._inside_chat or record.table == "chats"
        self._without_chat = record.table != "chats" and (self._without_chat or _has_no_chat(record))
        self._next = next(self._records, None)
        return record

    def _starts_conversation(self, record: ImportRow) -> bool:
        """Return whether a conversation starts here, or a record that belongs to none."""
        if record.table == "chats" or self._without_chat or _has_no_chat(record):
            return True
        return not self._inside_chat and record.table in SHARED_TABLES


def _has_no_chat(record: ImportRow) -> bool:
    return record.table == "requests" and record.row.get("chat_id") is None


def _text_size(record: ImportRow) -> int:
    for name in ("content", "raw_output", "text"):
        value = record.row.get(name)
        if isinstance(value, str | bytes):
            return len(value)
    return 0


@contextmanager
def _bulk_pragmas(database: Database) -> Iterator[None]:
    before = {name: database.value(f"PRAGMA {name}") for name in _PRAGMAS}
    for name, value in _PRAGMAS.items():
        database.execute(f"PRAGMA {name}={value}")
    try:
        yield
    finally:
        for name, value in before.items():
            database.execute(f"PRAGMA {name}={value}")
