"""``export`` and ``import`` as processes: files, pipes, exit codes, and what a kill leaves."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.engine.transfer_hubs import export_hub, fill_hub, new_hub
from tests.fakes.hub_builder import HubBuilder
from tests.harness import Llmctl, wait_until


@pytest.fixture
def other(env: dict[str, str], tmp_path: Path) -> Any:
    """The environment of another hub."""
    return env | {"LLMCTL_DB": str(tmp_path / "other.db")}


def test_real_turns_come_through_a_pipe_to_the_byte(llmctl: Llmctl, other: Any, tmp_path: Path) -> None:
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


def test_a_file_is_for_its_owner_and_whole_or_not_there(llmctl: Llmctl, tmp_path: Path) -> None:
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
        (["export"], 2, "llmctl export --all"),
        (["export", "--all", "--format", "htm"], 2, "html"),
        (["export", "--chat", "nobody"], 3, "nobody"),
        (["import", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["import", "."], 3, "it is a folder"),
        (["import", "-", "--format", "word"], 2, "available: jsonl"),
        (["import", "-"], 2, "unknown format"),
    ],
)
def test_invalid_transfer_has_its_exit_code(llmctl: Llmctl, arguments: list[str], code: int, words: str) -> None:
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    done = llmctl(*arguments, input="hello")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_makes_no_hub(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    lines = '{"messages":[{"role":"user","content":"hi"}]}\n'
    done = llmctl("import", "-", "--dry-run", input=lines, check=True)
    assert "would import" in done.stderr
    assert not os.path.exists(env["LLMCTL_DB"])


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["really", "dry"])
def test_an_export_that_breaks_off_brings_whole_conversations(
    llmctl: Llmctl, env: dict[str, str], tmp_path: Path, dry: list[Any]
) -> None:
    with closing(new_hub(tmp_path / "theirs.db")) as theirs:
        rows = HubBuilder(theirs)
        for number in range(3):
            rows.turn(rows.chat(f"chat {number}"), "hello", "hi")
        text = export_hub(theirs)
    cut = text[: text.rindex('"chat 2"') + 700]
    done = llmctl("import", "-", "--json", *dry, input=cut)
    assert (done.returncode, json.loads(done.stdout)["complete"]) == (12, False)
    assert "ends in the middle of line" in done.stderr
    if not dry:
        assert llmctl("db", "query", "SELECT name FROM chats ORDER BY 1").stdout.split("\n")[:-1] == [
            "chat 0",
            "chat 1",
        ]
        done = llmctl("import", "-", "--json", input=text, check=True)
        assert (json.loads(done.stdout)["conversations"], json.loads(done.stdout)["complete"]) == (1, True)
        assert without_places(llmctl("export", "--all").stdout) == without_places(text)


@pytest.mark.slow
def test_import_killed_in_the_middle_leaves_whole_conversations(
    llmctl: Llmctl, env: dict[str, str], tmp_path: Path
) -> None:
    """A second import brings the rest."""
    with closing(new_hub(tmp_path / "theirs.db")) as theirs:
        fill_hub(theirs)
        rows = HubBuilder(theirs)
        with theirs.transaction():
            for number in range(2200):
                chat = rows.chat(f"chat {number}")
                rows.message(chat, "user", "hello")
                rows.message(chat, "assistant", "hi")
        text = export_hub(theirs)
    with llmctl.start("import", "-", stdin=subprocess.PIPE) as running:
        running.write(text[: len(text) * 9 // 10].encode())
        wait_until(lambda: has_chats(env["LLMCTL_DB"]))
    with closing(sqlite3.connect(env["LLMCTL_DB"])) as hub:
        said = hub.execute(
            "SELECT count(m.id) FROM chats c LEFT JOIN messages m ON m.chat_id = c.id"
            " WHERE c.name LIKE 'chat %' GROUP BY c.id"
        ).fetchall()
        assert set(said) == {(2,)}
        assert 0 < len(said) < 2200
        assert hub.execute("SELECT count(*) FROM sqlite_master WHERE name = 'message_search_insert'").fetchone() == (1,)
    llmctl("import", "-", input=text, check=True)
    assert without_places(llmctl("export", "--all", check=True).stdout) == without_places(text)


def without_places(text: str) -> list[Any]:
    """Return the records of an export without where chats were used last, which a hub in use does not take."""
    records = [json.loads(line) for line in text.splitlines()]
    for record in records:
        if record.get("table") == "chats":
            record["row"] = {k: v for k, v in record["row"].items() if k not in ("last_turn_folder", "origin")}
    return records


def has_chats(path: str) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as hub:
            return hub.execute("SELECT count(*) FROM chats").fetchone()[0] > 0
    except sqlite3.Error:
        return False
