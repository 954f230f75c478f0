"""What lists tell people at a terminal: rows and columns left out, nothing found, titles, hints that can be pasted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from llmctl.core.humanize import format_title
from tests.fakes.hub_builder import HubBuilder
from tests.harness import LLMCTL, Llmctl, require_failure
from tests.terminal import Terminal


def show(env: Mapping[str, str], *words: str, columns: int = 100, code: int = 0) -> list[str]:
    with Terminal([*LLMCTL, *words], env, columns=columns) as terminal:
        assert terminal.finish() == code
        return terminal.text()


@pytest.fixture
def chats(hub: HubBuilder) -> HubBuilder:
    hub.turn(hub.chat("fix"), "the build is red", "undefined symbol foo", cost=0.5, input_tokens=1200)
    hub.turn(hub.chat(), "How do I feed a sourdough starter?", "Flour and water.", cost=0.25)
    failed = hub.chat()
    hub.message(failed, "user", "ship it", job_id=hub.insert("jobs", name="chat", type="turn", status="failed"))
    return hub


def test_list_of_chats_has_titles_costs_and_marks_and_says_what_it_left_out(
    chats: HubBuilder, env: Mapping[str, str]
) -> None:
    head, first, second, note = show(env, "chats", "list", "--limit", "2")
    assert head.split()[:4] == ["ID", "TITLE", "STATE", "COST"]
    assert first.split()[1:4] == ["ship", "it", "failed"]
    assert "How do I feed a sourdough starter?" in second
    assert "$0.25" in second
    assert note == "llmctl: 2 of 3; --limit 0 shows all"
    assert not any("of 3" in line for line in show(env, "chats", "list"))
    narrow = " ".join(show(env, "chats", "list", columns=40))
    assert "--columns" in narrow
    assert all(name in narrow.replace(" ", "") for name in ("tokens", "model", "message_count"))


def test_chats_are_sorted_and_named_columns_are_for_pipes_too(chats: HubBuilder, llmctl: Llmctl) -> None:
    def listed(*flags: str) -> list[list[str]]:
        columns = ["--columns", "title,status,cost,tokens"]
        return [line.split("\t") for line in llmctl("chats", "list", *columns, *flags, check=True).stdout.splitlines()]

    assert listed("--sort", "cost")[0] == ["fix", "completed", "0.5", "1205"]
    assert listed("--sort", "title")[0][0] == "fix"
    assert listed("--sort", "created")[0] == ["ship it", "failed", "", ""]
    require_failure(llmctl("chats", "list", "--sort", "nope"), 2)


def test_branches_left_behind_are_listed_on_request(chats: HubBuilder, llmctl: Llmctl) -> None:
    fix = chats.database.value("SELECT id FROM {chats} WHERE name = 'fix'")
    chats.database.execute("UPDATE {chats} SET superseded_by = ? WHERE id <> ?", (fix, fix))
    assert len(llmctl("chats", "list").stdout.splitlines()) == 1
    assert len(llmctl("chats", "list", "--branches").stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["chats", "list", "--since", "2999-01-01"], "no chats match"),
        (["chats", "search", "nothere"], "nothing found"),
        (["request", "list", "--status", "incomplete"], "no requests match"),
        (["log", "list"], "no logs yet"),
        (["agent", "list"], "no agents yet"),
    ],
)
def test_empty_list_says_so_to_people_alone(
    chats: HubBuilder, env: Mapping[str, str], llmctl: Llmctl, words: list[str], note: str
) -> None:
    assert show(env, *words) == [f"llmctl: {note}"]
    done = llmctl(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_search_shows_a_row_per_chat(chats: HubBuilder, env: Mapping[str, str], llmctl: Llmctl) -> None:
    chats.turn(chats.chat("bread"), "sourdough again", "sourdough it is")
    lines = show(env, "chats", "search", "sourdough")
    assert lines[0].split() == ["CHAT", "ID", "TITLE", "SNIPPET", "HITS", "NEWEST"]
    assert len(lines) == 3
    assert "bread" in lines[1]
    assert " 2 " in lines[1]
    with Terminal([*LLMCTL, "chats", "search", "starter"], {**env, "NO_COLOR": ""}) as terminal:
        assert terminal.finish() == 0
        assert b"\x1b[1mstarter\x1b[0m" in terminal.raw
    by_chat = llmctl("chats", "search", "sourdough", "--columns", "title,hits", check=True).stdout
    assert sorted(by_chat.splitlines()) == ["How do I feed a sourdough starter?\t1", "bread\t2"]


def test_jobs_leave_turns_out_and_show_what_people_need(
    chats: HubBuilder, env: Mapping[str, str], llmctl: Llmctl
) -> None:
    llmctl("job", "run", "--name", "greet", "--", "echo", "hi", check=True)
    lines = show(env, "job", "list")
    assert "greet" in lines[1]
    assert lines[2] == "llmctl: 3 turns of chats left out; --all lists them"
    assert len(show(env, "job", "list", "--all")) == 5
    assert len(llmctl("job", "list").stdout.splitlines()) == 4
    card = show(env, "job", "show", lines[1].split()[0])
    assert any(line.startswith("command") and line.endswith("echo hi") for line in card)
    assert not any("boot" in line or "lease" in line for line in card)
    assert "boot_id" in llmctl("job", "show", lines[1].split()[0], "--json").stdout


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["request", "show", "nope"], 3, "see: llmctl request list"),
        (["job", "show", "nope"], 3, "see: llmctl job list"),
        (["tool", "invocations", "nope"], 3, "see: llmctl tool invocations"),
        (["export", "fix"], 2, "for one chat: llmctl export --chat fix"),
        (["export"], 2, "llmctl export --all"),
    ],
)
def test_hints_can_be_pasted(chats: HubBuilder, llmctl: Llmctl, words: list[str], code: int, hint: str) -> None:
    assert hint in require_failure(llmctl(*words), code)


def test_title_is_the_name_or_the_first_words_or_the_id(tmp_path: Path) -> None:
    id = "3f2a9c1e-0000-4000-8000-000000000001"
    assert format_title("fix", "prompt", id) == "fix"
    assert format_title(None, "two\n  lines", id) == "two lines"
    assert format_title(None, " ", id) == format_title("", None, id) == "3f2a9c1e"
    long = format_title(None, "word " * 40, id)
    assert long == "word " * 11 + "word…"
    assert format_title(None, "x" * 100, id) == "x" * 59 + "…"
