"""Rebuild the totals of the ledger and of activity that are lower than the rows they count.

Totals may be higher than the rows: requests that are not kept still count.
"""

from __future__ import annotations

from llmctl.store.database import Database
from llmctl.store.schema.ddl import ROLLUP_TABLES
from llmctl.store.stats import labels

_HOUR_KEYS = ("hour", "provider", "model", "connection", "agent", "tag", "status")
_HOUR = "substr({at}, 1, 13) || ':00:00.000+00:00'"
#: Requests by the hour that counts them.
_COUNTED = f"""
SELECT r.*, {_HOUR.format(at="r.created_at")} AS hour_key, lower(r.provider) AS provider_key,
  coalesce(r.response_model, r.model) AS model_key, coalesce(r.connection, '') AS connection_key,
  coalesce(r.agent, '') AS agent_key, coalesce(r.tag, '') AS tag_key
FROM {{requests}} r WHERE r.status <> 'pending'
"""
_KEYS_OF_ROWS = "hour_key, provider_key, model_key, connection_key, agent_key, tag_key, status"
_FIND_LOW_HOURS = f"""
CREATE TEMP TABLE low_hours AS
SELECT s.* FROM (
  SELECT {_KEYS_OF_ROWS}, count(*) AS requests, sum(coalesce(input_tokens, 0)) AS input_tokens,
    sum(coalesce(output_tokens, 0)) AS output_tokens, sum(coalesce(thinking_tokens, 0)) AS thinking_tokens,
    sum(coalesce(duration, 0)) AS duration
  FROM ({_COUNTED}) GROUP BY 1, 2, 3, 4, 5, 6, 7
) s LEFT JOIN {{usage_hourly}} h
  ON ({", ".join(f"h.{key}" for key in _HOUR_KEYS)}) = ({_KEYS_OF_ROWS.replace("status", "s.status")})
WHERE h.requests IS NULL OR h.requests <= s.requests AND (
  h.requests < s.requests OR h.input_tokens < s.input_tokens OR h.output_tokens < s.output_tokens
  OR h.thinking_tokens < s.thinking_tokens OR h.duration < s.duration)
"""
_DELETE_LOW_HOURS = f"""
DELETE FROM {{usage_hourly}} WHERE ({", ".join(_HOUR_KEYS)}) IN (SELECT {_KEYS_OF_ROWS} FROM temp.low_hours)
"""
#: The view's trigger adds each row to the totals, as it does when a request ends.
_COUNT_AGAIN = f"""
INSERT INTO usage_changes SELECT 1, {{columns}} FROM ({_COUNTED}) c
WHERE ({_KEYS_OF_ROWS}) IN (SELECT {_KEYS_OF_ROWS} FROM temp.low_hours)
"""
_COUNT_MESSAGES = """
INSERT INTO {activity_daily} (day, messages)
SELECT substr(created_at, 1, 10) || 'T00:00:00.000+00:00', count(*) FROM {messages} WHERE chat_id IS NOT NULL GROUP BY 1
ON CONFLICT (day, tool) DO UPDATE SET messages = max(messages, excluded.messages)
"""
_COUNT_TOOL_CALLS = """
INSERT INTO {activity_daily} (day, tool, tool_calls, failed_tool_calls, tool_duration)
SELECT substr(created_at, 1, 10) || 'T00:00:00.000+00:00', name, count(*), sum(status = 'failed'),
  sum(coalesce(duration, 0))
FROM {tool_invocations} GROUP BY 1, 2
ON CONFLICT (day, tool) DO UPDATE SET failed_tool_calls = excluded.failed_tool_calls,
  tool_duration = excluded.tool_duration, tool_calls = excluded.tool_calls WHERE tool_calls < excluded.tool_calls
"""
_TIMES = {"day": (10, "T00:00:00.000+00:00"), "month": (7, "-01T00:00:00.000+00:00")}
_SKIPPED = ("duration_histogram", "first_token_histogram", "first_at", "last_at")


