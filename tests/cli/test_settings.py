"""``llmctl settings``: known names, typed values, built-in ones back again."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from llmctl.core.settings import SETTINGS


@pytest.fixture(autouse=True)
def hub(llmctl, env):
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    return env["LLMCTL_DB"]


def error(done):
    return json.loads(done.stderr.splitlines()[-1])["error"]


def kept(hub):
    with closing(sqlite3.connect(hub)) as connection:
        row = connection.execute("SELECT settings, theme, sidebar_open, last_page, bootstrapped FROM user_settings")
        return row.fetchone()


def test_every_setting_is_listed_with_its_value_and_help(llmctl):
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
def test_setting_is_kept_with_its_type(llmctl, hub, name, text, value):
    assert llmctl("settings", "set", name, text).returncode == 0
    assert json.loads(kept(hub)[0]) == {name: value}
    assert json.loads(llmctl("settings", "get", name, "--json").stdout)["value"] == value
    assert llmctl("settings", "unset", name).returncode == 0
    assert json.loads(kept(hub)[0]) == {}


def test_settings_of_the_seed_are_columns(llmctl, hub):
    for name, text in (("theme", "dark"), ("sidebar_open", "no"), ("last-page", "chats"), ("bootstrapped", "false")):
        llmctl("settings", "set", name, text, check=True)
    assert kept(hub) == ("{}", "dark", 0, "chats", 0)
    llmctl("settings", "unset", "theme", check=True)
    assert kept(hub)[1] == "system"


def test_get_prints_the_value_alone_as_it_would_be_set(llmctl):
    assert llmctl("settings", "get", "rollback").stdout == "false\n"
    assert llmctl("settings", "get", "timeout").stdout == "\n"
    assert llmctl("settings", "get", "audit.context").stdout == "script,folder,git,host\n"
    llmctl("settings", "set", "audit.context", llmctl("settings", "get", "audit.context").stdout.strip(), check=True)


@pytest.mark.parametrize("command", [("get",), ("set", "1"), ("unset",)])
def test_unknown_setting_names_near_ones(llmctl, command):
    done = llmctl("settings", command[0], "retrys", *command[1:], "--json")
    assert (done.returncode, error(done)["code"]) == (2, "usage")
    assert "retries" in error(done)["hint"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("retries", "two"), ("retries", "-1"), ("retries", "1.5"), ("max_steps", "0")),
        *(("timeout", "nan"), ("timeout", "inf"), ("timeout", "-1"), ("timeout", "0")),
        *(("rollback", "perhaps"), ("theme", "pink"), ("audit.context", "script,shoe")),
    ],
)
def test_value_of_the_wrong_type_is_refused(llmctl, hub, name, text):
    before = kept(hub)
    done = llmctl("settings", "set", name, "--", text)
    assert done.returncode == 2
    assert f'"{text}" is no value for "{name}"' in done.stderr
    assert "it takes" in done.stderr
    assert kept(hub) == before


def test_default_connection_must_exist(llmctl):
    assert llmctl("settings", "set", "default_connection", "nobody").returncode == 3


def test_settings_without_a_hub_make_none(llmctl, env, tmp_path):
    elsewhere = env | {"LLMCTL_DB": str(tmp_path / "other.db")}
    assert llmctl("settings", "set", "retries", "1", env=elsewhere).returncode == 4
    assert not os.path.exists(elsewhere["LLMCTL_DB"])


@pytest.mark.slow
def test_settings_set_at_once_are_all_kept(env, hub, tmp_path):
    wanted = {
        "retries": "1",
        "timeout": "5",
        "stream.keep": "no",
        "max_steps": "3",
        "rollback": "on",
    }
    processes = [
        subprocess.Popen([sys.executable, "-m", "llmctl", "settings", "set", *pair], env=env, cwd=tmp_path)
        for pair in wanted.items()
    ]
    assert [process.wait() for process in processes] == [0] * len(wanted)
    assert set(json.loads(kept(hub)[0])) == set(wanted)
