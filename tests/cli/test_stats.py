"""``llmctl stats`` on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from llmctl.store.opening import open_hub
from tests.fakes.hub_builder import HubBuilder
from tests.harness import LLMCTL, Llmctl, parse_json, run_on_terminal

FIELDS = [
    *("chat_id", "requests", "failed_requests", "messages", "tool_calls", "input_tokens", "output_tokens"),
    *("total_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens", "cost", "unpriced_requests"),
    *("duration_ms", "avg_duration_ms", "p50_duration_ms", "p95_duration_ms", "p50_time_to_first_token_ms"),
    *("first_at", "last_at", "p95_time_to_first_token_ms"),
    *("retries", "failed_tool_calls", "tool_duration_ms", "cache_savings", "cached_requests", "saved_cost"),
]


@pytest.fixture
def hub(env: Mapping[str, str]) -> Iterator[HubBuilder]:
    """Three requests of 600, 700 and 1100 ms, one of them failed, on two days."""
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        rows = HubBuilder(database)
        chat = rows.chat("fix")
        rows.turn(chat, "a", "b", duration=600, time_to_first_token=210, cost=0.25, tag="ci")
        rows.turn(chat, "a", "b", duration=1100, status="failed", input_tokens=None, output_tokens=None)
        rows.turn(chat, "a", "b", at="2026-10-06T10:00:00.000+00:00", duration=700, model="sonnet", cost=0.5)
        yield rows


def test_json_has_the_documented_fields_in_their_order(hub: HubBuilder, llmctl: Llmctl) -> None:
    found = parse_json(llmctl("stats", "--chat", "fix", "--json"))
    assert list(found) == FIELDS
    assert found == {
        "chat_id": found["chat_id"],
        "requests": 3,
        "failed_requests": 1,
        "messages": 6,
        "tool_calls": 0,
        "input_tokens": 20,
        "output_tokens": 10,
        "total_tokens": 30,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "thinking_tokens": 0,
        "cost": 0.75,
        "unpriced_requests": 0,
        "duration_ms": 2400,
        "avg_duration_ms": 800,
        "p50_duration_ms": 700,
        "p95_duration_ms": 1100,
        "p50_time_to_first_token_ms": 210,
        "first_at": "2026-10-05T12:00:03.000+00:00",
        "last_at": "2026-10-06T10:00:01.000+00:00",
        "p95_time_to_first_token_ms": 210,
        "retries": 0,
        "failed_tool_calls": 0,
        "tool_duration_ms": 0,
        "cache_savings": None,
        "cached_requests": 0,
        "saved_cost": None,
    }
    rounded = {"p50_duration_ms": 720, "p50_time_to_first_token_ms": 220, "p95_time_to_first_token_ms": 220}
    assert parse_json(llmctl("stats", "--json")) == found | rounded | {"chat_id": None}


def test_no_request_is_zeros_and_nulls(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    open_hub(env["LLMCTL_DB"], "create").close()
    found = parse_json(llmctl("stats", "--json"))
    assert list(found) == FIELDS
    assert {name for name, value in found.items() if value is None} == {
        *("chat_id", "cost", "avg_duration_ms", "p50_duration_ms", "p95_duration_ms", "p50_time_to_first_token_ms"),
        *("first_at", "last_at", "p95_time_to_first_token_ms", "cache_savings", "saved_cost"),
    }
    assert llmctl("stats").returncode == 0
    assert parse_json(llmctl("stats", "--json", "--group-by", "model")) == {"groups": [], "total": found}
    assert llmctl("stats", "--plot").returncode == 0


def test_groups_and_their_total(hub: HubBuilder, llmctl: Llmctl) -> None:
    found = parse_json(llmctl("stats", "--group-by", "day,model", "--json"))
    assert [(group["day"], group["model"], group["requests"]) for group in found["groups"]] == [
        ("2026-10-05", "gpt-5", 2),
        ("2026-10-06", "sonnet", 1),
    ]
    assert set(found["groups"][0]) == {"day", "model", *FIELDS}
    assert found["total"] == parse_json(llmctl("stats", "--json"))
    lines = llmctl("stats", "--group-by", "model", "--jsonl").stdout.splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["gpt-5", "sonnet"]
    chosen = parse_json(llmctl("stats", "--group-by", "model", "--json", "--columns", "model,requests"))
    assert chosen == {
        "groups": [{"model": "gpt-5", "requests": 2}, {"model": "sonnet", "requests": 1}],
        "total": {"requests": 3},
    }


@pytest.mark.parametrize(
    ("flags", "requests"),
    [
        (["--since", "2026-10-06"], 1),
        (["--until", "2026-10-06"], 2),
        (["--since", "2026-10-05T12:00:03Z", "--until", "2026-10-05T12:00:05Z"], 1),
        (["--in", "2026-10-05"], 2),
        (["--in", "2026-10"], 3),
        (["--in", "2025"], 0),
        (["--in", "2026-10-06", "--tz", "Pacific/Kiritimati"], 2),
        (["--since", "2026-10-06", "--tz", "Pacific/Kiritimati"], 3),
        (["--connection", "work"], 3),
    ],
)
def test_ranges_and_parties(hub: HubBuilder, llmctl: Llmctl, flags: list[str], requests: int) -> None:
    assert parse_json(llmctl("stats", "--json", *flags))["requests"] == requests


def test_days_of_a_zone(hub: HubBuilder, llmctl: Llmctl) -> None:
    found = parse_json(llmctl("stats", "--json", "--group-by", "day", "--tz", "Pacific/Kiritimati"))
    assert [(group["day"], group["requests"]) for group in found["groups"]] == [("2026-10-06", 2), ("2026-10-07", 1)]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--group-by", "nope"], 2, "choose one of: hour, day, month, provider, model"),
        (["--group-by", "model,"], 2, "must be a list of keys"),
        (["--group-by", "model,model"], 2, "duplicate key"),
        (["--chat", "nope"], 3, 'no chat "nope"'),
        (["--agent", "nope"], 3, 'no agent "nope"'),
        (["--connection", "nope"], 3, 'no connection "nope"'),
        (["--since", "soon"], 2, 'cannot parse the time "soon"'),
        (["--since", "1d", "--until", "2d"], 2, "must not be later than"),
        (["--in", "whenever"], 2, 'cannot parse the period "whenever"'),
        (["--in", "today", "--since", "1d"], 2, "--in cannot be combined"),
        (["--tz", "Mars"], 2, 'unknown time zone "Mars"'),
        (["--json", "--columns", "nope"], 2, "no column"),
        (["--group-by", "model", "--json", "--columns", "nope"], 2, "no column"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    hub: HubBuilder, llmctl: Llmctl, flags: list[str], code: int, words: str
) -> None:
    done = llmctl("stats", *flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_text_names_its_range(hub: HubBuilder, llmctl: Llmctl, env: Mapping[str, str]) -> None:
    lines = dict(line.split("\t", 1) for line in llmctl("stats", "--in", "2026-10-05").stdout.splitlines())
    assert lines["range"] == "from 2026-10-05T00:00:00.000+00:00 to 2026-10-06T00:00:00.000+00:00"
    assert (lines["requests"], lines["total_tokens"], lines["cost"]) == ("2", "15", "0.25")
    code, screen = run_on_terminal([*LLMCTL, "stats", "--group-by", "model"], env)
    assert code == 0
    assert screen.startswith("from the first request, 2026-10-05 12:00, to now (UTC)\n")
    assert "gpt-5" in screen


def test_terminal_shows_a_card_without_zeros_and_groups_with_a_total(hub: HubBuilder, env: Mapping[str, str]) -> None:
    code, screen = run_on_terminal([*LLMCTL, "stats"], env)
    card = dict(line.split("  ", 1) for line in screen.splitlines())
    assert code == 0
    assert list(card)[1:7] == ["requests", "messages", "tokens in", "tokens out", "cost", "duration"]
    _, screen = run_on_terminal([*LLMCTL, "stats", "--group-by", "model"], env)
    lines = screen.splitlines()
    assert lines[1].split()[:3] == ["MODEL", "REQUESTS", "COST"]
    assert lines[-1].split()[:2] == ["total", "3"]
    assert "MESSAGES" not in screen
    _, screen = run_on_terminal([*LLMCTL, "stats", "--group-by", "status,model"], env)
    assert screen.splitlines()[1].split()[:4] == ["STATUS", "MODEL", "REQUESTS", "COST"]


def test_project_is_the_repository_above_a_folder(hub: HubBuilder, llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    for folder in ("shop", "shop/cart/api", "shop/gone", "alone"):
        hub.turn(hub.chat(), "hi", "ho", folder=str(tmp_path / folder), tag="t")
    groups = parse_json(llmctl("stats", "--group-by", "project", "--json"))["groups"]
    found = {group["project"]: group["requests"] for group in groups if group["project"]}
    assert found == {str(tmp_path / "shop"): 3, str(tmp_path / "alone"): 1}
    for flags, requests in (
        (["--folder", "shop"], 3),
        (["--folder", "shop/cart"], 1),
        (["--folder", "sho"], 0),
        (["--tag", "t"], 4),
        (["--tag", "t", "--folder", "alone"], 1),
        (["--tag", "other"], 0),
    ):
        assert parse_json(llmctl("stats", "--json", *flags))["requests"] == requests, flags


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--plot", "cost"], 0, "$0."),
        (["--plot=requests"], 0, "2 requests"),
        (["--plot", "words"], 2, "--plot must be tokens, cost or requests"),
        (["fix-42"], 2, "for one chat: llmctl stats --chat fix-42"),
    ],
)
def test_plot_draws_what_is_asked(hub: HubBuilder, llmctl: Llmctl, flags: list[str], code: int, words: str) -> None:
    done = llmctl("stats", *flags)
    assert done.returncode == code
    assert words in done.stdout + done.stderr


def test_outlier_leaves_the_other_bars_on_a_terminal(hub: HubBuilder, env: Mapping[str, str]) -> None:
    chat = hub.chat()
    for day, tokens in ((10, 1000), (11, 900), (12, 5_000_000), (13, 1100)):
        hub.turn(chat, "hi", "ho", input_tokens=tokens, at=f"2026-11-{day}T12:00:00.000+00:00")
    code, screen = run_on_terminal([*LLMCTL, "stats", "--plot", "--since", "2026-11-01", "--until", "2026-12-01"], env)
    lines = screen.splitlines()
    assert code == 0
    assert [line.count("█") > 20 for line in lines[1:5]] == [True] * 4
    assert "»" in lines[3]
    assert lines[5].startswith("» is longer")


def test_a_pipe_gets_the_groups_alone(hub: HubBuilder, llmctl: Llmctl) -> None:
    lines = llmctl("stats", "--group-by", "status", "--columns", "status,requests,p95_duration_ms").stdout
    assert lines == "completed\t2\t720\nfailed\t1\t1100\n"


def test_plot_draws_a_bar_for_each_day(hub: HubBuilder, llmctl: Llmctl) -> None:
    done = llmctl("stats", "--plot")
    _, first, second = done.stdout.splitlines()
    assert first.startswith("2026-10-05  ████")
    assert first.endswith(" 15 tokens, $0.25")
    assert second.endswith(" 15 tokens, $0.50")


def test_csv_of_one_record_has_a_header(hub: HubBuilder, llmctl: Llmctl) -> None:
    assert llmctl("stats", "--csv", "--columns", "requests,cost").stdout == "requests,cost\r\n3,0.75\r\n"


def test_deleted_connection_is_shown_by_its_name(hub: HubBuilder, llmctl: Llmctl) -> None:
    assert parse_json(llmctl("stats", "--connection", "work", "--json"))["requests"] == 3


def test_stats_of_a_failed_and_a_cut_turn_count_what_was_used(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "a", "one two three", "-o", "cut=2")
    llmctl("chat", "-m", "echo", "--name", "a", "--retries", "0", "again", "-o", "fail=400")
    found = parse_json(llmctl("stats", "--chat", "a", "--json"))
    assert (found["requests"], found["failed_requests"]) == (2, 1)


def test_a_chat_without_its_requests_has_the_tokens_of_its_messages(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "kept", "one two three", check=True)
    turns = ((), ("--no-persist", "requests"), ("--no-persist", "requests", "-o", "tool=time"))
    for flags in turns:
        llmctl("chat", "--chat", "kept", "-T", "time:auto", *flags, "four five", check=True)
    whole, chat = (parse_json(llmctl("stats", "--json", *of)) for of in ((), ("--chat", "kept")))
    names = ("input_tokens", "output_tokens", "total_tokens")
    assert {name: chat[name] for name in names} == {name: whole[name] for name in names}
    assert (chat["requests"], whole["requests"]) == (2, 5)
    llmctl("chats", "fork", "kept", "--name", "copy", check=True)
    assert parse_json(llmctl("stats", "--json", "--chat", "copy"))["total_tokens"] == 0
    llmctl("chat", "--chat", "copy", "--no-persist", "requests", "six", check=True)
    copy = parse_json(llmctl("stats", "--json", "--chat", "copy"))
    assert copy["total_tokens"] == parse_json(llmctl("stats", "--json"))["total_tokens"] - whole["total_tokens"]
