"""What a turn does when the hub takes its rows no longer: show the answer, keep the rows, ask nothing further."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import FakeServer, Reply, event, stream
from tests.harness import PYTHON, Llmctl, Result, RunningProcess

EVENTS = {"content-type": "text/event-stream"}
#: What another program does to the hub in the middle of a turn, and how it is undone.
CHANGES = {
    "renamed table": ("ALTER TABLE messages RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO messages"),
    "constraint": (
        "CREATE TRIGGER no BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'not today'); END",
        "DROP TRIGGER no",
    ),
}


def change(hub: HubFile, sql: str) -> None:
    with closing(sqlite3.connect(hub.path, isolation_level=None, timeout=30)) as connection:
        connection.execute("PRAGMA legacy_alter_table=ON")
        connection.executescript(sql)


def start_held(llmctl: Llmctl, server: FakeServer, *words: str, text: str = "one two three") -> RunningProcess:
    server.answer(stream(text, hold=2))
    running = llmctl.start("chat", *words, "hello")
    running.wait_for_output("two")
    return running


def release(running: RunningProcess, server: FakeServer) -> Result:
    server.release()
    return running.wait()


@pytest.mark.parametrize("kind", list(CHANGES))
def test_hub_changed_in_a_turn_costs_no_answer(llmctl: Llmctl, server: FakeServer, hub: HubFile, kind: str) -> None:
    do, undo = CHANGES[kind]
    running = start_held(llmctl, server)
    change(hub, do)
    done = release(running, server)
    assert (done.returncode, done.stdout) == (13, "one two three\n")
    assert done.stderr.startswith("llmctl: cannot store the answer: "), done.stderr
    assert "Traceback" not in done.stderr
    assert os.path.exists(f"{hub.path}.spool")
    change(hub, undo)
    assert llmctl("chat", "-c", "and on").returncode == 0
    answers = [row for row in hub.messages_by_role if row[0] == "assistant"]
    assert answers == [("assistant", "completed", "one two three"), ("assistant", "completed", "echo: and on")]
    assert hub.states()["jobs"] == ["completed"] * 2
    assert hub.list_side_files() == []
    assert llmctl("db", "check").returncode == 0


def test_hub_restored_in_a_turn_costs_no_answer(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    llmctl("chat", "-m", "echo", "--name", "old", "hi", check=True)
    llmctl("db", "backup", f"{llmctl.cwd}/copy.db", check=True)
    running = start_held(llmctl, server)
    llmctl("db", "restore", f"{llmctl.cwd}/copy.db", "--force", check=True)
    assert_lost_turn_comes_back(llmctl, server, hub, running)


@pytest.mark.parametrize("is_new", [True, False], ids=["new chat", "known chat"])
@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_hub_that_leaves_its_place_in_a_turn_costs_no_answer(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, how: str, is_new: bool, template: str
) -> None:
    if not is_new:
        llmctl("chat", "--name", "x", "first", check=True)
    running = start_held(llmctl, server, "--name", "x")
    if how == "deleted":
        os.unlink(hub.path)
    else:
        os.rename(hub.path, f"{hub.path}.moved")
    for side in hub.list_side_files():
        if side.endswith(("-wal", "-shm")):
            os.unlink(f"{llmctl.cwd}/{side}")
    if how == "replaced":
        shutil.copy2(template, hub.path)
    assert_lost_turn_comes_back(llmctl, server, hub, running)


def assert_lost_turn_comes_back(llmctl: Llmctl, server: FakeServer, hub: HubFile, running: RunningProcess) -> None:
    done = release(running, server)
    assert (done.returncode, done.stdout) == (13, "one two three\n"), done
    assert "was moved, deleted or replaced during the turn\nhint: the missing rows are in" in done.stderr
    after = llmctl("chat", "-m", "echo", "hi")
    assert after.returncode == 0, after
    rows = hub.rows("SELECT role, status, content FROM messages WHERE content IN ('hello', 'one two three')")
    assert [(row["role"], row["status"]) for row in rows] == [("user", "completed"), ("assistant", "completed")]
    assert hub.value("SELECT count(*) FROM requests WHERE status = 'completed' AND model = 'fake-1'") >= 1
    assert llmctl("db", "check").returncode == 0


def unwritable_after_this() -> str:
    """Return a command for a tool: it leaves a line in a file, and the caller's hub can grow no longer."""
    code = (
        "import os,resource; open('ran','a').write('x\\n');"
        " size=os.path.getsize(os.environ['HUB']+'-wal');"
        " resource.prlimit(os.getppid(),resource.RLIMIT_FSIZE,(size,size))"
    )
    return f'{PYTHON} -c "{code}"'


