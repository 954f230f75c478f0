"""``llmctl job`` on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core import clock
from llmctl.engine.jobs import lease
from tests.fakes.hub_builder import HubBuilder, event
from tests.harness import Llmctl, parse_json


def running(hub: HubBuilder, name: str, chat: dict[str, str] | None = None, **who: Any) -> str:
    payload = json.dumps({"chat_id": chat["id"]}) if chat else "{}"
    job_id = hub.insert("jobs", name=name, type="turn", status="running", payload=payload, **who)
    if chat:
        sql = "UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?"
        hub.database.execute(sql, (job_id, chat["thread_id"]))
    return job_id


def alive() -> dict[str, Any]:
    return {**lease.process_identity().to_dict(), "lease_expires_at": lease.lease_expiry()}


DEAD = {"host": "elsewhere", "pid": 1}


def test_list_and_show(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat = hub.chat()
    hub.insert("jobs", name="old", type="batch", status="failed", error="no", exit_code=6)
    hub.tick()
    job_id = running(hub, "new", chat, **alive())
    assert llmctl("job", "list", "--columns", "name,status").stdout == "new\trunning\nold\tfailed\n"
    assert llmctl("job", "list", "--status", "failed", "--columns", "name").stdout == "old\n"
    assert llmctl("job", "list", "--type", "turn", "--columns", "name").stdout == "new\n"
    found = parse_json(llmctl("job", "show", job_id[:8], "--json"))
    assert (found["alive"], found["holds"], found["payload"]) == (True, [chat["thread_id"]], {"chat_id": chat["id"]})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["list", "--status", "nope"], 2, 'no status "nope"'),
        (["show", "nope"], 3, 'no job "nope"'),
        (["log", "nope"], 3, 'no job "nope"'),
    ],
)
def test_what_is_not_there_is_said(
    hub: HubBuilder, llmctl: Llmctl, arguments: list[str], code: int, words: str
) -> None:
    done = llmctl("job", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_log_is_all_of_its_pieces(hub: HubBuilder, llmctl: Llmctl) -> None:
    log_id = hub.insert("text_logs", text="one\n")
    for position, text in enumerate(("two\n", "three"), 1):
        hub.insert("text_logs", text=text, series_id=log_id, position=position)
    job_id = hub.insert("jobs", name="x", type="command", status="completed", text_log_id=log_id)
    assert llmctl("job", "log", job_id).stdout == "one\ntwo\nthree"
    assert llmctl("job", "log", job_id, "--follow").stdout == "one\ntwo\nthree"
    bare = hub.insert("jobs", name="x", type="command", status="failed", error="no such program")
    done = llmctl("job", "log", bare)
    assert done.returncode == 3
    assert "it failed with: no such program" in done.stderr


def test_follow_ends_with_the_job(hub: HubBuilder, llmctl: Llmctl) -> None:
    log_id = hub.insert("text_logs", text="one\n")
    job_id = running(hub, "x", **alive())
    hub.database.execute("UPDATE {jobs} SET text_log_id = ? WHERE id = ?", (log_id, job_id))
    with llmctl.start("job", "log", job_id, "-f") as follower:
        follower.wait_for_output("one\n")
        hub.database.execute("UPDATE {text_logs} SET text = text || 'more\n' WHERE id = ?", (log_id,))
        follower.wait_for_output("more\n")
        hub.insert("text_logs", text="two\n", series_id=log_id, position=1)
        follower.wait_for_output("two\n")
        hub.database.execute("UPDATE {jobs} SET status = 'completed' WHERE id = ?", (job_id,))
        done = follower.wait()
    assert (done.returncode, done.stdout) == (0, "one\nmore\ntwo\n")


def test_recover_finishes_dead_jobs_and_leaves_live_ones(hub: HubBuilder, llmctl: Llmctl) -> None:
    dead, living = hub.chat("dead"), hub.chat("living")
    dead_id = running(hub, "dead", dead, **DEAD)
    hub.message(dead, "user", "go")
    hub.running(dead, [event("Hel"), event("lo")], job_id=dead_id)
    running(hub, "living", living, **alive())
    running(hub, "far", None, host="elsewhere", pid=1, lease_expires_at=clock.add_seconds(clock.now(), 60))
    done = llmctl("job", "recover", "--columns", "name,status")
    assert (done.returncode, done.stdout) == (0, "dead\tfailed\n")
    assert "recovered 1 job" in done.stderr
    shown = parse_json(llmctl("chats", "show", "dead", "--json"))
    assert [(row["content"], row["status"]) for row in shown["messages"]][1] == ("Hello", "interrupted")
    assert llmctl("thread", "list", "--locked", "--columns", "chat").stdout == "living\n"
    assert llmctl("job", "recover").stdout == ""
