"""``llmctl model``: the tables, prices of one's own, costs told again, names with options."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest

from llmctl.store import opening
from tests.conftest import Run


@pytest.fixture
def hub(env: Mapping[str, str]) -> str:
    path = env["LLMCTL_DB"]
    opening.create(path)
    return path


def parsed(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(path: str, sql: str, *values: Any) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, values)]


def request(path: str, model: str, cost: float | None = None, **more: Any) -> None:
    """Put a finished request into the ledger."""
    row = {"id": model, "provider": "openai", "model": model, "status": "completed", "origin": "llmctl"}
    row |= {"input_tokens": 1_000_000, "output_tokens": 1_000_000, "cost": cost, **more}
    row |= {"created_at": more.get("created_at", "2026-11-01T00:00:00.000+00:00")}
    ask(path, f"INSERT INTO requests ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())


def test_list_needs_no_hub_and_filters(llmctl: Run):
    found = parsed(llmctl("model", "list", "--provider", "openai", "--type", "embedding", "--json"))
    assert "text-embedding-3-small" in [row["id"] for row in found]
    assert {row["type"] for row in found} == {"embedding"}
    (mini,) = parsed(llmctl("model", "list", "--search", "gpt-4.1-nano", "--json", "--provider", "openai"))
    assert (mini["context_tokens"], mini["input_per_million"], mini["output_per_million"]) == (1_000_000, 0.1, 0.4)
    assert {"vision", "tools", "schema"} <= set(mini["capabilities"])


def test_what_the_tables_do_not_say_is_null(llmctl: Run):
    found = parsed(llmctl("model", "list", "--provider", "openai", "--json"))
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
def test_near_names_stand_in_the_hint_of_a_miss(llmctl: Run, words, near):
    done = llmctl("model", *words)
    assert done.returncode == 3
    assert near in done.stderr


def test_show_has_the_price_that_counts_now(llmctl: Run, hub: str):
    assert parsed(llmctl("model", "show", "gpt-4o", "--json"))["input_per_million"] == 2.5
    llmctl("model", "price", "openai:gpt-4o", "--set", "input=1", "--from", "2026-01-01")
    found = parsed(llmctl("model", "show", "openai:gpt-4o", "--json"))
    assert (found["input_per_million"], found["output_per_million"], found["price_source"]) == (1, 10.0, "user")
    assert found["max_output_tokens"] == 16_384


def test_price_of_ones_own_counts_from_its_day_on(llmctl: Run, hub: str):
    llmctl("model", "price", "openai:o3", "--set", "input=7", "--set", "output=9", "--from", "2026-11-10")
    rows = parsed(llmctl("model", "price", "openai:o3", "--json"))
    seen = [(row["source"].split()[0], row["valid_from"] and row["valid_from"][:10]) for row in rows]
    assert seen == [("user", "2026-11-10"), ("genai-prices", "2025-06-10"), ("genai-prices", None)]
    assert [row["is_current"] for row in rows] == [True, False, False]
    for day in ("2025-01-01", "2026-11-01", "2026-11-11"):
        request(hub, "o3", id=day, created_at=f"{day}T00:00:00.000+00:00")
    assert parsed(llmctl("model", "reprice", "--json"))["changed"] == 3
    costs = {row["id"]: row["cost"] for row in ask(hub, "SELECT id, cost FROM requests")}
    assert costs == {"2025-01-01": 50.0, "2026-11-01": 10.0, "2026-11-11": 16.0}


@pytest.mark.parametrize(
    ("rate", "words"), [("inptu=3", "no rate"), ("input=-1", "no price"), ("input=x", "no price"), ("input", "K=V")]
)
def test_bad_rates_are_refused(llmctl: Run, hub: str, rate, words):
    done = llmctl("model", "price", "openai:gpt-4o", "--set", rate)
    assert (done.returncode, words in done.stderr) == (2, True)


def test_reprice_fills_what_is_unknown_and_leaves_the_providers_word(llmctl: Run, hub: str):
    request(hub, "gpt-4o")
    request(hub, "gpt-4o-mini", cost=99.0)
    request(hub, "nobody-knows")
    before = parsed(llmctl("stats", "--json"))
    assert (before["cost"], before["unpriced_requests"]) == (99.0, 2)
    dry = parsed(llmctl("model", "reprice", "--dry-run", "--json"))
    assert (dry["requests"], dry["changed"], dry["unpriced"], dry["cost_after"]) == (2, 1, 1, 12.5)
    assert parsed(llmctl("stats", "--json")) == before
    parsed(llmctl("model", "reprice", "--json"))
    after = parsed(llmctl("stats", "--json"))
    assert (after["cost"], after["unpriced_requests"]) == (111.5, 1)
    assert ask(hub, "SELECT sum(cost) AS cost FROM usage_hourly") == [{"cost": 111.5}]
    assert ask(hub, "SELECT count(*) AS n FROM requests WHERE price_id IS NOT NULL") == [{"n": 1}]


def test_reprice_all_follows_a_price_that_was_set_later(llmctl: Run, hub: str):
    request(hub, "gpt-4o")
    request(hub, "gpt-4o-mini", cost=99.0)
    parsed(llmctl("model", "reprice", "--json"))
    llmctl("model", "price", "openai:gpt-4o", "--set", "input=1", "--set", "output=1", "--from", "2026-01-01")
    assert parsed(llmctl("model", "reprice", "--json"))["requests"] == 0
    assert parsed(llmctl("model", "reprice", "--all", "--since", "2026-11-02", "--json"))["requests"] == 0
    done = parsed(llmctl("model", "reprice", "--all", "--json"))
    assert (done["requests"], done["cost_before"], done["cost_after"]) == (1, 12.5, 2.0)
    assert parsed(llmctl("stats", "--json"))["cost"] == 101.0


def test_cost_0_of_another_program_is_unknown(llmctl: Run, hub: str):
    request(hub, "gpt-4o", cost=0, origin="orm", id="of-orm")
    request(hub, "llama3", cost=None, provider="ollama", id="local")
    parsed(llmctl("model", "reprice", "--json"))
    assert {row["id"]: row["cost"] for row in ask(hub, "SELECT id, cost FROM requests")} == {
        "of-orm": 12.5,
        "local": 0.0,
    }


def test_newer_list_keeps_the_rows_that_say_the_same(llmctl: Run, hub: str):
    request(hub, "gpt-4o")
    parsed(llmctl("model", "reprice", "--json"))
    ask(hub, "UPDATE model_prices SET source = 'genai-prices 0.0.1'")
    (old,) = ask(hub, "SELECT id FROM model_prices")
    request(hub, "gpt-4o", id="later")
    parsed(llmctl("model", "reprice", "--json"))
    (kept,) = ask(hub, "SELECT id, source FROM model_prices")
    assert kept["id"] == old["id"]
    assert kept["source"] != "genai-prices 0.0.1"
    ask(hub, "UPDATE model_prices SET source = 'genai-prices 0.0.2', input_per_million = 5")
    request(hub, "gpt-4o", id="dearer")
    parsed(llmctl("model", "reprice", "--json"))
    costs = ask(hub, "SELECT id, cost, price_id = ? AS is_old FROM requests ORDER BY id", old["id"])
    assert [(row["id"], row["cost"], row["is_old"]) for row in costs] == [
        ("dearer", 12.5, 0),
        ("gpt-4o", 12.5, 1),
        ("later", 12.5, 1),
    ]


def test_alias_gives_a_model_a_name_with_options(llmctl: Run, hub: str):
    done = llmctl("model", "alias", "polite", "echo", "-o", "temperature=0.2")
    assert done.returncode == 0, done.stderr
    assert llmctl("chat", "-m", "polite", "hello").stdout == "hello\n"
    (row,) = ask(hub, "SELECT parameters FROM requests")
    assert json.loads(row["parameters"])["options"] == {"temperature": 0.2}
    (listed,) = parsed(llmctl("model", "alias", "--json"))
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
def test_alias_that_means_nothing_is_refused(llmctl: Run, hub: str, words, code):
    assert llmctl("model", "alias", *words).returncode == code
    assert ask(hub, "SELECT * FROM model_aliases") == []


def test_alias_that_leads_back_to_itself_is_refused(llmctl: Run, hub: str):
    assert llmctl("model", "alias", "a", "echo").returncode == 0
    assert llmctl("model", "alias", "b", "a").returncode == 0
    done = llmctl("model", "alias", "a", "b")
    assert done.returncode == 4
    assert "leads back" in done.stderr
    assert llmctl("chat", "-m", "b", "hi").stdout == "hi\n"
