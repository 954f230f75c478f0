"""The hub's file and those beside it: never a damaged one in place, never the log of another one applied to it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.hub_file import HubFile
from tests.harness import Llmctl, require_success

# --- a disk without space -------------------------------------------------------------------------------------------


@pytest.fixture
def resize(tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """Give a file system in memory a size in kilobytes and return its folder; empty in the beginning."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "none", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip(f"no small disk can be mounted here: {mount.stderr.decode().strip()}")

    def resized(kilobytes: int) -> str:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True)
        return str(folder)

    try:
        yield resized
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("chat", "-m", "echo", "hi"), ("init",), ("import", "chats.jsonl")], ids=lambda w: w[0]
)
def test_first_run_on_a_disk_that_is_nearly_full_leaves_no_damaged_hub(
    llmctl: Llmctl, resize: Callable[[int], str], words: tuple[str, ...]
) -> None:
    llmctl("chat", "-m", "echo", "before", check=True)
    Path(llmctl.cwd, "chats.jsonl").write_text(require_success(llmctl("export", "--all")))
    failed = 0
    for kilobytes in range(560, 1300, 80):
        folder = resize(kilobytes)
        small = llmctl.with_env(LLMCTL_DB=f"{folder}/hub.db")
        done = small(*words)
        assert done.returncode in (0, 13), done
        if done.returncode == 13:
            failed += 1
            assert "the disk is full" in done.stderr, (kilobytes, done.stderr)
        resize(60_000)
        assert small("chat", "-m", "echo", "again").returncode == 0, kilobytes
        HubFile(f"{folder}/hub.db").assert_sound()
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
    assert failed > 0


# --- side files of an earlier hub -----------------------------------------------------------------------------------


@pytest.fixture
def left(llmctl: Llmctl, tmp_path: Path) -> Callable[[str], None]:
    """Put the log and the WAL index of a killed process of another hub beside a path."""
    other = str(tmp_path / "other.db")
    old = llmctl.with_env(LLMCTL_DB=other)
    old("chat", "-m", "echo", "old secret", check=True)
    with closing(sqlite3.connect(other)) as keeper:  # the log is not emptied when processes end
        keeper.execute("SELECT count(*) FROM chats").fetchone()
        for number in range(3):
            old("chat", "-m", "echo", f"old secret {number}", check=True)
        sides = {end: Path(other + end).read_bytes() for end in ("-wal", "-shm")}
    assert sides["-wal"]

    def put(path: str) -> None:
        for end, data in sides.items():
            Path(path + end).write_bytes(data)

    return put


def assert_is_new(path: str, folder: Path, chats: int) -> None:
    hub = HubFile(path)
    hub.assert_sound()
    assert hub.value("SELECT count(*) FROM chats") == chats
    assert b"old secret" not in Path(path).read_bytes()
    kept = [name for name in os.listdir(folder) if ".left-" in name]
    assert len(kept) >= 2, os.listdir(folder)


@pytest.mark.parametrize("before", ["nothing", "empty file"])
@pytest.mark.parametrize("command", ["chat", "init", "import"])
def test_log_of_a_deleted_hub_is_not_applied_to_a_new_one(
    llmctl: Llmctl, left: Callable[[str], None], tmp_path: Path, command: str, before: str
) -> None:
    words = {"chat": ("-m", "echo", "new"), "init": (), "import": (f"{tmp_path}/in.jsonl",)}[command]
    llmctl.with_env(LLMCTL_DB=f"{tmp_path}/in.db")("chat", "-m", "echo", "new", check=True)
    exported = require_success(llmctl.with_env(LLMCTL_DB=f"{tmp_path}/in.db")("export", "--all"))
    Path(tmp_path, "in.jsonl").write_text(exported)
    path = llmctl.env["LLMCTL_DB"]
    left(path)
    if before == "empty file":
        Path(path).touch()
    assert llmctl(command, *words).returncode == 0
    assert_is_new(path, tmp_path, 0 if command == "init" else 1)
    assert llmctl("db", "check").returncode == 0


@pytest.mark.parametrize("command", ["restore", "backup", "backup --force"])
def test_log_of_a_deleted_hub_is_not_applied_to_a_copy(
    llmctl: Llmctl, left: Callable[[str], None], tmp_path: Path, command: str
) -> None:
    path, copy = llmctl.env["LLMCTL_DB"], str(tmp_path / "copy.db")
    llmctl("chat", "-m", "echo", "new", check=True)
    if command == "restore":
        llmctl("db", "backup", copy, check=True)
        os.unlink(path)
        left(path)
        assert llmctl("db", "restore", copy, "--force").returncode == 0
        assert_is_new(path, tmp_path, 1)
        return
    left(copy)
    if "--force" in command:
        Path(copy).write_bytes(Path(path).read_bytes())
    assert llmctl("db", *command.split(), copy).returncode == 0
    assert_is_new(copy, tmp_path, 1)


def test_journal_of_a_deleted_hub_is_not_applied_to_a_new_one(llmctl: Llmctl, tmp_path: Path) -> None:
    path = llmctl.env["LLMCTL_DB"]
    Path(f"{path}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 4096)
    assert llmctl("chat", "-m", "echo", "new").returncode == 0
    HubFile(path).assert_sound()
    assert [name for name in os.listdir(tmp_path) if name.endswith(".left-journal.bak")]


# --- drafts of killed runs ------------------------------------------------------------------------------------------


def test_draft_of_a_killed_run_is_named_by_doctor_and_removed_by_the_next_one(llmctl: Llmctl, tmp_path: Path) -> None:
    path = llmctl.env["LLMCTL_DB"]
    ended = subprocess.Popen(["true"])
    ended.wait()
    mine, dead = f"{path}.{os.getpid()}-0123abcd.new", f"{path}.{ended.pid}-0123abcd.new"
    llmctl("chat", "-m", "echo", "hi", check=True)
    for name in (mine, dead, f"{dead}-wal", f"{tmp_path}/copy.db.{ended.pid}-0123abcd.new"):
        shutil.copyfile(path, name)
    found = [check for check in json.loads(llmctl("doctor", "--json").stdout) if check["name"] == "drafts"]
    assert dead in found[0]["message"]
    assert found[0]["hint"] == f"delete them: rm {dead}"
    assert mine not in found[0]["message"]
    assert llmctl("db", "backup", f"{tmp_path}/copy.db").returncode == 0
    assert [name for name in os.listdir(tmp_path) if "copy.db" in name] == ["copy.db"]
    os.unlink(path)
    assert llmctl("chat", "-m", "echo", "hi").returncode == 0
    assert [name for name in os.listdir(tmp_path) if ".new" in name] == [os.path.basename(mine)]
