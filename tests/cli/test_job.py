"""``llmctl job`` through the front door."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from llmctl.core import clock
from llmctl.engine.jobs import lease
from llmctl.store.opening import open_hub
from tests.conftest import Run
from tests.store.rows import Rows, event


@pytest.fixture
def hub(env: Mapping[str, str]) -> Iterator[Rows]:
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        yield Rows(database)


def parsed(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def running(hub: Rows, name: str, chat: dict[str, str] | None = None, **who: Any) -> str:
    payload = json.dumps({"chat_id": chat["id"]}) if chat else "{}"
    job_id = hub.insert("jobs", name=name, type="turn", status="running", payload=payload, **who)
    if chat:
        sql = "UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?"
        hub.database.execute(sql, (job_id, chat["thread_id"]))
    return job_id


def alive() -> dict[str, Any]:
    return {**lease.current()._asdict(), "lease_expires_at": lease.lease()}


DEAD = {"host": "elsewhere", "pid": 1}


def test_list_and_show(hub: Rows, llmctl: Run) -> None:
    chat = hub.chat()
    hub.insert("jobs", name="old", type="batch", status="failed", error="no", exit_code=6)
    hub.tick()
    job_id = running(hub, "new", chat, **alive())
    assert llmctl("job", "list", "--columns", "name,status").stdout == "new\trunning\nold\tfailed\n"
    assert llmctl("job", "list", "--status", "failed", "--columns", "name").stdout == "old\n"
    assert llmctl("job", "list", "--type", "turn", "--columns", "name").stdout == "new\n"
    found = parsed(llmctl("job", "show", job_id[:8], "--json"))
    assert (found["alive"], found["holds"], found["payload"]) == (True, [chat["thread_id"]], {"chat_id": chat["id"]})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["list", "--status", "nope"], 2, 'no status "nope"'),
        (["show", "nope"], 3, 'no job "nope"'),
        (["log", "nope"], 3, 'no job "nope"'),
    ],
)
def test_what_is_not_there_is_said(hub: Rows, llmctl: Run, arguments: list[str], code: int, words: str) -> None:
    done = llmctl("job", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_log_is_all_of_its_pieces(hub: Rows, llmctl: Run) -> None:
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


def test_follow_goes_on_until_the_job_ends(hub: Rows, env: Mapping[str, str]) -> None:
    log_id = hub.insert("text_logs", text="one\n")
    job_id = running(hub, "x", **alive())
    hub.database.execute("UPDATE {jobs} SET text_log_id = ? WHERE id = ?", (log_id, job_id))
    command = [sys.executable, "-m", "llmctl", "job", "log", job_id, "-f"]
    with subprocess.Popen(command, env=dict(env), stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout
        watchdog = threading.Timer(20, follower.kill)
        watchdog.start()
        assert follower.stdout.readline() == "one\n"
        hub.database.execute("UPDATE {text_logs} SET text = text || 'more\n' WHERE id = ?", (log_id,))
        assert follower.stdout.readline() == "more\n"
        hub.insert("text_logs", text="two\n", series_id=log_id, position=1)
        assert follower.stdout.readline() == "two\n"
        hub.database.execute("UPDATE {jobs} SET status = 'completed' WHERE id = ?", (job_id,))
        assert follower.stdout.read() == ""
        assert follower.wait() == 0
        watchdog.cancel()


def test_recover_finishes_the_dead_and_leaves_the_living(hub: Rows, llmctl: Run) -> None:
    dead, living = hub.chat("dead"), hub.chat("living")
    dead_id = running(hub, "dead", dead, **DEAD)
    hub.message(dead, "user", "go")
    hub.running(dead, [event("Hel"), event("lo")], job_id=dead_id)
    running(hub, "living", living, **alive())
    running(hub, "far", None, host="elsewhere", pid=1, lease_expires_at=clock.later(clock.now(), 60))
    done = llmctl("job", "recover", "--columns", "name,status")
    assert (done.returncode, done.stdout) == (0, "dead\tfailed\n")
    assert "recovered 1 job" in done.stderr
    shown = parsed(llmctl("chats", "show", "dead", "--json"))
    assert [(row["content"], row["status"]) for row in shown["messages"]][1] == ("Hello", "interrupted")
    assert llmctl("thread", "list", "--locked", "--columns", "chat").stdout == "living\n"
    assert llmctl("job", "recover").stdout == ""
