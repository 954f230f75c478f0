"""Agents that ask agents: what stops one of them stops all who asked, and all go on where they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run


def parsed(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(llmctl: Run, sql: str) -> list[Any]:
    return [tuple(row.values()) for row in parsed(llmctl("db", "query", sql, "--json"))]


def agent(llmctl: Run, name: str, tool: str, *flags: str) -> None:
    llmctl("agent", "create", name, "-m", "echo", "-o", f"tool={tool}", *flags, check=True)


@pytest.fixture
def boss(llmctl: Run) -> str:
    """An agent that asks an agent that asks an agent, which wants to know the time."""
    agent(llmctl, "clerk", "time", "--tool", "time")
    agent(llmctl, "head", 'clerk {"prompt": "the time?"}', "--agent", "clerk")
    agent(llmctl, "boss", 'head {"prompt": "ask for the time"}', "--agent", "head")
    return "boss"


def test_permission_of_an_asked_agent_stops_all_who_asked(llmctl: Run, boss: str) -> None:
    done = llmctl("agent", "run", boss, "hello", "--jsonl")
    assert done.returncode == 8
    (waiting,) = parsed(llmctl("tool", "pending", "--json"))
    assert (waiting["agent"], waiting["name"]) == ("clerk", "time")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["invocation_id"] for line in lines if line["type"] == "pending"] == [waiting["id"]]
    assert f"llmctl tool approve {waiting['id'][:8]} --continue" in done.stderr


def test_approving_goes_on_with_all_who_asked(llmctl: Run, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    waiting = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    done = llmctl("tool", "approve", waiting, "--continue", "--json")
    assert parsed(done)["content"] == "hello"
    (call,) = parsed(done)["tool_calls"]
    assert (call["name"], call["status"], call["result"]) == ("head", "completed", "ask for the time")
    assert rows(llmctl, "SELECT name, status FROM tool_invocations ORDER BY rowid") == [
        ("head", "completed"),
        ("clerk", "completed"),
        ("time", "completed"),
    ]
    assert rows(llmctl, "SELECT count(*) FROM agent_sessions") == [(3,)]
    assert rows(llmctl, "SELECT count(*) FROM requests") == [(6,)]


def test_answer_that_was_gone_on_for_alone_is_not_asked_for_again(llmctl: Run, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    (waiting,) = parsed(llmctl("tool", "pending", "--json"))
    llmctl("tool", "approve", waiting["id"], check=True)
    assert llmctl("chat", "--chat", waiting["chat_id"]).stdout == "the time?\n"
    assert llmctl("agent", "run", boss, "-c").stdout == "hello\n"
    assert rows(llmctl, "SELECT count(*) FROM requests") == [(6,)]


def test_call_that_is_walked_away_from_leaves_its_agent_alone(llmctl: Run, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    assert llmctl("agent", "run", boss, "-c", "something else", "-o", "tool=null").returncode == 0
    waiting = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    assert llmctl("tool", "approve", waiting, "--continue").returncode == 0
    assert ("head", "cancelled") in rows(llmctl, "SELECT name, status FROM tool_invocations")


def test_what_is_approved_beforehand_is_so_for_asked_agents(llmctl: Run, boss: str) -> None:
    assert llmctl("agent", "run", boss, "hello", "--approve", "time").stdout == "hello\n"
    assert llmctl("agent", "run", boss, "hello", "--approve", "time", "--no-log").stdout == "hello\n"
    done = llmctl("agent", "run", boss, "hello", "--no-log")
    assert (done.returncode, "--approve time" in done.stderr) == (8, True)


def test_retried_turn_of_an_asked_agent_goes_on_with_who_asked(llmctl: Run, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    job = llmctl("job", "list", "--columns", "id", "--limit", "1").stdout.strip()
    assert llmctl("job", "retry", job, "--approve", "time").stdout == "hello\n"


def test_jobs_of_asked_agents_are_parts_of_the_asking(llmctl: Run, boss: str) -> None:
    llmctl("agent", "run", boss, "hello", "--approve", "time", check=True)
    found = rows(llmctl, "SELECT id, parent_id FROM jobs ORDER BY rowid")
    assert [parent for _, parent in found] == [None, found[0][0], found[1][0]]


def test_last_chat_is_one_that_a_person_talked_in(llmctl: Run, boss: str) -> None:
    asked = parsed(llmctl("agent", "run", boss, "hello", "--approve", "time", "--json"))
    assert parsed(llmctl("chats", "show", "last", "--json"))["id"] == asked["chat_id"]


def test_newest_session_is_one_that_a_person_talked_in(llmctl: Run, boss: str) -> None:
    own = parsed(llmctl("agent", "run", "clerk", "mine", "-o", "tool=null", "--json"))
    llmctl("agent", "run", boss, "hello", "--approve", "time", check=True)
    again = parsed(llmctl("agent", "run", "clerk", "-c", "more", "-o", "tool=null", "--json"))
    assert again["session_id"] == own["session_id"]


def test_asked_agent_takes_as_long_as_the_turn(llmctl: Run) -> None:
    """Not the 60 seconds of a tool; here the turn has less than a second."""
    agent(llmctl, "slow", "", "-o", "stall=30")
    agent(llmctl, "boss", 'slow {"prompt": "x"}', "--agent", "slow")
    done = llmctl("agent", "run", "boss", "hello", "--timeout", "0.7")
    assert done.returncode == 6
    assert rows(llmctl, "SELECT DISTINCT status FROM jobs") == [("failed",)]
    assert rows(llmctl, "SELECT count(*) FROM requests WHERE status = 'pending'") == [(0,)]


def test_file_of_an_asked_agent_counts(llmctl: Run, tmp_path: Path) -> None:
    file = tmp_path / "clerk.toml"
    file.write_text('model = "echo"\n[options]\nreply = "old"\n')
    llmctl("agent", "apply", str(file), check=True)
    agent(llmctl, "boss", 'clerk {"prompt": "x"}', "--agent", "clerk")
    file.write_text('model = "echo"\n[options]\nreply = "new"\n')
    assert parsed(llmctl("agent", "run", "boss", "hello", "--json"))["tool_calls"][0]["result"] == "new"


def test_deleted_chat_takes_along_what_agents_were_asked_in_it(llmctl: Run, env: Mapping[str, str], boss: str) -> None:
    llmctl("agent", "edit", "head", "-o", 'tool=clerk {"prompt": "zanzibar"}', check=True)
    chat = parsed(llmctl("agent", "run", boss, "hello", "--approve", "time", "--json"))["chat_id"]
    llmctl("agent", "edit", "head", "-o", "tool=null", check=True)
    assert llmctl("chats", "delete", chat, "--yes").returncode == 0
    assert rows(llmctl, "SELECT count(*) FROM chats") == [(0,)]
    assert b"zanzibar" not in Path(env["LLMCTL_DB"]).read_bytes()


def test_agent_that_is_gone_is_named_and_can_be_taken_away(llmctl: Run, boss: str) -> None:
    llmctl("agent", "remove", "head", "--yes", check=True)
    done = llmctl("agent", "run", boss, "hello")
    assert (done.returncode, 'the agent "head", which this one may ask, is gone' in done.stderr) == (3, True)
    llmctl("agent", "detach", boss, "head", check=True)
    assert llmctl("agent", "run", boss, "hello", "-o", "tool=null").stdout == "hello\n"