def calls(*names: str) -> Reply:
    """Return an answer that calls tools."""
    wanted = [
        {"index": n, "id": f"c{n}", "function": {"name": name, "arguments": "{}"}} for n, name in enumerate(names)
    ]
    end = event({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    first = event({"id": "x", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": wanted}}]})
    return Reply(200, EVENTS, (first, end, event("[DONE]")), chunked=True)


@pytest.mark.parametrize("capped", [(), ("--max-cost", "5")], ids=["", "capped"])
def test_nothing_is_asked_once_the_result_of_a_tool_cannot_be_stored(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, capped: tuple[str, ...]
) -> None:
    llmctl = llmctl.with_env(HUB=hub.path)
    llmctl("model", "price", "openai:fake-1", "--set", "input=1", "--set", "output=1", check=True)
    words = ("--type", "command", "--command", unwritable_after_this(), "--env", "HUB", "--schema", "{}")
    llmctl("tool", "add", "pay", *words, check=True)
    server.answer(calls("pay"), stream("paid"))
    done = llmctl("chat", *capped, "-T", "pay:auto", "pay ann", start_new_session=True)
    assert done.returncode == 13, done
    assert len(server.requests) == 1
    after = llmctl("chat", "-c")
    assert (after.returncode, after.stdout) == (0, "paid\n"), after
    sent = server.requests[1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert Path(llmctl.cwd, "ran").read_text() == "x\n"
    assert hub.value("SELECT group_concat(status) FROM tool_invocations") == "completed"
    hub.assert_sound()


# --- a spool that fails ---------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[str]:
    """A folder with room for a few rows."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("no small disk can be mounted here")
    yield str(folder)
    with suppress(OSError):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_rows_after_lost_ones_are_not_kept_and_the_chat_is_recovered(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, tiny: str
) -> None:
    llmctl = llmctl.with_env(XDG_STATE_HOME=tiny)
    llmctl("connection", "trust", "fake", "--yes", check=True)  # trust is kept there, too
    os.mkdir(f"{hub.path}.spool")  # so that only the tiny disk is left
    running = start_held(llmctl, server, text="one two " + "word " * 20_000)
    size = os.path.getsize(f"{hub.path}-wal")
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (size, size))
    done = release(running, server)
    assert done.returncode == 13
    assert done.stdout.count("word") == 20_000
    assert "some of the missing rows are in" in done.stderr
    assert llmctl("job", "recover").returncode == 0
    assert llmctl("db", "check").returncode == 0
    assert hub.messages[-1]["status"] == "interrupted"
    assert hub.messages[-1]["content"].startswith("one two word")
    assert llmctl("chat", "-c", "go on").returncode == 0


def test_rows_whose_job_has_ended_are_recovered(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    start_held(llmctl, server).kill()
    change(hub, "UPDATE jobs SET status = 'completed'")
    assert llmctl("db", "check").returncode == 13
    done = llmctl("job", "recover")
    assert (done.returncode, done.stdout) == (0, ""), done
    assert "finished 1 row that no job worked on" in done.stderr
    assert llmctl("db", "check").returncode == 0
    assert hub.messages[-1]["content"] == "one two"
    assert hub.states() == {
        "messages": ["completed", "interrupted"],
        "requests": ["interrupted"],
        "response_streams": ["interrupted"],
        "network_calls": ["error"],
        "jobs": ["completed"],
    }
    hub.assert_sound()


def test_recovery_goes_on_past_a_job_that_cannot_be_recovered(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    for name in ("first", "second", "third"):
        server.hold()
        start_held(llmctl, server, "--name", name).kill()
    bad = hub.value("SELECT id FROM jobs ORDER BY created_at LIMIT 1 OFFSET 1")
    change(hub, f"CREATE TRIGGER no BEFORE UPDATE ON jobs WHEN OLD.id = '{bad}' BEGIN SELECT RAISE(ABORT, 'no'); END")
    done = llmctl("job", "recover")
    assert done.returncode == 13
    assert f"cannot recover job {bad[:8]}: " in done.stderr
    assert sorted(hub.states()["jobs"]) == ["failed", "failed", "running"]
    llmctl("settings", "set", "budget.day", "0.00001", check=True)
    capped = llmctl("chat", "--name", "fourth", "-m", "echo", "hi")
    assert capped.returncode == 0, capped
