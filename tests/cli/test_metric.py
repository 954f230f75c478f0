"""``llmctl metric``: kept, listed, aggregated, exported for other systems."""

from __future__ import annotations

import random
import statistics
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families
from prometheus_client.parser import text_string_to_metric_families as prometheus_families

from llmctl.core import clock
from llmctl.formats import openmetrics
from llmctl.formats.openmetrics import Family, Sample
from llmctl.store.opening import open_hub
from llmctl.store.records import metrics
from tests.fakes.hub_builder import START, HubBuilder
from tests.harness import RunInProcess, parse_json


@pytest.fixture
def values(env: dict[str, str]) -> list[Any]:
    """60 values of one metric over three days, with and without dimensions; and one of another."""
    rng = random.Random(3)
    found = []
    database = open_hub(env["LLMCTL_DB"], "create")
    for _ in range(60):
        at, value = clock.add_seconds(START, rng.uniform(0, 3 * 86400)), rng.randint(1, 500) / 4
        dimensions: dict[str, Any] = rng.choice([{}, {"suite": "a"}, {"suite": "b", "os": 1}])
        metrics.add(database, "score", value, dimensions=dimensions, references={}, at=at)
        found.append((at, value, dimensions))
    metrics.add(database, "other", 1.0, dimensions={}, references={}, at=START)
    database.close()
    return found


def test_add_keeps_value_dimensions_references_and_time(llmctl_in_process: RunInProcess) -> None:
    arguments = ("build_seconds", "12.5", "-d", "branch=main", "-d", "tries:=2", "--reference", "job=j1")
    row = parse_json(llmctl_in_process("metric", "add", *arguments, "--at", "2026-10-05T10:00:00Z", "--json"))
    assert (row["name"], row["value"], row["references"]) == ("build_seconds", 12.5, {"job": "j1"})
    assert row["dimensions"] == {"branch": "main", "tries": 2}
    assert row["created_at"] == "2026-10-05T10:00:00.000+00:00"
    assert parse_json(llmctl_in_process("metric", "list", "--json")) == [row]


@pytest.mark.parametrize("value", ["nan", "inf", "twelve"])
def test_add_takes_numbers_only(llmctl_in_process: RunInProcess, value: str) -> None:
    assert llmctl_in_process("metric", "add", "x", value).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("score",), 60),
        (("--since", "2026-10-06T12:00:00Z", "--until", "2026-10-07"), None),
        (("--in", "2026-10-06"), None),
        (("--where", "suite=b", "--where", "os=1"), None),
        (("--where", "suite=none"), 0),
    ],
)
def test_list_filters(
    llmctl_in_process: RunInProcess, values: list[Any], arguments: tuple[str, ...], count: int | None
) -> None:
    found = parse_json(llmctl_in_process("metric", "list", "--limit", "0", "--json", *arguments))
    times = [row["created_at"] for row in found]
    assert times == sorted(times, reverse=True)
    expected = {
        "--since": [at for at, *_ in values if "2026-10-06T12" <= at < "2026-10-07"],
        "--in": [at for at, *_ in values if at[:10] == "2026-10-06"],
        "--where": [at for at, _, dimensions in values if dimensions.get("suite") == "b"],
    }
    assert len(found) == (count if count is not None else len(expected[arguments[0]]))


def test_query_aggregates_each_bucket_and_dimension(llmctl_in_process: RunInProcess, values: list[Any]) -> None:
    names = ",".join(metrics.AGGREGATES)
    found = parse_json(
        llmctl_in_process(
            "metric", "query", "score", "--bucket", "day", "--by", "suite", "--aggregate", names, "--json"
        )
    )
    groups: dict[tuple[str, str | None], list[float]] = {}
    for at, value, dimensions in values:
        groups.setdefault((at[:10], dimensions.get("suite")), []).append(value)
    assert {(row["bucket"][:10], row["suite"]) for row in found} == set(groups)
    for row in found:
        mine = sorted(groups[row["bucket"][:10], row["suite"]])
        assert row["count"] == len(mine)
        assert (row["min"], row["max"], row["sum"]) == (mine[0], mine[-1], pytest.approx(sum(mine)))
        assert row["avg"] == pytest.approx(statistics.mean(mine))
        assert (row["p50"], row["p95"]) == tuple(mine[ceil(share * len(mine)) - 1] for share in (0.5, 0.95))
    assert [row["bucket"] for row in found] == sorted(row["bucket"] for row in found)


