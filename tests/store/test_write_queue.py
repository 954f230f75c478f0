"""Writers of one hub take turns: in their order, for as long as it takes, and not behind a program that is stuck."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from subprocess import PIPE
from threading import Thread

import pytest

from llmctl.core.errors import StorageError
from llmctl.store import database as store_database
from llmctl.store.database import Insert, WriteQueue
from llmctl.store.lock_wait import Patience
from llmctl.store.opening import create, open_hub
from tests.harness import PYTHON, ROOT, Llmctl, RunInProcess, RunningProcess, query, wait_until

#: Holds a hub until its stdin ends, as another program does, and as a process of llmctl does.
FOREIGN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""
OWN = """
import sys
from llmctl.store.opening import open_hub
with open_hub(sys.argv[1], "write").transaction():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(env: dict[str, str]) -> str:
    create(env["LLMCTL_DB"])
    return env["LLMCTL_DB"]


def held(path: str, code: str = FOREIGN, sql: str = "BEGIN IMMEDIATE") -> AbstractContextManager[RunningProcess]:
    return held_by([PYTHON, "-c", code, path, sql])


@contextmanager
def held_by(command: list[str]) -> Iterator[RunningProcess]:
    env = {**os.environ, "PYTHONPATH": ROOT}
    with RunningProcess(subprocess.Popen(command, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0)) as process:
        process.wait_for_output("held")
        yield process


def count_waiting(path: str) -> int:
    """Return how many wait for the lock on a hub's log."""
    inode = os.stat(path).st_ino
    with open("/proc/locks") as table:
        return sum(1 for line in table if "-> FLOCK" in line and f":{inode} " in line)


def add_chat(path: str, name: str) -> None:
    with closing(open_hub(path, "write")) as hub:
        hub.commit(Insert("chats", {"id": name, "name": name}))


def names(path: str) -> list[str]:
    return [name for (name,) in query(path, "SELECT name FROM chats ORDER BY rowid")]


def test_writers_are_served_in_their_order(path: str) -> None:
    wanted = [f"c{number}" for number in range(12)]
    with closing(open_hub(path, "write")) as first:
        with first.transaction():
            threads = []
            for number, name in enumerate(wanted):
                threads.append(Thread(target=add_chat, args=(path, name)))
                threads[-1].start()
                wait_until(lambda number=number: count_waiting(f"{path}-wal") == number + 1)  # type: ignore[misc]
        for thread in threads:
            thread.join()
    assert names(path) == wanted


def test_killed_writer_lets_the_next_one_write(path: str) -> None:
    with held(path, OWN) as holder:
        waiting = Thread(target=add_chat, args=(path, "next"))
        waiting.start()
        wait_until(lambda: count_waiting(f"{path}-wal") == 1)
        holder.kill()
        waiting.join()
    assert names(path) == ["next"]


@pytest.mark.slow
@pytest.mark.parametrize("sql", ["BEGIN IMMEDIATE", "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE"])
def test_program_that_holds_the_hub_is_named(
    path: str, llmctl_in_process: RunInProcess, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.setattr(store_database, "BUSY_TIMEOUT_MS", 20)
    add_chat(path, "old")
    with held(path, FOREIGN.replace(".execute(", ".executescript("), sql) as holder:
        done = llmctl_in_process("chats", "rename", "old", "new")
    assert (done.returncode, done.stdout) == (13, "")
    assert f"is locked by process {holder.pid} (python" in done.stderr
    assert f"kill {holder.pid}" in done.stderr
    assert names(path) == ["old"]


def test_llmctl_that_holds_the_hub_is_named_by_its_command_alone(
    path: str, llmctl_in_process: RunInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_database, "BUSY_TIMEOUT_MS", 0)
    add_chat(path, "old")
    code = OWN.replace("sys.argv[1]", "sys.argv[-1]")
    command = [PYTHON, "-c", code, "llmctl", "chats", "delete", "a private name", path]
    with held_by(command):
        done = llmctl_in_process("chats", "rename", "old", "new")
    assert done.returncode == 13
    assert "(llmctl chats delete)" in done.stderr


def test_waiting_goes_on_while_the_hub_is_written_to(tmp_path: Path) -> None:
    """However slow the machine: with a time limit of 0, any write since the last look keeps a writer waiting."""
    path = str(tmp_path / "hub.db")
    patience = Patience(path, 0)
    for name in (path, f"{path}-wal"):
        Path(name).write_text("1")
        assert not patience.is_over()
        assert patience.is_over()
        os.utime(name, (1, 1))
        assert not patience.is_over()
        assert patience.is_over()


def test_writer_that_waits_can_be_interrupted(path: str, llmctl: Llmctl) -> None:
    with closing(open_hub(path, "write")) as first, first.transaction():
        waiting = llmctl.start("chat", "-m", "echo", "hi")
        wait_until(lambda: count_waiting(f"{path}-wal") == 1)
        done = waiting.kill(signal.SIGINT)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    assert query(path, "SELECT count(*) FROM messages") == [(0,)]


def test_hub_that_keeps_no_log_can_be_written(path: str) -> None:
    """Another program may have turned write-ahead logging off."""
    with closing(open_hub(path, "write")) as hub:
        hub.connection.execute("PRAGMA journal_mode=DELETE")
    assert not os.path.exists(f"{path}-wal")
    add_chat(path, "a")
    assert names(path) == ["a"]


def test_those_that_wait_leave_nothing_behind(path: str) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    with closing(open_hub(path, "write")) as first, first.transaction():
        pass
    assert len(os.listdir("/proc/self/fd")) == opened
    assert os.listdir(os.path.dirname(path)).count("hub.db") == 1
    assert [name for name in os.listdir(os.path.dirname(path)) if name.startswith("hub.db")] == ["hub.db"]


def test_writer_gives_up_and_the_lock_is_free_later(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that still waits in the kernel must not keep the lock when it gets it."""
    monkeypatch.setattr(store_database, "BUSY_TIMEOUT_MS", 0)
    with closing(open_hub(path, "write")) as hub:
        with held(path, OWN), pytest.raises(StorageError, match="locked"):
            hub.commit(Insert("chats", {"id": "a"}))
        monkeypatch.undo()
        wait_until(lambda: count_waiting(f"{path}-wal") == 0)
        hub.commit(Insert("chats", {"id": "b"}))
        add_chat(path, "c")
    assert query(path, "SELECT id FROM chats ORDER BY rowid") == [("b",), ("c",)]


def test_first_runs_wait_for_the_one_that_creates_the_hub(env: dict[str, str], llmctl: Llmctl) -> None:
    folder = os.path.dirname(env["LLMCTL_DB"])
    with closing(WriteQueue(env["LLMCTL_DB"], folder)) as queue:
        queue.enter()
        runs = [llmctl.start("chat", "-m", "echo", f"{number}") for number in range(3)]
        wait_until(lambda: count_waiting(folder) == 3)
        assert not [name for name in os.listdir(folder) if name.endswith(".new")]
        queue.leave()
        assert [run.wait().stdout for run in runs] == ["0\n", "1\n", "2\n"]
