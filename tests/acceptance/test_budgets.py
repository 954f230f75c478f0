"""Cost limits across steps, processes and crashes; and the rows of a request that was not sent."""

from __future__ import annotations

import json
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from llmctl.core import clock
from llmctl.core.humanize import format_dollars
from llmctl.core.stored_values import new_id
from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import CUT, FakeServer, Reply, Request, json_reply, refusal, stream
from tests.harness import Llmctl, run_python, wait_until

#: Dollars for a token in, and for a token out: whole numbers of them are easy to read.
IN, OUT = 0.001, 0.01
#: The answers of the fake server take 7 tokens in and 2 out.
COST = 7 * IN + 2 * OUT


@pytest.fixture(autouse=True)
def priced(hub: HubFile) -> None:
    """Give the fake model a price, with a window that keeps the bound of the input small."""
    price(hub, "fake-1")


def price(hub: HubFile, model: str, provider: str = "openai", window: int = 10) -> None:
    now = clock.now()
    with closing(sqlite3.connect(hub.path, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO model_prices (id, provider, model, source, input_per_million, output_per_million, details,"
            " created_at, updated_at) VALUES (?, ?, ?, 'user', ?, ?, ?, ?, ?)",
            (new_id(), provider, model, IN * 1e6, OUT * 1e6, json.dumps({"context_window": window}), now, now),
        )


def ledger(hub: HubFile) -> list[tuple[Any, ...]]:
    rows = hub.rows("SELECT status, cost, reserved_cost FROM requests ORDER BY created_at")
    return [(row["status"], row["cost"], row["reserved_cost"]) for row in rows]


def test_answer_is_priced_with_the_row_it_was_priced_by(llmctl: Llmctl, hub: HubFile) -> None:
    done = llmctl("chat", "hi there", "--json", "-u")
    assert done.json["cost"] == pytest.approx(7 * IN + 3 * OUT)
    assert format_dollars(done.json["cost"]) in done.stderr
    found = hub.one("SELECT r.cost, p.source, p.model FROM requests r JOIN model_prices p ON p.id = r.price_id")
    assert found == {"cost": done.json["cost"], "source": "user", "model": "fake-1"}
    assert llmctl("stats", "--json").json["unpriced_requests"] == 0


def test_cost_of_the_provider_wins(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    choices = [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "cost": 0.5}
    server.answer(json_reply(200, {"id": "1", "model": "fake-1", "choices": choices, "usage": usage}))
    assert llmctl("chat", "hi", "--no-stream", "--json").json["cost"] == 0.5
    assert hub.one("SELECT cost, price_id FROM requests") == {"cost": 0.5, "price_id": None}
    llmctl("model", "reprice", "--all")
    assert hub.value("SELECT cost FROM requests") == 0.5


def test_request_over_the_cost_limit_is_not_sent_and_can_be_continued(
    llmctl: Llmctl, hub: HubFile, server: FakeServer
) -> None:
    done = llmctl("chat", "hi", "--max-cost", "0.05", "-o", "max_tokens=16", "--json")
    assert (done.returncode, done.error["reason"], server.requests) == (7, "max_cost", [])
    assert "16 out" in done.error["message"]
    assert ledger(hub) == []
    assert hub.messages_by_role == [("user", "completed", "hi")]
    assert hub.is_free()
    assert llmctl("chat", "-c", "--max-cost", "0.2", "-o", "max_tokens=16").returncode == 0
    assert [row[2] for row in hub.messages_by_role] == ["hi", "echo: hi"]


def test_refusal_names_the_answer_that_would_fit(llmctl: Llmctl) -> None:
    done = llmctl("chat", "hi", "--max-cost", "0.5", "-o", "max_tokens=100", "--json")
    assert "max_tokens=49" in done.error["hint"]
    assert llmctl("chat", "hi", "--max-cost", "0.5", "-o", "max_tokens=49").returncode == 0


def test_unknown_price_under_a_cap_is_refused_unless_it_costs_nothing(llmctl: Llmctl, server: FakeServer) -> None:
    done = llmctl("chat", "hi", "-m", "fake:mystery", "--max-cost", "5", "--json")
    assert (done.returncode, done.error["reason"], server.requests) == (7, "unknown_price", [])
    assert "model price openai:mystery" in done.error["hint"]
    assert llmctl("chat", "hi", "-m", "echo", "--max-cost", "0").returncode == 0


def test_what_nobody_can_bound_is_refused_under_a_cap(llmctl: Llmctl, server: FakeServer) -> None:
    done = llmctl("chat", "hi", "--max-cost", "5", "-o", "web_search_options:={}", "-o", "plugins:=[1]", "--json")
    assert (done.returncode, done.error["reason"], server.requests) == (7, "unbounded", [])


def test_budget_counts_what_others_spent(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    llmctl("settings", "set", "budget.day", "0.15")
    codes = [llmctl("chat", "a b", "-o", "max_tokens=6").returncode for _ in range(4)]
    spent = hub.value("SELECT sum(cost) FROM requests")
    assert codes == [0, 0, 0, 7]
    assert spent == pytest.approx(3 * (7 * IN + 3 * OUT))
    done = llmctl("chat", "more", "-o", "max_tokens=6", "--json")
    assert done.error["reason"] == "budget_day"
    llmctl("settings", "unset", "budget.day")
    llmctl("settings", "set", "budget.month", "0.1")
    assert llmctl("chat", "more", "-o", "max_tokens=6", "--json").error["reason"] == "budget_month"


@pytest.mark.slow
def test_20_processes_at_once_never_pass_the_budget(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    most = 10 * IN + 4 * OUT
    llmctl("settings", "set", "budget.day", str(5.5 * most))
    with ThreadPoolExecutor(20) as pool:
        runs = list(pool.map(lambda number: llmctl("chat", f"n{number}", "-o", "max_tokens=4"), range(20)))
    codes = sorted(run.returncode for run in runs)
    spent = hub.value("SELECT sum(cost) FROM requests")
    assert set(codes) == {0, 7}
    assert codes.count(0) >= 5
    assert len(server.requests) == codes.count(0)
    assert spent <= 5.5 * most
    assert hub.value("SELECT sum(cost) FROM usage_hourly") == pytest.approx(spent)
    assert all(reserved is None for _, _, reserved in ledger(hub))
    hub.assert_sound()


def test_running_request_holds_its_share_until_it_ends(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    llmctl("settings", "set", "budget.day", "0.1")
    server.answer(stream("one two", hold=1))
    first = llmctl.start("chat", "hi", "-o", "max_tokens=6")
    first.wait_for_output("one")
    assert ledger(hub) == [("pending", None, pytest.approx(0.07))]
    assert llmctl("chat", "no", "-o", "max_tokens=6").returncode == 7
    server.release()
    first.wait_for_output("two")
    assert first.wait().returncode == 0
    assert ledger(hub) == [("completed", pytest.approx(COST), None)]
    assert llmctl("chat", "yes", "-o", "max_tokens=6").returncode == 0


def test_reservation_of_a_dead_process_is_released_except_its_possible_cost(
    llmctl: Llmctl, hub: HubFile, server: FakeServer
) -> None:
    llmctl("settings", "set", "budget.day", "0.13")
    server.answer(stream("one two", hold=1))
    first = llmctl.start("chat", "hi", "-o", "max_tokens=6")
    first.wait_for_output("one")
    first.kill()
    assert llmctl("chat", "again", "-o", "max_tokens=6").returncode == 0
    dead, second = ledger(hub)
    assert dead == ("interrupted", None, pytest.approx(10 * IN + 2 * OUT))
    assert second == ("completed", pytest.approx(COST), None)


def test_interrupted_request_counts_what_it_may_have_cost(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    llmctl("settings", "set", "budget.day", "1")
    server.answer(stream("one two", hold=1))
    run = llmctl.start("chat", "hi", "-o", "max_tokens=50")
    run.wait_for_output("one")
    run.kill(signal.SIGINT)
    assert ledger(hub) == [("interrupted", None, pytest.approx(10 * IN + 2 * OUT))]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, "dropped"])
def test_interrupted_request_never_holds_more_than_it_could_cost(
    llmctl: Llmctl, hub: HubFile, server: FakeServer, how: Any
) -> None:
    llmctl("settings", "set", "budget.day", "1")
    server.answer(stream("word " * 60, then=CUT) if how == "dropped" else stream("word " * 60 + "end", hold=50))
    run = llmctl.start("chat", "hi", "-o", "max_tokens=6")
    if how != "dropped":
        run.wait_for_output("word")
        wait_until(lambda: str(hub.rows("SELECT data FROM stream_chunks")).count("word") >= 50)
        run.kill(how)
        llmctl("job", "recover")
    else:
        run.wait()
    status, cost, held = ledger(hub)[0]
    assert (status, cost) == ("incomplete" if how == "dropped" else "interrupted", None)
    assert held == pytest.approx(10 * IN + 6 * OUT)


def vanish(request: Request) -> Reply:
    """Close the connection without an answer: what the host did with the request is not known."""
    raise OSError


@pytest.mark.parametrize("first", ["lost", "refused"])
def test_cost_of_a_retried_request_is_that_of_any_attempt(
    llmctl: Llmctl, hub: HubFile, server: FakeServer, first: str
) -> None:
    llmctl("settings", "set", "budget.day", "1")
    server.answer(*((vanish, refusal(503, "later")) if first == "lost" else (refusal(503, "later"), vanish)))
    assert llmctl("chat", "hi", "-o", "max_tokens=6", "--retries", "1").returncode == 6
    (status, cost, held) = ledger(hub)[0]
    assert (status, cost) == ("failed", None)
    assert held == pytest.approx(10 * IN)
    assert hub.value("SELECT status_code FROM requests") == (503 if first == "lost" else None)


@pytest.mark.parametrize("ending", ["killed", "timed out", "refused"])
def test_vectors_that_may_have_been_billed_stay_counted(
    llmctl: Llmctl, hub: HubFile, server: FakeServer, ending: str
) -> None:
    price(hub, "fake-embed", window=0)
    llmctl("settings", "set", "budget.day", "9")
    server.answer(json_reply(400, {"error": {"message": "no"}}) if ending == "refused" else stream("x", hold=0))
    command = ("embed", "-m", "fake:fake-embed", "hi", "--timeout", "1" if ending == "timed out" else "60")
    run = llmctl.start(*command, "--retries", "0")
    if ending == "killed":
        server.wait_for(1)
        run.kill()
        assert llmctl("job", "recover").returncode == 0
    else:
        run.wait()
    (status, cost, held) = ledger(hub)[0]
    assert (status, cost) == ("interrupted" if ending == "killed" else "failed", None)
    assert (held is None) if ending == "refused" else (held > 1)


def test_refused_request_costs_nothing(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    llmctl("settings", "set", "budget.day", "1")
    server.answer(json_reply(400, {"error": {"message": "no"}}))
    assert llmctl("chat", "hi", "-o", "max_tokens=50").returncode == 5
    assert ledger(hub) == [("failed", None, None)]


def test_replay_keeps_to_the_budget(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    assert llmctl("chat", "hi", "-o", "max_tokens=6").returncode == 0
    llmctl("settings", "set", "budget.day", "0.05")
    found = hub.value("SELECT id FROM requests")
    assert llmctl("request", "replay", found).returncode == 7


def test_unlogged_turn_is_priced_and_capped(llmctl: Llmctl, hub: HubFile) -> None:
    assert llmctl("chat", "hi", "-n", "--max-cost", "0.2", "-o", "max_tokens=6").returncode == 0
    assert ledger(hub) == [("completed", pytest.approx(COST), None)]


def test_unknown_price_is_looked_for_once(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    hub.connect("other", server.url, model="mystery-1", key="env:FAKE_KEY")
    hub.rows("DELETE FROM model_prices RETURNING id")
    probe = (
        "import os, sys; from llmctl.cli.main import run; from llmctl.cli.console.console import process_streams;"
        "code = run(['chat', '-m', 'other', 'hi'], os.environ, process_streams());"
        "sys.stderr.write('loaded' if 'genai_prices' in sys.modules else 'kept')"
    )
    seen = [run_python(probe, env=llmctl.env).stderr for _ in range(2)]
    assert [text[-6:].strip() for text in seen] == ["loaded", "kept"]
    rows = hub.rows("SELECT model, details FROM model_prices ORDER BY model")
    assert [(row["model"], row["details"]) for row in rows] == [
        ("fake-1", '{"unknown":true}'),
        ("mystery-1", '{"unknown":true}'),
    ]
    hub.rows("UPDATE model_prices SET source = 'genai-prices 0.0.0' RETURNING id")
    third = run_python(probe, env=llmctl.env)
    assert third.stderr.endswith("loaded")


def test_unknown_model_brings_near_names(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(json_reply(404, {"error": {"message": "The model does not exist", "code": "model_not_found"}}))
    done = llmctl("chat", "hi", "-m", "fake:gtp-4o-mini", "--json")
    assert (done.returncode, done.error["reason"]) == (3, "model_not_found")
    assert "gpt-4o-mini" in done.error["hint"]