def test_query_without_a_bucket_is_one_row(llmctl_in_process: RunInProcess, values: list[Any]) -> None:
    found = parse_json(llmctl_in_process("metric", "query", "score", "--aggregate", "count,max", "--json"))
    assert found == [{"count": 60, "max": max(value for _, value, _ in values)}]


def test_buckets_of_any_length_begin_at_full_ones(llmctl_in_process: RunInProcess, values: list[Any]) -> None:
    found = parse_json(
        llmctl_in_process("metric", "query", "score", "--bucket", "6h", "--aggregate", "count", "--json")
    )
    assert {row["bucket"][11:] for row in found} <= {f"{hour:02d}:00:00.000+00:00" for hour in (0, 6, 12, 18)}
    assert sum(row["count"] for row in found) == 60


@pytest.mark.parametrize(
    "arguments", [("--bucket", "fortnight"), ("--aggregate", "p99"), ("--by", "a,,b"), ("--by", "a,a")]
)
def test_query_refuses_what_it_does_not_know(
    llmctl_in_process: RunInProcess, values: list[Any], arguments: tuple[str, ...]
) -> None:
    assert llmctl_in_process("metric", "query", "score", *arguments).returncode == 2


def test_a_query_reads_one_metric_through_its_index(env: dict[str, str], values: list[Any]) -> None:
    database = open_hub(env["LLMCTL_DB"])
    seen: list[str] = []
    database.connection.set_trace_callback(seen.append)
    list(
        metrics.aggregate(
            database, metrics.MetricFilter("score", since=START), metrics.MetricQuery("day", (), ("p50",))
        )
    )
    plan = database.query(f"EXPLAIN QUERY PLAN {seen[-1]}")
    assert any("metrics_name_created_at (name=? AND created_at>?)" in step["detail"] for step in plan)


def test_export_is_openmetrics_of_ledger_and_metrics(llmctl_in_process: RunInProcess, env: dict[str, str]) -> None:
    database = open_hub(env["LLMCTL_DB"], "create")
    rows = HubBuilder(database)
    rows.turn(rows.chat(), "a", "b", cost=0.25, duration=1500, tag='say "hi"\\\n', cached_tokens=3)
    rows.turn(rows.chat(), "a", "b", status="failed", model="other")
    for name, value, dimensions in (
        ("build-seconds", 12.5, {"branch": "main"}),
        ("build-seconds", 11.0, {"branch": "main"}),
        ("build_seconds", 1.0, {"2nd": "é", "__x": None, "metric": "m"}),
        ("llmctl_requests", 7.0, {}),
        ("größe", -3.0, {}),
    ):
        metrics.add(database, name, value, dimensions=dimensions, references={}, at=rows.tick())
    database.close()
    done = llmctl_in_process("metric", "export")
    found = {family.name: family for family in families(done.stdout)}
    assert done.stdout.endswith("# EOF\n")
    cost = found["llmctl_cost_usd"].samples[0]
    assert (cost.name, cost.value, cost.labels["tag"]) == ("llmctl_cost_usd_total", 0.25, 'say "hi"\\\n')
    statuses = {sample.labels["status"]: sample.value for sample in found["llmctl_requests"].samples}
    assert statuses == {"completed": 1, "failed": 1}
    builds = {sample.labels.get("branch"): sample for sample in found["build_seconds"].samples}
    assert builds["main"].value == 11.0  # the newest
    assert builds["main"].labels["metric"] == "build-seconds"
    assert builds[None].labels == {"_2nd": "é", "key__x": "null", "metric": "m"}
    assert found["hub_llmctl_requests"].samples[0].value == 7.0
    for family in prometheus_families(done.stdout):  # as node_exporter reads it, which refuses times
        assert not [sample for sample in family.samples if sample.timestamp is not None]
    timed = {family.name: family for family in families(llmctl_in_process("metric", "export", "--timestamps").stdout)}
    assert all(sample.timestamp for sample in timed["build_seconds"].samples)
    only = llmctl_in_process("metric", "export", "build-seconds").stdout
    assert [family.name for family in families(only)] == ["build_seconds"]


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
    st.floats() | st.integers(-(10**18), 10**18),
    st.text(max_size=20),
)
def test_openmetrics_of_any_text_can_be_parsed(dimensions: Any, value: Any, name: Any) -> None:
    names = openmetrics.label_names(dimensions)
    labels = {names[key]: text for key, text in dimensions.items()}
    name = openmetrics.metric_name(name)
    text = "".join(openmetrics.render_families([Family(name, "gauge", f"of {name}\n", [Sample(value, labels)])]))
    (family,) = families(text)
    assert family.samples[0].labels == labels
    assert family.samples[0].value == pytest.approx(value, nan_ok=True)