def rebuild_rollups(database: Database) -> None:
    """Raise totals that are too low to what the rows say; one transaction."""
    with database.transaction(durable=True):
        columns = [row["name"] for row in database.query("PRAGMA table_info(usage_changes)")][1:-1]
        database.execute(_FIND_LOW_HOURS)
        database.execute(_DELETE_LOW_HOURS)
        others = [*(ROLLUP_TABLES[unit] for unit in _TIMES), "usage_labels"]
        for table in others:  # the trigger adds to these, too
            database.execute(f"CREATE TEMP TABLE kept_{table} AS SELECT * FROM {{{table}}}")
        named = ", ".join(f"c.{name}" for name in columns)
        database.execute(_COUNT_AGAIN.replace("{columns}", f"{named}, NULL"))
        database.execute("DROP TABLE temp.low_hours")
        for table in others:
            database.execute(f"DELETE FROM {{{table}}}")
            database.execute(f"INSERT INTO {{{table}}} SELECT * FROM temp.kept_{table}")
            database.execute(f"DROP TABLE temp.kept_{table}")
        for unit in _TIMES:
            _rebuild_from_hours(database, unit)
        database.execute(_COUNT_MESSAGES)
        database.execute(_COUNT_TOOL_CALLS)
    if labels.find_problem(database):
        labels.refill_labels(database)


def _rebuild_from_hours(database: Database, unit: str) -> None:
    """Make the totals of a longer unit those of its hours, except where the hours know less."""
    table = ROLLUP_TABLES[unit]
    info = database.query(f"PRAGMA table_info({{{table}}})")
    keys = [row["name"] for row in sorted(info, key=lambda row: row["pk"]) if row["pk"]]
    length, rest = _TIMES[unit]
    period = f"substr(hour, 1, {length}) || '{rest}'"
    group = ", ".join(period if key == unit else key for key in keys)
    sums = {row["name"]: f"sum({row['name']})" for row in info if row["name"] not in (*keys, *_SKIPPED)}
    if "failed_requests" in sums:
        sums["failed_requests"] = "sum(CASE status WHEN 'failed' THEN requests ELSE 0 END)"
    sums |= {"first_at": "min(first_at)", "last_at": "max(last_at)"}
    selected = ", ".join(f"{sql} AS {name}" for name, sql in sums.items())
    named = ", ".join(f"{period} AS {unit}" if key == unit else key for key in keys)
    hours = f"SELECT {named}, {selected} FROM {{usage_hourly}} WHERE status <> 'pending' GROUP BY {group}"
    names = ", ".join((*keys, *sums))
    changes = ", ".join(f"{name} = excluded.{name}" for name in sums)
    database.execute(
        f"INSERT INTO {{{table}}} ({names}) SELECT {names} FROM ({hours}) WHERE true ON CONFLICT ({', '.join(keys)})"
        f" DO UPDATE SET {changes} WHERE requests <= excluded.requests"
    )
    for histogram in ("duration_histogram", "first_token_histogram"):
        _merge_histograms(database, table, keys, named, group, histogram)


def _merge_histograms(database: Database, table: str, keys: list[str], named: str, group: str, histogram: str) -> None:
    buckets = (
        f"SELECT {named}, e.key AS bucket, sum(e.value) AS number FROM {{usage_hourly}} h, json_each(h.{histogram}) e"
        f" WHERE h.status <> 'pending' AND e.value <> 0 GROUP BY {group}, e.key"
    )
    listed = ", ".join(keys)
    database.execute(
        f"INSERT INTO {{{table}}} ({listed}, {histogram})"
        f" SELECT {listed}, json_group_object(bucket, number) FROM ({buckets}) WHERE true GROUP BY {listed}"
        f" ON CONFLICT ({listed}) DO UPDATE SET {histogram} = excluded.{histogram} WHERE"
        f" (SELECT coalesce(sum(value), 0) FROM json_each({{{table}}}.{histogram}))"
        f" <= (SELECT sum(value) FROM json_each(excluded.{histogram}))"
    )
