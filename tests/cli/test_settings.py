"""``llmctl settings``: known names, typed values, built-in ones back again."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.options import SETTINGS
from tests.harness import Llmctl


@pytest.fixture(autouse=True)
def hub_path(llmctl: Llmctl, env: dict[str, str]) -> str:
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    return env["LLMCTL_DB"]


def read_settings(hub_path: str) -> Any:
    with closing(sqlite3.connect(hub_path)) as connection:
        row = connection.execute("SELECT settings, theme, sidebar_open, last_page, bootstrapped FROM user_settings")
        return row.fetchone()


def test_every_setting_is_listed_with_its_value_and_help(llmctl: Llmctl) -> None:
    found = json.loads(llmctl("settings", "list", "--json").stdout)
    assert [row["name"] for row in found] == list(SETTINGS)
    assert all(row["help"] for row in found)
    assert {row["name"]: row["value"] for row in found}["retries"] == 2
    assert [row["name"] for row in found if row["is_set"]] == ["bootstrapped"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rollback", "yes", True),
        ("stream.keep", "off", False),
        ("retries", "0", 0),
        ("timeout", "2.5", 2.5),
        ("timeout", "30", 30),
        ("audit.context", "git,host", ["git", "host"]),
        ("audit.context", "none", []),
        ("default_connection", "echo", "echo"),
    ],
)
def test_setting_is_kept_with_its_type(llmctl: Llmctl, hub_path: str, name: str, text: str, value: Any) -> None:
    assert llmctl("settings", "set", name, text).returncode == 0
    assert json.loads(read_settings(hub_path)[0]) == {name: value}
    assert json.loads(llmctl("settings", "get", name, "--json").stdout)["value"] == value
    assert llmctl("settings", "unset", name).returncode == 0
    assert json.loads(read_settings(hub_path)[0]) == {}


def test_settings_of_the_seed_are_columns(llmctl: Llmctl, hub_path: str) -> None:
    for name, text in (("theme", "dark"), ("sidebar_open", "no"), ("last-page", "chats"), ("bootstrapped", "false")):
        llmctl("settings", "set", name, text, check=True)
    assert read_settings(hub_path) == ("{}", "dark", 0, "chats", 0)
    llmctl("settings", "unset", "theme", check=True)
    assert read_settings(hub_path)[1] == "system"


def test_get_prints_the_value_alone_as_it_would_be_set(llmctl: Llmctl) -> None:
    assert llmctl("settings", "get", "rollback").stdout == "false\n"
    assert llmctl("settings", "get", "timeout").stdout == "\n"
    assert llmctl("settings", "get", "audit.context").stdout == "script,folder,git,host\n"
    llmctl("settings", "set", "audit.context", llmctl("settings", "get", "audit.context").stdout.strip(), check=True)


@pytest.mark.parametrize("command", [("get",), ("set", "1"), ("unset",)])
def test_unknown_setting_names_near_ones(llmctl: Llmctl, command: tuple[str, ...]) -> None:
    done = llmctl("settings", command[0], "retrys", *command[1:], "--json")
    assert (done.returncode, done.error["code"]) == (2, "usage")
    assert "retries" in done.error["hint"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("retries", "two"), ("retries", "-1"), ("retries", "1.5"), ("max_steps", "0")),
        *(("timeout", "nan"), ("timeout", "inf"), ("timeout", "-1"), ("timeout", "0")),
        *(("rollback", "perhaps"), ("theme", "pink"), ("audit.context", "script,shoe")),
    ],
)
def test_value_of_the_wrong_type_is_refused(llmctl: Llmctl, hub_path: str, name: Any, text: Any) -> None:
    before = read_settings(hub_path)
    done = llmctl("settings", "set", name, "--", text)
    assert done.returncode == 2
    assert f"{name} must be " in done.stderr
    assert f', got "{text.rpartition(",")[2]}"' in done.stderr
    assert read_settings(hub_path) == before


def test_default_connection_must_exist(llmctl: Llmctl) -> None:
    assert llmctl("settings", "set", "default_connection", "nobody").returncode == 3


def test_settings_without_a_hub_make_none(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    elsewhere = env | {"LLMCTL_DB": str(tmp_path / "other.db")}
    assert llmctl("settings", "set", "retries", "1", env=elsewhere).returncode == 4
    assert not os.path.exists(elsewhere["LLMCTL_DB"])


@pytest.mark.slow
def test_settings_set_at_once_are_all_kept(llmctl: Llmctl, hub_path: str) -> None:
    wanted = {
        "retries": "1",
        "timeout": "5",
        "stream.keep": "no",
        "max_steps": "3",
        "rollback": "on",
    }
    processes = [llmctl.start("settings", "set", *pair) for pair in wanted.items()]
    assert [process.wait().returncode for process in processes] == [0] * len(wanted)
    assert set(json.loads(read_settings(hub_path)[0])) == set(wanted)
