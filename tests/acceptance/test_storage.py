"""The hub on disk: a truncated write-ahead log, commits that survive a power failure, a full disk."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from llmctl.store.opening import spool_paths
from tests.acceptance.hub_file import HubFile, parse_text
from tests.fakes.openai_server import HOLD, FakeServer, delta, stream, thought
from tests.harness import LLMCTL, Llmctl, Result, wait_until

STREAMS = "SELECT gunzip(coalesce(raw_output_gz, raw_output)) AS raw_output FROM response_streams"

# --- committed before it is shown -----------------------------------------------------------------------------------


def test_answer_in_one_large_piece_is_in_the_hub_before_any_of_it_is_shown(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    text = "word " * 60_000
    server.answer(stream("", insert={0: delta(text), 1: HOLD}))
    running = llmctl.start("chat", "hi")
    running.wait_for_output("word")
    running.kill()
    assert parse_text(hub.raw()) == text


def test_thinking_is_in_the_hub_before_any_of_it_is_shown(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    text = "hmm " * 60_000
    server.answer(stream("", insert={0: thought(text), 1: HOLD}))
    running = llmctl.start("chat", "--show-thinking", "hi")
    assert os.read(running.process.stderr.fileno(), 4)
    running.kill()
    assert hub.raw().count("hmm") == 60_000


# --- the write-ahead log --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_wal_cut_at_any_byte_opens_whole_and_has_every_finished_message(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, tmp_path: Path
) -> None:
    assert llmctl("chat", "--name", "x", "turn 0").returncode == 0
    with closing(sqlite3.connect(hub.path)) as keeper:  # keeps the log from being checkpointed when a process ends
        keeper.execute("SELECT count(*) FROM chats").fetchone()
        assert llmctl("chat", "--name", "x", "turn 1").returncode == 0
        finished = os.path.getsize(f"{hub.path}-wal")
        server.answer(stream("one two three four", hold=3))
        running = llmctl.start("chat", "--name", "x", "turn 2")
        running.wait_for_output("three")
        running.kill()
        with open(f"{hub.path}-wal", "rb") as file:
            log = file.read()
        cuts = [*range(0, len(log), 389), len(log)]  # ten a page, each time elsewhere in it
        with scratch(tmp_path) as folder:
            path = shutil.copyfile(hub.path, f"{folder}/cut.db")
            found = [cut_hub(path, log[:cut]) for cut in cuts]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (2, 5)
    assert all(count >= 4 for cut, count in zip(cuts, found, strict=True) if cut >= finished)


def cut_hub(path: str, log: bytes) -> int:
    """Open a hub with that log, assert that it is intact and return the number of its finished messages."""
    with open(f"{path}-wal", "wb") as file:
        file.write(log)
    # A reader does not checkpoint the log when it closes: the hub stays unchanged for the next cut.
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
        rows = connection.execute("SELECT content FROM messages WHERE status = 'completed' ORDER BY seq").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    os.unlink(f"{path}-shm")
    expected = ["turn 0", "echo: turn 0", "turn 1", "echo: turn 1", "turn 2"]
    assert [content for (content,) in rows] == expected[: len(rows)]
    return len(rows)


@contextmanager
def scratch(tmp_path: Path) -> Iterator[str]:
    """A folder in memory if available: thousands of copies are made."""
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) as folder:
        yield folder


# --- power failure --------------------------------------------------------------------------------------------------


def run_traced(llmctl: Llmctl, folder: Path, *words: str) -> list[str]:
    """Run under strace; return in order: ``sync`` (of the log), ``connect``, ``show`` (on stdout)."""
    trace = folder / "trace.txt"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,connect,write", "-o", str(trace), *LLMCTL, *words]
    done = subprocess.run(command, env=llmctl.env, cwd=llmctl.cwd, stdin=subprocess.DEVNULL, capture_output=True)
    if b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    found = []
    for line in trace.read_text().splitlines():
        for name, pattern in (
            ("sync", r"f(data)?sync\(\d+<[^>]*-wal>"),
            ("connect", r"connect\(.*htons"),
            ("show", r"write\(1<"),
        ):
            if re.search(pattern, line):
                found.append(name)
    return found


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_prompt_and_finish_are_on_the_disk_and_pieces_do_not_wait_for_it(
    llmctl: Llmctl, hub: HubFile, server: FakeServer, tmp_path: Path
) -> None:
    found = run_traced(llmctl, tmp_path, "chat", "--name", "x", "count")
    assert found.count("connect") == 1
    sent = found.index("connect")
    assert found[:sent].count("sync") >= 2  # the prompt; placeholder and request; a new log's header
    last_output = len(found) - 1 - found[::-1].index("show")
    assert found[sent:last_output].count("sync") == 2  # the finish and the unlock, before the line end is printed


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_pieces_that_come_one_by_one_are_not_synced_each(llmctl: Llmctl, hub: HubFile, tmp_path: Path) -> None:
    words = ("chat", "-m", "echo", "-o", "delay=0.005", "--name", "x")
    few = run_traced(llmctl, tmp_path, *words, "one")
    many = run_traced(llmctl, tmp_path, *words, " ".join(["word"] * 30))
    assert many.count("show") >= 30
    assert many.count("sync") == few.count("sync")


# --- a full disk ----------------------------------------------------------------------------------------------------


class SmallDisk:
    """A separate file system with little space."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fill(self) -> None:
        with suppress(OSError), open(f"{self.path}/filler", "wb", buffering=0) as file:
            while file.write(b"\0" * 512):
                pass

    def free(self) -> None:
        os.unlink(f"{self.path}/filler")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip(f"no small disk can be mounted here: {mount.stderr.decode().strip()}")
    try:
        yield SmallDisk(str(folder))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def full(disk: SmallDisk, hub: HubFile, llmctl: Llmctl) -> tuple[HubFile, Llmctl]:
    """The hub on the small disk, and llmctl on it; the home is elsewhere."""
    moved = HubFile(shutil.move(hub.path, disk.path))
    return moved, llmctl.with_env(LLMCTL_DB=moved.path)


def digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_full_disk_before_the_call_sends_nothing(
    full: tuple[HubFile, Llmctl], disk: SmallDisk, server: FakeServer
) -> None:
    hub, llmctl = full
    before = digest(hub.path)
    disk.fill()
    done = llmctl("chat", "hello")
    assert (done.returncode, done.stdout) == (13, "")
    assert done.stderr.startswith(f'llmctl: the disk is full: "{hub.path}"\nhint: '), done.stderr
    assert server.requests == []
    assert llmctl("stats", "--json").returncode == 0  # reading still works
    assert digest(hub.path) == before
    disk.free()
    assert llmctl("chat", "hello").returncode == 0
    hub.assert_sound()


def test_no_hub_on_a_full_disk_leaves_nothing_behind(disk: SmallDisk, llmctl: Llmctl, server: FakeServer) -> None:
    disk.fill()
    done = llmctl("chat", "--db", f"{disk.path}/new.db", "-m", "echo", "hello")
    assert (done.returncode, done.stdout) == (13, "")
    assert done.stderr.count("\n") == 2
    assert os.listdir(disk.path) == ["filler"]


def assert_kept_and_taken_in(hub: HubFile, llmctl: Llmctl, done: Result, text: str) -> None:
    """The answer was shown; the next run adds the missing rows to the hub, once."""
    assert (done.returncode, done.stdout) == (13, f"{text}\n")
    assert done.stderr.startswith("llmctl: cannot store the answer: ")
    assert "hint: the missing rows are in " in done.stderr
    after = llmctl("chat", "-c", "and on")
    assert after.returncode == 0, after
    assert "left by an earlier run" in after.stderr
    again = llmctl("chat", "-c", "and on")
    assert (again.returncode, "left by an earlier run" in again.stderr) == (0, False)
    answers = [("assistant", "completed", text), *[("assistant", "completed", "echo: and on")] * 2]
    assert [row for row in hub.messages_by_role if row[0] == "assistant"] == answers
    assert hub.states() == {
        "messages": ["completed"] * 6,
        "requests": ["completed"] * 3,
        "response_streams": ["completed"] * 3,
        "network_calls": ["success"] * 3,
        "jobs": ["completed"] * 3,
    }
    assert hub.value("SELECT sum(requests) FROM usage_hourly") == 3
    assert hub.value("SELECT sum(output_tokens) FROM usage_hourly") == hub.value(
        "SELECT sum(output_tokens) FROM requests"
    )
    assert hub.value("SELECT count(*) FROM stream_chunks") == 0
    assert parse_text(hub.rows(f"{STREAMS} ORDER BY rowid")[0]["raw_output"]) == text
    assert hub.is_free()
    assert hub.list_side_files() == []
    hub.assert_sound()


