"""``llmctl db prune``: old text goes, messages and numbers stay."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.harness import Llmctl

SECRETS = ("kiwi fruit", "passion fruit")


@pytest.fixture
def hub_path(llmctl: Llmctl, env: dict[str, str]) -> str:
    """A hub with one old turn and one of today, each with a stream, an attempt and a finished job."""
    llmctl("chat", "-m", "echo", "--name", "old", SECRETS[0], check=True)
    with closing(sqlite3.connect(env["LLMCTL_DB"])) as connection:
        for table in ("response_streams", "network_calls", "jobs", "text_logs", "metrics"):
            connection.execute(f"UPDATE {table} SET created_at = '2001' || substr(created_at, 5)")
        connection.execute("INSERT INTO text_logs (id, text) VALUES ('fresh', 'today')")
        connection.execute(
            "INSERT INTO text_logs (id, text, created_at) VALUES ('l', 'aged', '2001-01-02T03:04:05.678+00:00')"
        )
        connection.execute(
            "INSERT INTO text_logs (id, text, series_id, position, created_at)"
            " VALUES ('l2', 'words', 'l', 1, '2001-01-02T03:04:05.678+00:00')"
        )
        connection.commit()
    llmctl("chat", "-m", "echo", "--name", "new", SECRETS[1], check=True)
    return env["LLMCTL_DB"]


def values(path: str, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(sql)]


def prune(llmctl: Llmctl, *arguments: str) -> Any:
    return llmctl("db", "prune", "--older-than", "30d", "--json", *arguments)


def test_dry_run_only_counts(llmctl: Llmctl, hub_path: str) -> None:
    before = values(hub_path, "SELECT raw_output FROM response_streams")
    rows = json.loads(prune(llmctl, "--dry-run", "--kind", "streams,http,logs,jobs,chats").stdout)
    assert {row["kind"]: row["rows"] for row in rows} == {"streams": 1, "http": 1, "logs": 1, "jobs": 1, "chats": 0}
    assert next(row["bytes"] for row in rows if row["kind"] == "logs") == len("agedwords")
    assert values(hub_path, "SELECT raw_output FROM response_streams") == before


def test_old_streams_and_bodies_go_and_the_ledger_stays(llmctl: Llmctl, hub_path: str) -> None:
    stats = json.loads(llmctl("stats", "--json").stdout)
    assert prune(llmctl, "--yes").returncode == 0
    assert len(values(hub_path, "SELECT id FROM response_streams")) == 1
    assert sorted(body is None for body in values(hub_path, "SELECT body FROM network_calls")) == [False, True]
    assert values(hub_path, "SELECT count(*) FROM network_calls WHERE duration IS NOT NULL") == [2]
    assert json.loads(llmctl("stats", "--json").stdout) == stats
    assert SECRETS[0] in llmctl("chats", "show", "old").stdout
    assert llmctl("db", "check").returncode == 0


def test_pruned_stream_is_said_to_be_gone(llmctl: Llmctl, hub_path: str) -> None:
    prune(llmctl, "--yes")
    old = values(hub_path, "SELECT id FROM requests ORDER BY created_at LIMIT 1")[0]
    done = llmctl("request", "show", old, "--stream", "--reparse")
    assert "not stored for this request: stream, stream to parse" in done.stderr


def test_running_work_is_left_alone(llmctl: Llmctl, hub_path: str) -> None:
    with closing(sqlite3.connect(hub_path)) as connection:
        connection.execute(
            "UPDATE jobs SET status = 'running', text_log_id = 'l', host = 'elsewhere',"
            " lease_expires_at = '2999-01-02T03:04:05.678+00:00' WHERE created_at < '2002-01-01'"
        )
        connection.execute("UPDATE response_streams SET status = 'pending' WHERE created_at < '2002-01-01'")
        connection.commit()
    rows = json.loads(prune(llmctl, "--yes", "--kind", "streams,logs,jobs").stdout)
    assert [row["rows"] for row in rows] == [0, 0, 0]


def test_chats_go_only_where_they_are_named_and_with_every_word(llmctl: Llmctl, hub_path: str) -> None:
    with closing(sqlite3.connect(hub_path)) as connection:
        at = "2001-01-02T03:04:05.678+00:00"
        connection.execute("UPDATE messages SET created_at = ? WHERE content LIKE 'kiwi%'", (at,))
        connection.execute(
            "UPDATE chats SET created_at = ?, updated_at = ?, last_turn_at = ? WHERE name = 'old'", (at,) * 3
        )
        connection.commit()
    prune(llmctl, "--yes")
    assert values(hub_path, "SELECT name FROM chats ORDER BY name") == ["new", "old"]
    prune(llmctl, "--yes", "--kind", "chats", "--vacuum")
    assert values(hub_path, "SELECT name FROM chats") == ["new"]
    with open(hub_path, "rb") as file:
        data = file.read()
    assert SECRETS[0].encode() not in data
    assert SECRETS[1].encode() in data


def test_no_terminal_to_confirm_on_is_a_usage_error_that_lists_the_rows(llmctl: Llmctl, hub_path: str) -> None:
    done = llmctl("db", "prune", "--older-than", "30d")
    assert done.returncode == 2
    assert "1 streams" in done.stderr
    assert "pass --yes" in done.stderr
    assert len(values(hub_path, "SELECT id FROM response_streams")) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--older-than", "soon"], 'cannot parse the time "soon"'),
        (["--older-than", "1d", "--kind", "stream"], 'no kind "stream"'),
    ],
)
def test_invalid_values_are_usage_errors(llmctl: Llmctl, hub_path: str, arguments: list[str], said: str) -> None:
    done = llmctl("db", "prune", *arguments)
    assert done.returncode in (2, 3)
    assert said in done.stderr
