"""``llmctl db migrate``: the plan, a trial on a copy, the thing itself; and what happens by itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.schema import ddl, migrations
from tests.harness import RunInProcess

REWRITE = """\
-- rewrite
CREATE TABLE "new_metrics" (
  id TEXT NOT NULL PRIMARY KEY,
  refs JSONB NOT NULL DEFAULT '{}',
  name TEXT NOT NULL/*fields:metrics*/
);
INSERT INTO "new_metrics" (id, refs, name/*columns:metrics*/) SELECT id, refs, name/*columns:metrics*/ FROM "metrics";
DROP TABLE "metrics";
ALTER TABLE "new_metrics" RENAME TO "metrics";
"""


@pytest.fixture
def later(
    llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Make a hub of today, then let the program be one version ahead of it."""
    assert llmctl_in_process("init", "--no-detect", "--no-prisma").returncode == 0

    def step(sql: str) -> None:
        root = tmp_path / "schema"
        shutil.copytree(ddl.schema_folder(), root, dirs_exist_ok=True)
        (root / "migrations" / f"{ddl.VERSION + 1:04d}_next.sql").write_text(sql)
        monkeypatch.setattr(ddl, "VERSION", ddl.VERSION + 1)
        schema = migrations.TargetSchema(ddl.VERSION, str(root))
        monkeypatch.setattr(migrations, "TargetSchema", lambda: schema)

    return step


def copies(env: dict[str, str]) -> list[Any]:
    return [name for name in os.listdir(os.path.dirname(env["LLMCTL_DB"])) if name.endswith(".bak")]


def test_plan_shows_and_does_nothing(
    llmctl_in_process: RunInProcess, later: Callable[..., Any], env: dict[str, str]
) -> None:
    later(REWRITE)
    done = llmctl_in_process("db", "migrate", "--plan", "--json")
    assert [(step["version"], step["kind"]) for step in json.loads(done.stdout)] == [(ddl.VERSION, "rewrite")]
    assert json.loads(llmctl_in_process("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION - 1
    assert copies(env) == []


def test_rewriting_step_waits_for_the_command(
    llmctl_in_process: RunInProcess, later: Callable[..., Any], env: dict[str, str]
) -> None:
    later(REWRITE)
    done = llmctl_in_process("settings", "set", "retries", "1", "--json")
    assert done.returncode == 13
    assert json.loads(done.stderr)["error"]["reason"] == "needs_migration"
    assert llmctl_in_process("settings", "get", "retries").stdout == "2\n"
    assert llmctl_in_process("doctor").returncode == 13
    done = llmctl_in_process("db", "migrate")
    assert done.returncode == 0
    assert done.stdout.split("\t")[1:] == ["next", "rewrite\n"]
    assert len(copies(env)) == 1
    assert llmctl_in_process("settings", "set", "retries", "1").returncode == 0


def test_verify_tries_it_on_a_copy(
    llmctl_in_process: RunInProcess, later: Callable[..., Any], env: dict[str, str]
) -> None:
    later(REWRITE)
    done = llmctl_in_process("db", "migrate", "--verify")
    # The trial finds that the files of this test's schema do not have what its migration makes.
    assert done.returncode == 13
    assert "differs from the expected one" in done.stderr
    assert json.loads(llmctl_in_process("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION - 1
    assert [name for name in os.listdir(os.path.dirname(env["LLMCTL_DB"])) if "trial" in name] == []


def test_additive_step_happens_at_the_first_write(
    llmctl_in_process: RunInProcess, later: Callable[..., Any], env: dict[str, str]
) -> None:
    later('-- additive\nCREATE TABLE "moods" (\n  id TEXT NOT NULL PRIMARY KEY\n);\n')
    assert llmctl_in_process("settings", "list").returncode == 0
    assert json.loads(llmctl_in_process("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION - 1
    assert llmctl_in_process("settings", "set", "retries", "1").returncode == 0
    assert json.loads(llmctl_in_process("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION
    assert llmctl_in_process("db", "query", "SELECT count(*) FROM moods").stdout == "0\n"


def test_init_upgrades_whatever_it_takes(
    llmctl_in_process: RunInProcess, later: Callable[..., Any], env: dict[str, str]
) -> None:
    later(REWRITE)
    report = json.loads(llmctl_in_process("init", "--no-detect", "--no-prisma", "--json").stdout)
    assert report["migrated"] == [f"{ddl.VERSION:04d}_next"]
    assert os.path.basename(report["backup"]) in copies(env)


def test_hub_of_a_newer_program_is_refused_unchanged(
    llmctl_in_process: RunInProcess, later: Callable[..., Any], env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ddl, "VERSION", ddl.VERSION - 1)
    with open(env["LLMCTL_DB"], "rb") as file:
        before = file.read()
    for command in (("init",), ("db", "migrate"), ("db", "vacuum"), ("chats", "list")):
        assert llmctl_in_process(*command).returncode == 13
    with open(env["LLMCTL_DB"], "rb") as file:
        assert file.read() == before