def test_disk_that_fills_during_the_call_loses_nothing(
    full: tuple[HubFile, Llmctl], disk: SmallDisk, server: FakeServer
) -> None:
    hub, llmctl = full
    text = "one two three four " * 300 + "end"
    server.answer(stream(text, hold=2))
    running = llmctl.start("chat", "hello")
    running.wait_for_output("two")
    disk.fill()
    server.release()
    done = running.wait()
    disk.free()
    assert f"{llmctl.cwd}/.local/state/llmctl" in done.stderr
    assert_kept_and_taken_in(hub, llmctl, done, text)
    assert os.listdir(f"{llmctl.cwd}/.local/state/llmctl") == ["trust"]


def test_hub_that_cannot_grow_during_the_call_loses_nothing(hub: HubFile, llmctl: Llmctl, server: FakeServer) -> None:
    text = "one two three four " * 30 + "end"
    server.answer(stream(text, hold=2))
    running = llmctl.start("chat", "hello")
    running.wait_for_output("two")
    size = os.path.getsize(f"{hub.path}-wal")
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (size, size))
    server.release()
    done = running.wait()
    assert f"{hub.path}.spool" in done.stderr
    assert os.stat(f"{hub.path}.spool").st_mode & 0o777 == 0o600
    assert_kept_and_taken_in(hub, llmctl, done, text)


def test_json_of_an_answer_that_could_not_be_stored_is_whole(hub: HubFile, llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("one two three", hold=2))
    running = llmctl.start("chat", "--json", "hello")
    server.wait_for(1)
    wait_until(lambda: bool(hub.rows("SELECT 1 FROM stream_chunks")))
    size = os.path.getsize(f"{hub.path}-wal")
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (size, size))
    server.release()
    done = running.wait()
    assert (done.returncode, done.json["content"], done.json["status"]) == (13, "one two three", "completed")
    assert (done.error["code"], done.error["request_id"]) == ("storage", done.json["request_id"])


def test_extracted_answer_that_could_not_be_stored_is_shown(hub: HubFile, llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("see\n```\ncode here\n```\nso", hold=2))
    running = llmctl.start("chat", "-x", "hello")
    wait_until(lambda: bool(hub.rows("SELECT 1 FROM stream_chunks")))
    size = os.path.getsize(f"{hub.path}-wal")
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (size, size))
    server.release()
    done = running.wait()
    assert (done.returncode, done.stdout) == (13, "code here\n")


# --- the spool ------------------------------------------------------------------------------------------------------


def spooled(llmctl: Llmctl, hub: HubFile, server: FakeServer, text: str = "one two three") -> Result:
    """Run a turn whose answer cannot be written to the hub from its second word on."""
    server.answer(stream(text, hold=2))
    running = llmctl.start("chat", "hello")
    running.wait_for_output("two")
    size = os.path.getsize(f"{hub.path}-wal")
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (size, size))
    server.release()
    return running.wait()


