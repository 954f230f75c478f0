"""``llmctl doctor``: what is wrong, how to mend it, and an exit code that says which kind it is."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.openai_server import FakeServer, Reply
from tests.harness import Llmctl, Result

KEYS = {"OPENAI_API_KEY": "sk-proj-0123456789abcdefghij"}


@pytest.fixture
def well(llmctl: Llmctl, env: dict[str, str]) -> str:
    """A hub with a connection whose key can be read."""
    env |= KEYS
    llmctl("init", check=True)
    return env["LLMCTL_DB"]


def symptoms(done: Result) -> dict[Any, Any]:
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_sound_hub_has_no_problems(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    done = llmctl("doctor", env=env)
    assert done.returncode == 0, done.stdout
    assert "no problems found" in done.stderr
    assert "problem" not in done.stdout


def test_json_has_everything_that_was_looked_at(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    found = symptoms(llmctl("doctor", "--json", env=env))
    assert {"sqlite", "hub", "integrity", "modes", "connection openai", "path", "completions", "version"} <= set(found)
    assert found["hub"]["status"] == "ok"
    assert found["sqlite"]["message"].startswith("SQLite ")
    note = (3, 7, 0) <= sqlite3.sqlite_version_info <= (3, 51, 2)
    assert found["sqlite"]["status"] == ("note" if note else "ok")


def test_no_hub_is_a_config_problem(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("doctor", "--json")
    assert done.returncode == 4
    assert "llmctl init" in symptoms(done)["hub"]["hint"]
    assert not os.path.exists(env["LLMCTL_DB"])


def test_no_connection_is_a_config_problem_with_three_ways_in(llmctl: Llmctl) -> None:
    llmctl("init", "--no-detect", check=True)
    done = llmctl("doctor", "--json")
    assert (done.returncode, done.error["code"]) == (4, "config")
    assert "connection add openai --key-stdin" in symptoms(done)["connections"]["hint"]


def test_missing_key_is_a_config_problem(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    gone = {name: value for name, value in env.items() if name not in KEYS}
    done = llmctl("doctor", "--json", env=gone)
    assert done.returncode == 4
    assert "OPENAI_API_KEY" in symptoms(done)["connection openai"]["message"]


def test_default_that_is_gone_is_a_config_problem(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    with closing(sqlite3.connect(well, isolation_level=None)) as connection:
        connection.execute("""UPDATE user_settings SET settings = '{"default_connection":"ghost"}'""")
    done = llmctl("doctor", "--json", env=env)
    assert done.returncode == 4
    assert "connection default" in symptoms(done)["connections"]["hint"]


def test_open_modes_are_noted(llmctl: Llmctl, env: dict[str, str], well: str, tmp_path: Path) -> None:
    (tmp_path / "my.key").write_text("sk-0123456789abcdefghij")
    os.chmod(tmp_path / "my.key", 0o644)
    os.chmod(well, 0o644)
    llmctl("connection", "edit", "openai", "--key-file", "my.key", env=env, check=True)
    done = llmctl("doctor", "--json", env=env)
    assert done.returncode == 0
    found = symptoms(done)
    assert (found["modes"]["status"], "chmod 600" in found["modes"]["hint"]) == ("note", True)
    assert "other users can read" in found["connection openai"]["message"]


def test_damaged_hub_is_a_storage_problem(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    with closing(sqlite3.connect(well, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("INSERT INTO message_threads (id, chat_id) VALUES ('t', 'gone')")
    done = llmctl("doctor", "--json", env=env)
    assert (done.returncode, done.error["code"]) == (13, "storage")
    assert symptoms(done)["references"]["status"] == "problem"


def test_file_that_is_no_hub_is_a_storage_problem(llmctl: Llmctl, env: dict[str, str]) -> None:
    with open(env["LLMCTL_DB"], "w") as file:
        file.write("dear diary\n" * 500)
    assert llmctl("doctor").returncode == 13


def test_dead_process_is_found(llmctl: Llmctl, env: dict[str, str], well: str, tmp_path: Path) -> None:
    with llmctl.start("chat", "-m", "echo", "one two", "-o", "stall=300", "-o", "after=1") as chat:
        chat.wait_for_output("one")
        assert llmctl("doctor", env=env).returncode == 0
    done = llmctl("doctor", "--json", env=env)
    assert done.returncode == 13
    assert "job recover" in symptoms(done)["jobs"]["hint"]


def test_waiting_spool_is_noted(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    with open(f"{well}.spool", "w") as file:
        file.write('["update","jobs","no such job",{"error":null}]\n')
    assert symptoms(llmctl("doctor", "--json", env=env))["spool"]["status"] == "note"
    llmctl("job", "recover", env=env, check=True)
    assert "spool" not in symptoms(llmctl("doctor", "--json", env=env))


def test_network_is_used_only_with_the_flag(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    with FakeServer() as server:
        body = b'{"data":[{"id":"m"}]}'
        server.answer(Reply(200, {"content-type": "application/json"}, (body,), length=len(body)))
        server.answer(Reply(401, {"content-type": "application/json"}, (b'{"error":{"message":"no"}}',), length=26))
        llmctl("connection", "remove", "openai", env=env, check=True)
        llmctl("connection", "add", "work", "--base-url", server.url, "-m", "m", "--default", env=env, check=True)
        assert llmctl("doctor", env=env).returncode == 0
        assert server.requests == []
        assert llmctl("doctor", "--network", env=env).returncode == 0
        assert len(server.requests) == 1
        assert llmctl("doctor", "--network", env=env).returncode == 4


def test_doctor_changes_nothing(llmctl: Llmctl, env: dict[str, str], well: str) -> None:
    def files() -> dict[Any, Any]:
        return {name: open(os.path.join(os.path.dirname(well), name), "rb").read() for name in ("hub.db",)}

    before = files()
    llmctl("doctor", env=env)
    assert files() == before
