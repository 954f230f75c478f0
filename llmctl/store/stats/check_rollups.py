"""Check the roll-ups, which triggers maintain, against the rows.

They may contain more than the rows (usage stored without rows, deleted chats), but never
less; and the roll-ups of the ledger must agree with each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

from llmctl.store.database import Database, Row
from llmctl.store.schema.ddl import ROLLUP_TABLES

_KEYS = ("month", "provider", "model")
_SUMS = (
    *("requests", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens"),
    *("cost", "priced_requests", "unpriced_requests", "duration", "timed_requests", "retries"),
)
#: Totals that the rows alone determine: independent of prices, and never reduced.
_OF_ROWS = ("requests", "input_tokens", "output_tokens", "thinking_tokens", "duration")
_FROM_ROLLUP = """
SELECT substr({unit}, 1, 7) AS month, provider, model, {sums} FROM {{{table}}} WHERE {where} GROUP BY 1, 2, 3
"""
_FROM_ROWS = """
SELECT substr(created_at, 1, 7) AS month, lower(provider) AS provider, coalesce(response_model, model) AS model,
  count(*) AS requests, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
  sum(thinking_tokens) AS thinking_tokens, sum(duration) AS duration
FROM {requests} WHERE status <> 'pending' GROUP BY 1, 2, 3
"""
_UNCOUNTED_ACTIVITY = """
SELECT coalesce(sum(max(0, s.number - coalesce(CASE s.tool WHEN '' THEN a.messages ELSE a.tool_calls END, 0))), 0)
FROM (
  SELECT substr(created_at, 1, 10) AS day, '' AS tool, count(*) AS number
  FROM {messages} WHERE chat_id IS NOT NULL GROUP BY 1
  UNION ALL SELECT substr(created_at, 1, 10), name, count(*) FROM {tool_invocations} WHERE name <> '' GROUP BY 1, 2
) s LEFT JOIN {activity_daily} a ON a.day = s.day || 'T00:00:00.000+00:00' AND a.tool = s.tool
"""

_Sums = dict[tuple[str, ...], Row]


def find_problems(database: Database) -> Iterator[str]:
    """Yield the problems of the roll-ups; a hub of schema 1 has only the hourly one."""
    units = [
        unit for unit, table in ROLLUP_TABLES.items() if database.value(f"PRAGMA table_info({{{table}}})") is not None
    ]
    rolled_up = {unit: _rollup_sums(database, unit, units) for unit in units}
    rows = _sums_by_key(database, _FROM_ROWS)
    for unit, sums in rolled_up.items():
        if missing := _count_missing(rows, sums):
            yield f"{missing} requests are missing from the totals by {unit}"
        elif any(_is_less(sums.get(key, {}), row, _OF_ROWS) for key, row in rows.items()):
            yield f"the totals by {unit} are lower than those of the requests"
    for unit in units[1:]:
        if not _sums_agree(rolled_up[units[0]], rolled_up[unit]):
            yield f"the totals by {unit} differ from those by {units[0]}"
    if len(units) > 1 and (missing := database.value(_UNCOUNTED_ACTIVITY)):
        yield f"{missing} messages or tool calls are missing from the totals by day"


def _rollup_sums(database: Database, unit: str, units: list[str]) -> _Sums:
    names = _SUMS if len(units) > 1 else _OF_ROWS
    sums = ", ".join(f"sum({name}) AS {name}" for name in names)
    where = "true" if unit == "day" else "status <> 'pending'"
    return _sums_by_key(database, _FROM_ROLLUP.format(unit=unit, sums=sums, table=ROLLUP_TABLES[unit], where=where))


def _sums_by_key(database: Database, sql: str) -> _Sums:
    return {tuple(row[key] for key in _KEYS): row for row in database.rows(sql)}


def _count_missing(rows: _Sums, sums: _Sums) -> int:
    return sum(max(0, row["requests"] - sums.get(key, {"requests": 0})["requests"]) for key, row in rows.items())


def _is_less(sums: Row, row: Row, names: tuple[str, ...]) -> bool:
    return any((sums.get(name) or 0) < (row[name] or 0) for name in names)


def _sums_agree(one: _Sums, other: _Sums) -> bool:
    keys = {key for sums in (one, other) for key, row in sums.items() if row["requests"]}
    return all(key in one and key in other and _is_same(one[key], other[key]) for key in keys)


def _is_same(one: Row, other: Row) -> bool:
    return all(isclose(one[name] or 0, other[name] or 0, rel_tol=1e-6, abs_tol=1e-6) for name in _SUMS)