def test_spool_of_a_turn_that_somebody_else_recovered_does_no_harm(
    hub: HubFile, llmctl: Llmctl, server: FakeServer
) -> None:
    os.mkdir(f"{hub.path}.spool")  # so that the state folder is used, which is unknown to another user
    assert spooled(llmctl, hub, server).returncode == 13
    elsewhere = llmctl.with_env(XDG_STATE_HOME=f"{llmctl.cwd}/other")
    elsewhere("connection", "trust", "fake", "--yes", check=True)
    assert elsewhere("chat", "-c", "go on").returncode == 0
    done = llmctl("chat", "-c", "and on")
    assert done.returncode == 0, done
    roles = [(role, status) for role, status, _ in hub.messages_by_role]
    assert roles[:2] == [("user", "completed"), ("assistant", "interrupted")]
    stream = hub.rows(f"{STREAMS} ORDER BY rowid")[0]
    assert parse_text(stream["raw_output"]) == "one two three"
    assert hub.states()["requests"] == ["completed"] * 3
    assert hub.value("SELECT sum(requests) FROM usage_hourly") == 3
    assert hub.is_free()
    hub.assert_sound()


def test_spool_is_taken_in_once_by_many(hub: HubFile, llmctl: Llmctl, server: FakeServer) -> None:
    assert spooled(llmctl, hub, server).returncode == 13
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(llmctl, "chat", "-m", "echo", str(number)) for number in range(4)]
    done = [run.result() for run in runs]
    assert [run.returncode for run in done] == [0] * 4, done
    assert sum("left by an earlier run" in run.stderr for run in done) == 1
    assert hub.value("SELECT content FROM messages WHERE role = 'assistant' ORDER BY rowid LIMIT 1") == "one two three"
    hub.assert_sound()


@pytest.mark.parametrize("line", ["{half a line", '["insert","nothing",{}]\n', '["what"]\n', "\0\0\0\n"])
def test_unreadable_spool_is_kept_and_ignored(hub: HubFile, llmctl: Llmctl, server: FakeServer, line: str) -> None:
    assert spooled(llmctl, hub, server).returncode == 13
    with open(f"{hub.path}.spool", "a") as file:
        file.write(line)
    done = llmctl("chat", "-m", "echo", "hi")
    assert (done.returncode, done.stdout) == (0, "hi\n"), done
    assert llmctl("chat", "-m", "echo", "hi").stderr == ""
    assert hub.value("SELECT content FROM messages WHERE role = 'assistant' ORDER BY rowid LIMIT 1") == "one two three"
    if line.endswith("\n"):
        assert hub.list_side_files() == ["hub.db.spool.unreadable"]
    hub.assert_sound()


def test_spool_whose_chat_was_deleted_does_no_harm(hub: HubFile, llmctl: Llmctl, server: FakeServer) -> None:
    os.mkdir(f"{hub.path}.spool")
    assert spooled(llmctl, hub, server).returncode == 13
    elsewhere = llmctl.with_env(XDG_STATE_HOME=f"{llmctl.cwd}/other")
    assert elsewhere("chats", "delete", "last", "--yes").returncode == 0
    assert llmctl("chat", "-m", "echo", "hi").returncode == 0
    assert [role for role, _, _ in hub.messages_by_role] == ["user", "assistant"]
    assert "one two three" not in str(hub.rows("SELECT * FROM response_streams"))
    hub.assert_sound()


def test_answer_that_cannot_be_stored_is_shown_and_reported_lost(
    hub: HubFile, llmctl: Llmctl, server: FakeServer
) -> None:
    for path in spool_paths(hub.path, f"{llmctl.cwd}/.local/state/llmctl"):
        os.mkdir(path)
    done = spooled(llmctl, hub, server)
    assert (done.returncode, done.stdout) == (13, "one two three\n")
    assert "nowhere" not in done.stderr
    assert "the missing rows could not be saved anywhere" in done.stderr
