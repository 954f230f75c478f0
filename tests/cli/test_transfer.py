"""``export`` and ``import`` as processes: files, pipes, exit codes, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest

from tests.engine.transfer_stage import exported, fill, new_hub
from tests.store.rows import Rows


@pytest.fixture
def other(env, tmp_path):
    """The environment of another hub."""
    return env | {"LLMCTL_DB": str(tmp_path / "other.db")}


def test_real_turns_come_through_a_pipe_to_the_byte(llmctl, other, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("attached")
    llmctl(
        "init", "--no-detect", "--no-prisma", "--table", "chats=my chats", "--field", "chats.user_id:text", check=True
    )
    llmctl("chat", "-m", "echo", "--name", "one", "-a", str(note), "--metadata", "user_id=u_1", "hello", check=True)
    llmctl("chat", "-m", "echo", "-o", "fail=500", "--retries", "0", "--name", "one", "again")
    llmctl("chats", "fork", "one", "--name", "two", check=True)
    out = llmctl("export", "--all", check=True)
    report = json.loads(llmctl("import", "-", "--json", input=out.stdout, env=other, check=True).stdout)
    again = llmctl("export", "--all", env=other, check=True)
    assert again.stdout == out.stdout
    assert (report["format"], report["conversations"], report["problems"]) == ("jsonl", 2, [])
    assert json.loads(llmctl("db", "check", "--json", env=other, check=True).stdout)


def test_a_file_is_for_its_owner_and_whole_or_not_there(llmctl, tmp_path):
    llmctl("chat", "-m", "echo", "hello", check=True)
    place = tmp_path / "out.jsonl"
    place.write_text("old")
    place.chmod(0o644)
    done = llmctl("export", "--all", "--output", str(place))
    assert (done.returncode, done.stdout) == (0, "")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert place.read_text().startswith('{"format":"llmctl"')
    missing = llmctl("export", "--all", "--output", str(tmp_path / "no" / "out"))
    assert missing.returncode == 2
    assert [path.name for path in tmp_path.glob("out*")] == ["out.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["export"], 2, "nothing to export"),
        (["export", "--all", "--format", "htm"], 2, "html"),
        (["export", "--chat", "nobody"], 3, "nobody"),
        (["import", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["import", "."], 3, "folder"),
        (["import", "-", "--format", "word"], 2, "there are jsonl"),
        (["import", "-"], 2, "no format that is known"),
    ],
)
def test_what_cannot_be_done_is_said(llmctl, arguments, code, words):
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    done = llmctl(*arguments, input="hello")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_makes_no_hub(llmctl, env, tmp_path):
    lines = '{"messages":[{"role":"user","content":"hi"}]}\n'
    done = llmctl("import", "-", "--dry-run", input=lines, check=True)
    assert "would import" in done.stderr
    assert not os.path.exists(env["LLMCTL_DB"])


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["really", "dry"])
def test_an_export_that_breaks_off_brings_whole_conversations(llmctl, env, tmp_path, dry):
    with closing(new_hub(tmp_path / "theirs.db")) as theirs:
        rows = Rows(theirs)
        for number in range(3):
            rows.turn(rows.chat(f"chat {number}"), "hello", "hi")
        text = exported(theirs)
    cut = text[: text.rindex('"chat 2"') + 700]
    done = llmctl("import", "-", "--json", *dry, input=cut)
    assert (done.returncode, json.loads(done.stdout)["complete"]) == (12, False)
    assert "breaks off in line" in done.stderr
    if not dry:
        assert llmctl("db", "query", "SELECT name FROM chats ORDER BY 1").stdout.split("\n")[:-1] == [
            "chat 0",
            "chat 1",
        ]
        done = llmctl("import", "-", "--json", input=text, check=True)
        assert (json.loads(done.stdout)["conversations"], json.loads(done.stdout)["complete"]) == (1, True)
        assert llmctl("export", "--all").stdout == text


def test_a_kill_in_the_middle_leaves_whole_conversations(env, tmp_path):
    """A second import brings the rest."""
    with closing(new_hub(tmp_path / "theirs.db")) as theirs:
        fill(theirs)
        rows = Rows(theirs)
        with theirs.transaction():
            for number in range(2200):
                chat = rows.chat(f"chat {number}")
                rows.message(chat, "user", "hello")
                rows.message(chat, "assistant", "hi")
        text = exported(theirs)
    command = [sys.executable, "-m", "llmctl", "import", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert process.stdin
    process.stdin.write(text[: len(text) * 9 // 10].encode())
    process.stdin.flush()
    wait_for_chats(env["LLMCTL_DB"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    with closing(sqlite3.connect(env["LLMCTL_DB"])) as hub:
        said = hub.execute(
            "SELECT count(m.id) FROM chats c LEFT JOIN messages m ON m.chat_id = c.id"
            " WHERE c.name LIKE 'chat %' GROUP BY c.id"
        ).fetchall()
        assert set(said) == {(2,)}
        assert 0 < len(said) < 2200
        assert hub.execute("SELECT count(*) FROM sqlite_master WHERE name = 'message_search_insert'").fetchone() == (1,)
    subprocess.run(command, input=text.encode(), env=env, cwd=tmp_path, check=True, capture_output=True)
    out = subprocess.run([*command[:3], "export", "--all"], env=env, capture_output=True, check=True)
    assert out.stdout.decode() == text


def wait_for_chats(path):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as hub:
                if hub.execute("SELECT count(*) FROM chats").fetchone()[0]:
                    return
        except sqlite3.Error:
            pass
        time.sleep(0.01)
    raise AssertionError("nothing was committed")
