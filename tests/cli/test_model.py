"""``llmctl model``: the tables, prices of one's own, costs told again, names with options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from llmctl.store import opening
from tests.harness import Llmctl, parse_json, query_dicts


@pytest.fixture
def hub_path(env: Mapping[str, str]) -> str:
    path = env["LLMCTL_DB"]
    opening.create(path)
    return path


def request(path: str, model: str, cost: float | None = None, **more: Any) -> None:
    """Put a finished request into the ledger."""
    row: dict[str, Any] = {"id": model, "provider": "openai", "model": model, "status": "completed", "origin": "llmctl"}
    row |= {"input_tokens": 1_000_000, "output_tokens": 1_000_000, "cost": cost, **more}
    row |= {"created_at": more.get("created_at", "2026-11-01T00:00:00.000+00:00")}
    query_dicts(path, f"INSERT INTO requests ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())


def test_list_needs_no_hub_and_filters(llmctl: Llmctl) -> None:
    found = parse_json(llmctl("model", "list", "--provider", "openai", "--type", "embedding", "--json"))
    assert "text-embedding-3-small" in [row["id"] for row in found]
    assert {row["type"] for row in found} == {"embedding"}
    (mini,) = parse_json(llmctl("model", "list", "--search", "gpt-4.1-nano", "--json", "--provider", "openai"))
    assert (mini["context_tokens"], mini["input_per_million"], mini["output_per_million"]) == (1_000_000, 0.1, 0.4)
    assert {"vision", "tools", "schema"} <= set(mini["capabilities"])


def test_what_the_tables_do_not_say_is_null(llmctl: Llmctl) -> None:
    found = parse_json(llmctl("model", "list", "--provider", "openai", "--json"))
    assert any(row["capabilities"] is None and row["max_output_tokens"] is None for row in found)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["list", "--search", "gpt-4oo"], "gpt-4o"),
        (["list", "--provider", "opnai"], "openai"),
        (["show", "gtp-4o-mini"], "gpt-4o-mini"),
        (["show", "anthropic:claude-sonet-4-5"], "claude-sonnet-4-5"),
        (["price", "gpt-4o-2099-01-01"], "gpt-4o"),
    ],
)
def test_near_names_stand_in_the_hint_of_a_miss(llmctl: Llmctl, words: list[str], near: str) -> None:
    done = llmctl("model", *words)
    assert done.returncode == 3
    assert near in done.stderr


def test_show_has_the_price_that_counts_now(llmctl: Llmctl, hub_path: str) -> None:
    assert parse_json(llmctl("model", "show", "gpt-4o", "--json"))["input_per_million"] == 2.5
    llmctl("model", "price", "openai:gpt-4o", "--set", "input=1", "--from", "2026-01-01")
    found = parse_json(llmctl("model", "show", "openai:gpt-4o", "--json"))
    assert (found["input_per_million"], found["output_per_million"], found["price_source"]) == (1, 10.0, "user")
    assert found["max_output_tokens"] == 16_384


def test_price_of_ones_own_counts_from_its_day_on(llmctl: Llmctl, hub_path: str) -> None:
    llmctl("model", "price", "openai:o3", "--set", "input=7", "--set", "output=9", "--from", "2026-11-10")
    rows = parse_json(llmctl("model", "price", "openai:o3", "--json"))
    seen = [(row["source"].split()[0], row["valid_from"] and row["valid_from"][:10]) for row in rows]
    assert seen == [("user", "2026-11-10"), ("genai-prices", "2025-06-10"), ("genai-prices", None)]
    assert [row["is_current"] for row in rows] == [True, False, False]
    for day in ("2025-01-01", "2026-11-01", "2026-11-11"):
        request(hub_path, "o3", id=day, created_at=f"{day}T00:00:00.000+00:00")
    assert parse_json(llmctl("model", "reprice", "--json"))["changed"] == 3
    costs = {row["id"]: row["cost"] for row in query_dicts(hub_path, "SELECT id, cost FROM requests")}
    assert costs == {"2025-01-01": 50.0, "2026-11-01": 10.0, "2026-11-11": 16.0}


@pytest.mark.parametrize(
    ("rate", "words"),
    [("inptu=3", "unknown rate"), ("input=-1", "must be a number"), ("input=x", "must be a number"), ("input", "K=V")],
)
def test_bad_rates_are_refused(llmctl: Llmctl, hub_path: str, rate: str, words: str) -> None:
    done = llmctl("model", "price", "openai:gpt-4o", "--set", rate)
    assert (done.returncode, words in done.stderr) == (2, True)


def test_reprice_fills_unknown_costs_and_keeps_reported_ones(llmctl: Llmctl, hub_path: str) -> None:
    request(hub_path, "gpt-4o")
    request(hub_path, "gpt-4o-mini", cost=99.0)
    request(hub_path, "nobody-knows")
    before = parse_json(llmctl("stats", "--json"))
    assert (before["cost"], before["unpriced_requests"]) == (99.0, 2)
    dry = parse_json(llmctl("model", "reprice", "--dry-run", "--json"))
    assert (dry["requests"], dry["changed"], dry["unpriced"], dry["cost_after"]) == (2, 1, 1, 12.5)
    assert parse_json(llmctl("stats", "--json")) == before
    parse_json(llmctl("model", "reprice", "--json"))
    after = parse_json(llmctl("stats", "--json"))
    assert (after["cost"], after["unpriced_requests"]) == (111.5, 1)
    assert query_dicts(hub_path, "SELECT sum(cost) AS cost FROM usage_hourly") == [{"cost": 111.5}]
    assert query_dicts(hub_path, "SELECT count(*) AS n FROM requests WHERE price_id IS NOT NULL") == [{"n": 1}]


def test_reprice_all_follows_a_price_that_was_set_later(llmctl: Llmctl, hub_path: str) -> None:
    request(hub_path, "gpt-4o")
    request(hub_path, "gpt-4o-mini", cost=99.0)
    parse_json(llmctl("model", "reprice", "--json"))
    llmctl("model", "price", "openai:gpt-4o", "--set", "input=1", "--set", "output=1", "--from", "2026-01-01")
    assert parse_json(llmctl("model", "reprice", "--json"))["requests"] == 0
    assert parse_json(llmctl("model", "reprice", "--all", "--since", "2026-11-02", "--json"))["requests"] == 0
    done = parse_json(llmctl("model", "reprice", "--all", "--json"))
    assert (done["requests"], done["cost_before"], done["cost_after"]) == (1, 12.5, 2.0)
    assert parse_json(llmctl("stats", "--json"))["cost"] == 101.0


def test_cost_0_of_another_program_is_unknown(llmctl: Llmctl, hub_path: str) -> None:
    request(hub_path, "gpt-4o", cost=0, origin="orm", id="of-orm")
    request(hub_path, "llama3", cost=None, provider="ollama", id="local")
    parse_json(llmctl("model", "reprice", "--json"))
    assert {row["id"]: row["cost"] for row in query_dicts(hub_path, "SELECT id, cost FROM requests")} == {
        "of-orm": 12.5,
        "local": 0.0,
    }


def test_newer_list_keeps_the_rows_that_say_the_same(llmctl: Llmctl, hub_path: str) -> None:
    request(hub_path, "gpt-4o")
    parse_json(llmctl("model", "reprice", "--json"))
    query_dicts(hub_path, "UPDATE model_prices SET source = 'genai-prices 0.0.1'")
    (old,) = query_dicts(hub_path, "SELECT id FROM model_prices")
    request(hub_path, "gpt-4o", id="later")
    parse_json(llmctl("model", "reprice", "--json"))
    (kept,) = query_dicts(hub_path, "SELECT id, source FROM model_prices")
    assert kept["id"] == old["id"]
    assert kept["source"] != "genai-prices 0.0.1"
    query_dicts(hub_path, "UPDATE model_prices SET source = 'genai-prices 0.0.2', input_per_million = 5")
    request(hub_path, "gpt-4o", id="dearer")
    parse_json(llmctl("model", "reprice", "--json"))
    costs = query_dicts(hub_path, "SELECT id, cost, price_id = ? AS is_old FROM requests ORDER BY id", old["id"])
    assert [(row["id"], row["cost"], row["is_old"]) for row in costs] == [
        ("dearer", 12.5, 0),
        ("gpt-4o", 12.5, 1),
        ("later", 12.5, 1),
    ]


def test_alias_gives_a_model_a_name_with_options(llmctl: Llmctl, hub_path: str) -> None:
    done = llmctl("model", "alias", "polite", "echo", "-o", "temperature=0.2")
    assert done.returncode == 0, done.stderr
    assert llmctl("chat", "-m", "polite", "hello").stdout == "hello\n"
    (row,) = query_dicts(hub_path, "SELECT parameters FROM requests")
    assert json.loads(row["parameters"])["options"] == {"temperature": 0.2}
    (listed,) = parse_json(llmctl("model", "alias", "--json"))
    assert (listed["name"], listed["target"], listed["options"]) == ("polite", "echo", {"temperature": 0.2})
    assert llmctl("model", "alias", "polite", "echo").returncode == 0
    assert llmctl("model", "alias", "list").stdout == "polite\techo\t{}\n"
    assert llmctl("model", "alias", "kind", "polite").returncode == 0
    done = llmctl("model", "alias", "remove", "polite")
    assert (done.returncode, "remove kind" in done.stderr) == (2, True)
    assert llmctl("model", "alias", "remove", "kind").returncode == 0
    assert llmctl("model", "alias", "remove", "polite").returncode == 0
    done = llmctl("model", "alias", "remove", "polite")
    assert (done.returncode, "see: llmctl model alias list" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "code"), [(["echo", "openai:x"], 2), (["a", "a"], 2), (["a"], 2), (["a", "nobody:x"], 4)]
)
def test_alias_that_means_nothing_is_refused(llmctl: Llmctl, hub_path: str, words: list[str], code: int) -> None:
    assert llmctl("model", "alias", *words).returncode == code
    assert query_dicts(hub_path, "SELECT * FROM model_aliases") == []


def test_alias_that_leads_back_to_itself_is_refused(llmctl: Llmctl, hub_path: str) -> None:
    assert llmctl("model", "alias", "a", "echo").returncode == 0
    assert llmctl("model", "alias", "b", "a").returncode == 0
    done = llmctl("model", "alias", "a", "b")
    assert done.returncode == 4
    assert "refers to itself" in done.stderr
    assert llmctl("chat", "-m", "b", "hi").stdout == "hi\n"
