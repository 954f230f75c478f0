"""``stats``: the roll-up says what the rows say, whatever the range and whatever it is grouped by."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import pytest

from llmctl.core import clock, time_ranges
from llmctl.core.errors import UsageError
from llmctl.store.schema import custom_names, ddl
from llmctl.store.stats import group_by, query
from llmctl.store.stats.group_by import Scope
from llmctl.store.stats.totals import percentiles
from tests.fakes.hub_builder import START, HubBuilder

NONE = dict.fromkeys(("cost", "avg_duration_ms", "p50_duration_ms", "p95_duration_ms", "p50_time_to_first_token_ms"))
NONE |= dict.fromkeys(("p95_time_to_first_token_ms", "cache_savings", "saved_cost"))
FIELDS = [
    *("chat_id", "requests", "failed_requests", "messages", "tool_calls", "input_tokens", "output_tokens"),
    *("total_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens", "cost", "unpriced_requests"),
    *("duration_ms", "avg_duration_ms", "p50_duration_ms", "p95_duration_ms", "p50_time_to_first_token_ms"),
    *("first_at", "last_at", "p95_time_to_first_token_ms"),
    *("retries", "failed_tool_calls", "tool_duration_ms", "cache_savings", "cached_requests", "saved_cost"),
]


@pytest.fixture
def history(any_hub: HubBuilder) -> list[Any]:
    """400 requests of every kind, most within ten days, some up to 100 days later, in two chats and without one."""
    rng = random.Random(7)
    prices = {"input_per_million": 3.0, "provider": "openai", "model": "m1", "source": "test"}
    known = any_hub.insert("model_prices", **prices, cached_per_million=0.5, cache_write_per_million=4.0)
    vague = any_hub.insert("model_prices", **prices)
    chats = [any_hub.chat("a"), any_hub.chat("b"), None]
    for _ in range(400):
        chat = rng.choice(chats)
        status = rng.choice(["completed", "completed", "failed", "incomplete", "interrupted", "pending"])
        at = clock.add_seconds(START, rng.uniform(0, rng.choice([10, 10, 100]) * 86400))
        origin = rng.choice(["llmctl", "orm"])
        request = {
            "provider": rng.choice(["openai", "OpenAI", "anthropic"]),
            "model": rng.choice(["m1", "m2"]),
            "response_model": rng.choice([None, "m1-2026"]),
            "connection": rng.choice([None, "work", "home"]),
            "agent": rng.choice([None, "coder"]),
            "tag": rng.choice([None, "ci"]),
            "script": rng.choice([None, "a.sh"]),
            "status": status,
            "origin": origin,
            "input_tokens": rng.choice([None, 0, 10, 1000]),
            "output_tokens": rng.choice([None, 0, 7]),
            "cached_tokens": rng.choice([None, 3]),
            "cache_write_tokens": rng.choice([None, 5]),
            "price_id": rng.choice([None, known, vague]),
            "thinking_tokens": rng.choice([None, 2]),
            "cost": rng.choice([None, 0.0, 0.125]),
            "duration": rng.choice([None, 0, 3, 15, 99, 104, 1049, 1051, 99499, rng.randint(1, 600_000)]),
            "time_to_first_token": rng.choice([None, 250, rng.randint(1, 3000)]),
        }
        id = any_hub.insert("requests", chat_id=chat["id"] if chat else None, at=at, **request | {"status": "pending"})
        for attempt in range(1, rng.choice([1, 1, 2, 4])):
            any_hub.insert("network_calls", request_id=id, attempt=attempt, endpoint="x", method="POST")
        any_hub.database.execute("UPDATE {requests} SET status = ? WHERE id = ?", (status, id))
        if chat and status != "pending":
            message = any_hub.message(chat, "user", "x", at=at, chat_id=rng.choice([chat["id"], None]))
            if rng.random() < 0.3:
                run = {"tool_call_id": "c", "name": rng.choice("xy"), "arguments": "{}", "status": "running"}
                call = any_hub.insert("tool_invocations", message_id=message, at=at, **run)
                end = (rng.choice(["completed", "failed"]), rng.randint(1, 90), call)
                any_hub.database.execute("UPDATE {tool_invocations} SET status = ?, duration = ? WHERE id = ?", end)
    return chats


def expected(hub: HubBuilder, within: Any = lambda row: True) -> dict[str, Any]:
    """Count in plain Python what stats should say."""
    every = [row for row in hub.database.rows("SELECT * FROM {requests}") if row["status"] != "pending" and within(row)]
    cost = [row["cost"] if row["cost"] or row["origin"] != "orm" else None for row in every]
    tokens = [(row["input_tokens"] or 0) + (row["output_tokens"] or 0) for row in every]
    durations = [row["duration"] for row in every if row["duration"]]
    first = [row["time_to_first_token"] for row in every if row["time_to_first_token"]]
    known = [value for value in cost if value is not None]
    return {
        "requests": len(every),
        "failed_requests": sum(row["status"] == "failed" for row in every),
        "input_tokens": sum(row["input_tokens"] or 0 for row in every),
        "output_tokens": sum(row["output_tokens"] or 0 for row in every),
        "total_tokens": sum(tokens),
        "cached_tokens": sum(row["cached_tokens"] or 0 for row in every),
        "cache_write_tokens": sum(row["cache_write_tokens"] or 0 for row in every),
        "thinking_tokens": sum(row["thinking_tokens"] or 0 for row in every),
        "cost": sum(known) if known else None,
        "unpriced_requests": sum(
            value is None and (row["status"] != "failed" or count > 0)
            for value, row, count in zip(cost, every, tokens, strict=True)
        ),
        "duration_ms": sum(durations),
        "avg_duration_ms": round(sum(durations) / len(durations)) if durations else None,
        "p50_duration_ms": rank(durations, 0.5),
        "p95_duration_ms": rank(durations, 0.95),
        "p50_time_to_first_token_ms": rank(first, 0.5),
        "first_at": min((row["created_at"] for row in every), default=None),
        "last_at": max((row["created_at"] for row in every), default=None),
        "p95_time_to_first_token_ms": rank(first, 0.95),
        "retries": retries(hub, every),
        "cache_savings": savings(hub, every),
    }


def retries(hub: HubBuilder, requests: Any) -> Any:
    sql = "SELECT request_id, max(attempt) - 1 AS retries FROM {network_calls} GROUP BY request_id"
    known = {row["request_id"]: row["retries"] for row in hub.database.rows(sql)}
    return sum(known.get(row["id"], 0) for row in requests)


def savings(hub: HubBuilder, requests: Any) -> Any:
    """What cached tokens cost less than plain ones, less what writing them cost more; by hand."""
    cached = {row["id"]: row["cached_per_million"] for row in hub.database.rows("SELECT * FROM {model_prices}")}
    found = []
    for row in requests:
        if row["price_id"] is None:
            continue
        rate = cached[row["price_id"]]
        if rate is not None:
            found.append(((row["cached_tokens"] or 0) * 2.5 - (row["cache_write_tokens"] or 0) * 1.0) / 1e6)
        elif not row["cached_tokens"]:
            found.append(0.0)
    return pytest.approx(sum(found), abs=1e-9) if found else None


def rank(values: Any, share: Any) -> Any:
    return sorted(values)[ceil(share * len(values)) - 1] if values else None


def same(found: Any, wanted: Any, *, exact: bool = False) -> None:
    """Compare figures; percentiles within 5 % unless they have to be exact."""
    for name, value in wanted.items():
        if name.startswith("p") and value is not None and not exact:
            assert found[name] == pytest.approx(value, rel=0.05), name
        else:
            assert found[name] == value, name


def test_no_requests_are_zeros_and_nulls(any_hub: HubBuilder) -> None:
    found = query.get_total(any_hub.database, Scope())
    assert list(found) == FIELDS
    zeros = {name: 0 for name in FIELDS if name not in NONE}
    assert found == zeros | NONE | {"chat_id": None, "first_at": None, "last_at": None}
    assert query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["model"])) == (
        [],
        found,
    )


def test_totals_match_the_rows(any_hub: HubBuilder, history: list[Any]) -> None:
    same(query.get_total(any_hub.database, Scope()), expected(any_hub))


def test_a_chat_is_counted_exactly(any_hub: HubBuilder, history: list[Any]) -> None:
    chat_id = history[0]["id"]
    found = query.chat_stats(any_hub.database, chat_id)
    same(found, expected(any_hub, lambda row: row["chat_id"] == chat_id), exact=True)
    assert found["chat_id"] == chat_id
    seen = "SELECT count(*) FROM {messages} WHERE chat_id = ?"
    assert found["messages"] == any_hub.database.value(seen, (chat_id,))


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-10-07T03:00:00.000+00:00", "2026-10-09T05:00:00.000+00:00"),
        ("2026-10-07T03:20:30.500+00:00", "2026-10-09T05:40:10.100+00:00"),
        ("2026-10-07T03:10:00.000+00:00", "2026-10-07T03:50:00.000+00:00"),
        ("2026-10-07T03:10:00.000+00:00", "2026-10-07T04:50:00.000+00:00"),
        ("2026-10-07T03:10:00.000+00:00", "2026-10-07T04:00:00.000+00:00"),
        ("2026-10-07T03:10:00.000+00:00", "2026-10-07T03:10:00.000+00:00"),
        ("2026-10-08T12:34:56.000+00:00", None),
        (None, "2026-10-08T12:34:56.000+00:00"),
    ],
)
def test_a_range_begins_with_since_and_ends_before_until(
    any_hub: HubBuilder, history: list[Any], since: str | None, until: str | None
) -> None:
    def within(row: Any) -> Any:
        return (since is None or row["created_at"] >= since) and (until is None or row["created_at"] < until)

    found = query.get_total(any_hub.database, Scope(since=since, until=until))
    same(found, expected(any_hub, within))
    sql = "SELECT count(*) FROM {messages} WHERE chat_id IS NOT NULL AND created_at >= ? AND created_at < ?"
    assert found["messages"] == any_hub.database.value(sql, (since or "2000-01-01", until or "2999-01-01"))


def test_the_ends_of_a_range_are_exact_to_the_millisecond(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    at = "2026-10-07T03:10:00.000+00:00"
    any_hub.turn(chat, "a", "b", at=at)
    at = any_hub.database.value("SELECT created_at FROM {requests}")
    count = [
        query.get_total(any_hub.database, Scope(since=since, until=until))["requests"]
        for since, until in (
            (at, None),
            (clock.add_seconds(at, 0.001), None),
            (None, at),
            (None, clock.add_seconds(at, 0.001)),
        )
    ]
    assert count == [1, 0, 0, 1]


@pytest.mark.parametrize("key", ["provider", "model", "connection", "agent", "tag", "status", "script", "chat"])
@pytest.mark.parametrize("since", [None, "2026-10-07T03:20:30.500+00:00"])
def test_groups_match_the_rows(any_hub: HubBuilder, history: list[Any], key: str, since: str | None) -> None:
    value = {
        "provider": lambda row: row["provider"].lower(),
        "model": lambda row: row["response_model"] or row["model"],
        "chat": lambda row: row["chat_id"],
    }.get(key, lambda row: row[key])

    def within(row: Any) -> Any:
        return since is None or row["created_at"] >= since

    found, total = query.group_totals(
        any_hub.database, Scope(since=since), group_by.build_grouping(any_hub.database, [key])
    )
    same(total, expected(any_hub, within))
    values = {value(row) for row in any_hub.database.rows("SELECT * FROM {requests} WHERE status <> 'pending'")}
    assert {group["chat_id"] if key == "chat" else group[key] for group in found} == values
    for group in found:
        name = group["chat_id"] if key == "chat" else group[key]
        same(group, expected(any_hub, lambda row, name=name: within(row) and value(row) == name))
    order = [(-group["total_tokens"], -group["requests"]) for group in found]
    assert order == sorted(order)


@pytest.mark.parametrize(("key", "length"), [("hour", 13), ("day", 10), ("month", 7)])
def test_times_ascend(any_hub: HubBuilder, history: list[Any], key: str, length: int) -> None:
    found, total = query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, [key]))
    names = [group[key] for group in found]
    assert names == sorted(names)
    for group in found:
        same(group, expected(any_hub, lambda row, name=group[key]: row["created_at"][:length] == name[:length]))
    for name in ("requests", "messages", "input_tokens"):
        assert sum(group[name] for group in found) == total[name]
    if key == "hour":
        assert all(name.endswith(":00:00.000+00:00") for name in names)


@pytest.mark.parametrize("key", ["provider", "model", "status"])
def test_groups_of_a_chat_are_exact(any_hub: HubBuilder, history: list[Any], key: str) -> None:
    chat_id = history[0]["id"]
    found, total = query.group_totals(
        any_hub.database, Scope(chat_id=chat_id), group_by.build_grouping(any_hub.database, [key])
    )
    same(total, expected(any_hub, lambda row: row["chat_id"] == chat_id), exact=True)
    value = {
        "provider": lambda row: row["provider"].lower(),
        "model": lambda row: row["response_model"] or row["model"],
    }
    of = value.get(key, lambda row: row[key])
    assert found
    for group in found:
        assert group["chat_id"] == chat_id
        within = expected(any_hub, lambda row, name=group[key]: row["chat_id"] == chat_id and of(row) == name)
        same(group, within, exact=True)


def test_two_keys_make_one_group_of_each_pair(any_hub: HubBuilder, history: list[Any]) -> None:
    found, _ = query.group_totals(
        any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["day", "model"])
    )
    assert list(found[0])[:2] == ["day", "model"]
    counted = Counter(
        (row["created_at"][:10], row["response_model"] or row["model"])
        for row in any_hub.database.rows("SELECT * FROM {requests} WHERE status <> 'pending'")
    )
    assert {(group["day"], group["model"]): group["requests"] for group in found} == counted


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "Pacific/Chatham"])
def test_days_of_a_zone_begin_at_its_midnight(any_hub: HubBuilder, history: list[Any], zone: str) -> None:
    tz = time_ranges.parse_time_zone(zone)
    found, _ = query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["day"], tz))

    def day(row: Any) -> Any:
        return datetime.fromisoformat(row["created_at"]).astimezone(tz).strftime("%Y-%m-%d")

    assert found
    for group in found:
        same(group, expected(any_hub, lambda row, name=group["day"]: day(row) == name), exact=True)


def test_hours_of_a_zone_carry_its_offset(any_hub: HubBuilder) -> None:
    any_hub.turn(any_hub.chat(), "a", "b")
    grouping = group_by.build_grouping(any_hub.database, ["hour"], time_ranges.parse_time_zone("Asia/Kolkata"))
    found, _ = query.group_totals(any_hub.database, Scope(), grouping)
    assert [group["hour"] for group in found] == ["2026-10-05T17:00:00.000+05:30"]


def test_the_hour_that_a_clock_shows_twice_is_two_in_order(any_hub: HubBuilder) -> None:
    for hour in ("00", "01", "02"):
        any_hub.insert("requests", provider="x", model="m", status="completed", at=f"2026-10-25T{hour}:30:00.000+00:00")
    grouping = group_by.build_grouping(any_hub.database, ["hour"], time_ranges.parse_time_zone("Europe/Berlin"))
    found, _ = query.group_totals(any_hub.database, Scope(), grouping)
    assert [group["hour"][11:16] + group["hour"][-6:] for group in found] == [
        "02:00+02:00",
        "02:00+01:00",
        "03:00+01:00",
    ]


def test_agent_is_counted_by_its_name_in_the_ledger(any_hub: HubBuilder, history: list[Any]) -> None:
    found = query.get_total(any_hub.database, Scope(connection="work"))
    same(found, expected(any_hub, lambda row: row["connection"] == "work"))
    found = query.get_total(any_hub.database, Scope(agent="coder", since="2026-10-07T03:20:30.500+00:00"))
    same(
        found, expected(any_hub, lambda row: row["agent"] == "coder" and row["created_at"] >= "2026-10-07T03:20:30.500")
    )


def test_messages_of_a_connection_are_those_of_its_chats(any_hub: HubBuilder) -> None:
    work = any_hub.connection("work")
    any_hub.turn(any_hub.chat(source_id=work), "a", "b")
    any_hub.turn(any_hub.chat(), "a", "b", connection="home")
    assert query.get_total(any_hub.database, Scope(connection="work", connection_id=work))["messages"] == 2


def test_messages_of_an_agent_are_those_of_its_connection_too(any_hub: HubBuilder) -> None:
    work = any_hub.connection("work")
    agent = any_hub.insert("agents", name="coder", chat_model_id=work)
    any_hub.turn(any_hub.chat(type="agent", source_id=agent), "a", "b", agent="coder")
    over = Scope(connection="work", connection_id=work)
    for scope in (over, over.replace(agent="coder", agent_id=agent)):
        found = query.get_total(any_hub.database, scope)
        assert (found["messages"], found["requests"]) == (2, 1)


def test_groups_that_say_nothing_of_messages_do_not_pretend(any_hub: HubBuilder) -> None:
    any_hub.tool_turn(any_hub.chat("a"))
    by_model, total = query.group_totals(
        any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["model"])
    )
    assert (by_model[0]["messages"], by_model[0]["tool_calls"]) == (None, None)
    assert (total["messages"], total["tool_calls"]) == (2, 1)


def test_tools_are_counted_by_calls_and_by_the_requests_that_made_them(any_hub: HubBuilder) -> None:
    chat = any_hub.chat("a")
    any_hub.tool_turn(chat)
    any_hub.turn(chat, "a", "b")
    found, total = query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["tool"]))
    counted = {group["tool"]: (group["requests"], group["tool_calls"]) for group in found}
    assert counted == {"weather": (1, 1), None: (2, 0)}
    assert (total["requests"], total["tool_calls"]) == (3, 1)


def test_a_chat_is_grouped_under_its_name(any_hub: HubBuilder) -> None:
    named, nameless = any_hub.chat("fix"), any_hub.chat()
    any_hub.turn(named, "a", "b", input_tokens=100)
    any_hub.turn(nameless, "a", "b")
    found, _ = query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["chat"]))
    assert [(group["chat"], group["chat_id"], group["messages"]) for group in found] == [
        ("fix", named["id"], 2),
        (nameless["id"], nameless["id"], 2),
    ]


def test_custom_fields_of_requests_and_of_chats_are_keys(any_hub: HubBuilder) -> None:
    custom_names.add_fields(
        any_hub.database, map(custom_names.parse_field, ("chats.user_id:text", "requests.team:text"))
    )
    any_hub.turn(any_hub.chat(user_id="u_1"), "a", "b", team="red")
    any_hub.turn(any_hub.chat(user_id="u_2"), "a", "b", team="red", input_tokens=500)
    by_user, _ = query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["user_id"]))
    assert [(group["user_id"], group["requests"], group["messages"]) for group in by_user] == [
        ("u_2", 1, 2),
        ("u_1", 1, 2),
    ]
    by_team, _ = query.group_totals(
        any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["team", "status"])
    )
    assert [(group["team"], group["requests"], group["messages"]) for group in by_team] == [("red", 2, None)]


@pytest.mark.parametrize("keys", [["nope"], ["model", "nope"], ["model", "model"], [""], ['x"; DROP TABLE chats']])
def test_unknown_keys_are_a_usage_error_that_lists_what_there_is(any_hub: HubBuilder, keys: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        group_by.build_grouping(any_hub.database, keys)
    assert len(set(keys)) < len(keys) or "provider" in caught.value.hint


def test_stats_scan_the_roll_up_and_no_history(any_hub: HubBuilder) -> None:
    wanted = {"model": "{usage_monthly} r", "model,day": "{usage_daily} r", "agent,day": "{usage_hourly} r"}
    for keys, table in wanted.items():
        sources = query._sum_queries(Scope(), group_by.build_grouping(any_hub.database, keys.split(",")))
        assert [source.table for source in sources] == [table]


def test_a_range_is_cut_into_months_days_hours_and_the_rest(any_hub: HubBuilder) -> None:
    scope = Scope(since="2026-01-30T22:30:00.000+00:00", until="2026-03-02T01:15:00.000+00:00")
    found = [(unit, part.since[:16], part.until[:16]) for unit, part in scope.split(["month", "day", "hour"])]
    assert found == [
        (None, "2026-01-30T22:30", "2026-01-30T23:00"),
        ("hour", "2026-01-30T23:00", "2026-01-31T00:00"),
        ("day", "2026-01-31T00:00", "2026-02-01T00:00"),
        ("month", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("day", "2026-03-01T00:00", "2026-03-02T00:00"),
        ("hour", "2026-03-02T00:00", "2026-03-02T01:00"),
        (None, "2026-03-02T01:00", "2026-03-02T01:15"),
    ]


def test_every_roll_up_has_the_same_sums(any_hub: HubBuilder, history: list[Any]) -> None:
    any_hub.database.execute("UPDATE {requests} SET cost = coalesce(cost, 0) + 1, model = 'm3' WHERE model = 'm1'")
    sums = "sum(requests) AS n, round(sum(cost), 9) AS cost, sum(retries) AS retries, sum(duration) AS duration"
    found = [any_hub.database.one(f"SELECT {sums} FROM {{{table}}}") for table in ddl.ROLLUP_TABLES.values()]
    assert found[0]["n"] == any_hub.database.value("SELECT count(*) FROM {requests} WHERE status <> 'pending'")
    assert found[1:] == [found[0]] * 2
    same(query.get_total(any_hub.database, Scope()), expected(any_hub))
    whole = Scope(since=START, until=clock.add_seconds(START, 80 * 86400 + 12345))
    in_range = expected(any_hub, lambda row: whole.since <= row["created_at"] < whole.until)
    same(query.get_total(any_hub.database, whole), in_range)


def test_tool_time_is_what_the_calls_took(any_hub: HubBuilder, history: list[Any]) -> None:
    calls = any_hub.database.query("SELECT name, status, duration FROM {tool_invocations}")
    found, total = query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["tool"]))
    assert total["tool_calls"] == len(calls)
    assert found
    for group in found:
        mine = [call for call in calls if call["name"] == group["tool"]]
        assert group["tool_calls"] == len(mine)
        assert group["tool_duration_ms"] == sum(call["duration"] for call in mine)
        assert group["failed_tool_calls"] == sum(call["status"] == "failed" for call in mine)


def test_no_time_is_rounded_by_more_than_5_percent(any_hub: HubBuilder) -> None:
    wanted = [*range(1, 60), 98, 101, 105, 199, 201, 399, 401, 419, 421, 979, 981, 2099, 38_999, 123_456_789]
    for ms in wanted:
        any_hub.insert("requests", provider="openai", model=f"m{ms}", status="completed", duration=ms)
    found, _ = query.group_totals(any_hub.database, Scope(), group_by.build_grouping(any_hub.database, ["model"]))
    rounded = {row["model"]: row["p50_duration_ms"] for row in found}
    assert rounded == {f"m{ms}": pytest.approx(ms, rel=0.05) for ms in wanted}


def test_percentiles_are_the_nearest_rank() -> None:
    assert percentiles({}, (0.5, 0.95)) == [None, None]
    assert percentiles({"7": 0}, (0.5,)) == [None]
    assert percentiles({"7": 1}, (0.5, 0.95)) == [7, 7]
    assert percentiles({"600": 1, "1100": 1, "700": 1}, (0.5, 0.95)) == [700, 1100]
    assert percentiles({"1": 10, "2": 10}, (0.5,)) == [1]
    assert percentiles({"0": 0, "1": 10, "5": 0, "2": 11}, (0.5,)) == [2]


def test_a_moment_is_stored_time() -> None:
    now = datetime(2026, 10, 5, 12, 0, tzinfo=UTC)
    for text, wanted in {
        "7d": "2026-09-28T12:00:00.000+00:00",
        "90s": "2026-10-05T11:58:30.000+00:00",
        "1.5h": "2026-10-05T10:30:00.000+00:00",
        "2w": "2026-09-21T12:00:00.000+00:00",
        "now": "2026-10-05T12:00:00.000+00:00",
        "today": "2026-10-05T00:00:00.000+00:00",
        "2026": "2026-01-01T00:00:00.000+00:00",
        "2026-02": "2026-02-01T00:00:00.000+00:00",
        "2026-02-03": "2026-02-03T00:00:00.000+00:00",
        "2026-02-03T04:05:06Z": "2026-02-03T04:05:06.000+00:00",
        "2026-02-03 04:05:06.789+02:00": "2026-02-03T02:05:06.789+00:00",
        "2026-02-03T04:05": "2026-02-03T04:05:00.000+00:00",
        "month": "2026-10-01T00:00:00.000+00:00",
        "Last Week": "2026-09-28T00:00:00.000+00:00",
        "this-year": "2026-01-01T00:00:00.000+00:00",
        "3 days": "2026-10-02T12:00:00.000+00:00",
    }.items():
        assert time_ranges.parse_time(text, now=now) == wanted, text
    berlin = time_ranges.parse_time_zone("Europe/Berlin")
    assert time_ranges.parse_time("2026-02-03", now=now, zone=berlin) == "2026-02-02T23:00:00.000+00:00"


@pytest.mark.parametrize(
    ("word", "since", "until"),
    [
        ("today", "2026-03-02", "2026-03-03"),
        ("yesterday", "2026-03-01", "2026-03-02"),
        ("this-week", "2026-03-02", "2026-03-09"),
        ("last-week", "2026-02-23", "2026-03-02"),
        ("week", "2026-03-02", "2026-03-09"),
        ("day", "2026-03-02", "2026-03-03"),
        ("last-day", "2026-03-01", "2026-03-02"),
        ("previous month", "2026-02-01", "2026-03-01"),
        ("year", "2026-01-01", "2027-01-01"),
        ("this-month", "2026-03-01", "2026-04-01"),
        ("last-month", "2026-02-01", "2026-03-01"),
        ("last-year", "2025-01-01", "2026-01-01"),
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2024-02-28", "2024-02-28", "2024-02-29"),
    ],
)
def test_a_period_is_whole(word: str, since: str, until: str) -> None:
    now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert time_ranges.parse_period(word, now=now) == (f"{since}T00:00:00.000+00:00", f"{until}T00:00:00.000+00:00")


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("7d", "2026-02-23T12:00:00"),
        ("last-7d", "2026-02-23T12:00:00"),
        ("last 7 days", "2026-02-23T12:00:00"),
        ("36h", "2026-03-01T00:00:00"),
        ("1.5h", "2026-03-02T10:30:00"),
        ("2 weeks", "2026-02-16T12:00:00"),
    ],
)
def test_a_span_ends_now(text: str, since: str) -> None:
    now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    expected = (f"{since}.000+00:00", "2026-03-02T12:00:00.000+00:00")
    assert time_ranges.parse_period(text, now=now) == expected


def test_what_deletes_takes_no_word_for_its_start() -> None:
    for word in ("week", "this-month", "last 7 days"):
        with pytest.raises(UsageError):
            time_ranges.parse_time(word, words=False)


def test_a_day_of_a_zone_may_have_23_hours() -> None:
    berlin = time_ranges.parse_time_zone("Europe/Berlin")
    since, until = time_ranges.parse_period("2026-03-29", zone=berlin)
    assert clock.parse(until) - clock.parse(since) == timedelta(hours=23)


@pytest.mark.parametrize("text", ["", "soon", "2026-13", "2026-02-30", "7x", "-3d", "99999999999d", "0000", "١٢٣٤"])
def test_invalid_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot parse the (time|period)"):
        time_ranges.parse_time(text)
    with pytest.raises(UsageError, match="cannot parse the period"):
        time_ranges.parse_period(text)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_an_unknown_zone_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="unknown time zone"):
        time_ranges.parse_time_zone(name)


def test_the_zone_of_the_machine_follows_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        zone = time_ranges.parse_time_zone("local")
        assert time_ranges.parse_time("2026-07-01", zone=zone) == "2026-07-01T04:00:00.000+00:00"
        assert datetime(2026, 1, 1, 12, tzinfo=UTC).astimezone(zone).isoformat() == "2026-01-01T07:00:00-05:00"
    finally:
        monkeypatch.undo()
        time.tzset()
