"""Agents that ask agents: what stops one of them stops all who asked, and all go on where they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.harness import Llmctl, parse_json, query


def agent(llmctl: Llmctl, name: str, tool: str, *flags: str) -> None:
    llmctl("agent", "create", name, "-m", "echo", "-o", f"tool={tool}", *flags, check=True)


@pytest.fixture
def boss(llmctl: Llmctl) -> str:
    """An agent that asks an agent that asks an agent, which wants to know the time."""
    agent(llmctl, "clerk", "time", "--tool", "time")
    agent(llmctl, "head", 'clerk {"prompt": "the time?"}', "--agent", "clerk")
    agent(llmctl, "boss", 'head {"prompt": "ask for the time"}', "--agent", "head")
    return "boss"


def test_pending_permission_of_a_subagent_stops_every_caller(llmctl: Llmctl, boss: str) -> None:
    done = llmctl("agent", "run", boss, "hello", "--jsonl")
    assert done.returncode == 8
    (waiting,) = parse_json(llmctl("tool", "pending", "--json"))
    assert (waiting["agent"], waiting["name"]) == ("clerk", "time")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["invocation_id"] for line in lines if line["type"] == "pending"] == [waiting["id"]]
    assert f"llmctl tool approve {waiting['id'][:8]} --continue" in done.stderr


def test_approving_continues_every_calling_agent(llmctl: Llmctl, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    waiting = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    done = llmctl("tool", "approve", waiting, "--continue", "--json")
    assert parse_json(done)["content"] == "hello"
    (call,) = parse_json(done)["tool_calls"]
    assert (call["name"], call["status"], call["result"]) == ("head", "completed", "ask for the time")
    assert query(llmctl.env, "SELECT name, status FROM tool_invocations ORDER BY rowid") == [
        ("head", "completed"),
        ("clerk", "completed"),
        ("time", "completed"),
    ]
    assert query(llmctl.env, "SELECT count(*) FROM agent_sessions") == [(3,)]
    assert query(llmctl.env, "SELECT count(*) FROM requests") == [(6,)]


def test_answer_that_was_continued_alone_is_not_requested_again(llmctl: Llmctl, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    (waiting,) = parse_json(llmctl("tool", "pending", "--json"))
    llmctl("tool", "approve", waiting["id"], check=True)
    assert llmctl("chat", "--chat", waiting["chat_id"]).stdout == "the time?\n"
    assert llmctl("agent", "run", boss, "-c").stdout == "hello\n"
    assert query(llmctl.env, "SELECT count(*) FROM requests") == [(6,)]


def test_new_prompt_cancels_a_pending_call_and_leaves_its_agent_alone(llmctl: Llmctl, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    assert llmctl("agent", "run", boss, "-c", "something else", "-o", "tool=null").returncode == 0
    waiting = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    assert llmctl("tool", "approve", waiting, "--continue").returncode == 0
    assert ("head", "cancelled") in query(llmctl.env, "SELECT name, status FROM tool_invocations")


def test_what_is_approved_beforehand_is_so_for_asked_agents(llmctl: Llmctl, boss: str) -> None:
    assert llmctl("agent", "run", boss, "hello", "--approve", "time").stdout == "hello\n"
    assert llmctl("agent", "run", boss, "hello", "--approve", "time", "--no-log").stdout == "hello\n"
    done = llmctl("agent", "run", boss, "hello", "--no-log")
    assert (done.returncode, "--approve time" in done.stderr) == (8, True)


def test_retried_turn_of_a_subagent_continues_its_caller(llmctl: Llmctl, boss: str) -> None:
    llmctl("agent", "run", boss, "hello")
    job = llmctl("job", "list", "--columns", "id", "--limit", "1").stdout.strip()
    assert llmctl("job", "retry", job, "--approve", "time").stdout == "hello\n"


def test_jobs_of_asked_agents_are_parts_of_the_asking(llmctl: Llmctl, boss: str) -> None:
    llmctl("agent", "run", boss, "hello", "--approve", "time", check=True)
    found = query(llmctl.env, "SELECT id, parent_id FROM jobs ORDER BY rowid")
    assert [parent for _, parent in found] == [None, found[0][0], found[1][0]]


def test_last_session_is_one_that_a_person_talked_in(llmctl: Llmctl, boss: str) -> None:
    asked = parse_json(llmctl("agent", "run", boss, "hello", "--approve", "time", "--json"))
    assert parse_json(llmctl("agent", "session", "show", "last", "--json"))["chat_id"] == asked["chat_id"]
    assert "the newest chat is an agent session" in llmctl("chats", "show", "last").stderr


def test_newest_session_is_one_that_a_person_talked_in(llmctl: Llmctl, boss: str) -> None:
    own = parse_json(llmctl("agent", "run", "clerk", "mine", "-o", "tool=null", "--json"))
    llmctl("agent", "run", boss, "hello", "--approve", "time", check=True)
    again = parse_json(llmctl("agent", "run", "clerk", "-c", "more", "-o", "tool=null", "--json"))
    assert again["session_id"] == own["session_id"]


def test_asked_agent_takes_as_long_as_the_turn(llmctl: Llmctl) -> None:
    """Not the 60 seconds of a tool; here the turn has less than a second."""
    agent(llmctl, "slow", "", "-o", "stall=30")
    agent(llmctl, "boss", 'slow {"prompt": "x"}', "--agent", "slow")
    done = llmctl("agent", "run", "boss", "hello", "--timeout", "0.7")
    assert done.returncode == 6
    assert query(llmctl.env, "SELECT DISTINCT status FROM jobs") == [("failed",)]
    assert query(llmctl.env, "SELECT count(*) FROM requests WHERE status = 'pending'") == [(0,)]


def test_file_of_an_asked_agent_counts(llmctl: Llmctl, tmp_path: Path) -> None:
    file = tmp_path / "clerk.toml"
    file.write_text('model = "echo"\n[options]\nreply = "old"\n')
    llmctl("agent", "apply", str(file), check=True)
    agent(llmctl, "boss", 'clerk {"prompt": "x"}', "--agent", "clerk")
    file.write_text('model = "echo"\n[options]\nreply = "new"\n')
    assert parse_json(llmctl("agent", "run", "boss", "hello", "--json"))["tool_calls"][0]["result"] == "new"


def test_deleting_a_chat_deletes_its_subagent_sessions(llmctl: Llmctl, env: Mapping[str, str], boss: str) -> None:
    llmctl("agent", "edit", "head", "-o", 'tool=clerk {"prompt": "zanzibar"}', check=True)
    chat = parse_json(llmctl("agent", "run", boss, "hello", "--approve", "time", "--json"))["chat_id"]
    llmctl("agent", "edit", "head", "-o", "tool=null", check=True)
    assert llmctl("chats", "delete", chat, "--yes").returncode == 0
    assert query(llmctl.env, "SELECT count(*) FROM chats") == [(0,)]
    assert b"zanzibar" not in Path(env["LLMCTL_DB"]).read_bytes()


def test_deleted_agent_is_named_and_can_be_removed(llmctl: Llmctl, boss: str) -> None:
    llmctl("agent", "remove", "head", "--yes", check=True)
    done = llmctl("agent", "run", boss, "hello")
    assert (done.returncode, 'no agent "head"' in done.stderr) == (3, True)
    llmctl("agent", "detach", boss, "head", check=True)
    assert llmctl("agent", "run", boss, "hello", "-o", "tool=null").stdout == "hello\n"
