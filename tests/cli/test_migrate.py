"""``llmctl db migrate``: the plan, a trial on a copy, the thing itself; and what happens by itself."""

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from llmctl.cli.command_tree import program
from llmctl.store.schema import ddl, migrations

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
def run(env, monkeypatch):
    """Run llmctl within this process, so that it can be given a later schema."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(program(), list(arguments))


@pytest.fixture
def later(run, env, tmp_path, monkeypatch):
    """Make a hub of today, then let the program be one version ahead of it."""
    assert run("init", "--no-detect", "--no-prisma").exit_code == 0

    def step(sql):
        root = tmp_path / "schema"
        shutil.copytree(ddl.folder(), root, dirs_exist_ok=True)
        (root / "migrations" / f"{ddl.VERSION + 1:04d}_next.sql").write_text(sql)
        monkeypatch.setattr(ddl, "VERSION", ddl.VERSION + 1)
        schema = migrations.Schema(ddl.VERSION, str(root))
        monkeypatch.setattr(migrations, "Schema", lambda: schema)

    return step


def copies(env):
    return [name for name in os.listdir(os.path.dirname(env["LLMCTL_DB"])) if name.endswith(".bak")]


def test_plan_shows_and_does_nothing(run, later, env):
    later(REWRITE)
    done = run("db", "migrate", "--plan", "--json")
    assert [(step["version"], step["kind"]) for step in json.loads(done.stdout)] == [(ddl.VERSION, "rewrite")]
    assert json.loads(run("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION - 1
    assert copies(env) == []


def test_rewriting_step_waits_for_the_command(run, later, env):
    later(REWRITE)
    done = run("settings", "set", "retries", "1", "--json")
    assert done.exit_code == 13
    assert json.loads(done.stderr)["error"]["reason"] == "needs_migration"
    assert run("settings", "get", "retries").stdout == "2\n"
    assert run("doctor").exit_code == 13
    done = run("db", "migrate")
    assert done.exit_code == 0
    assert done.stdout.split("\t")[1:] == ["next", "rewrite\n"]
    assert len(copies(env)) == 1
    assert run("settings", "set", "retries", "1").exit_code == 0


def test_verify_tries_it_on_a_copy(run, later, env):
    later(REWRITE)
    done = run("db", "migrate", "--verify")
    # The trial finds that the files of this test's schema do not have what its migration makes.
    assert done.exit_code == 13
    assert "differs from what it should be" in done.stderr
    assert json.loads(run("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION - 1
    assert [name for name in os.listdir(os.path.dirname(env["LLMCTL_DB"])) if "trial" in name] == []


def test_additive_step_happens_at_the_first_write(run, later, env):
    later('-- additive\nCREATE TABLE "moods" (\n  id TEXT NOT NULL PRIMARY KEY\n);\n')
    assert run("settings", "list").exit_code == 0
    assert json.loads(run("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION - 1
    assert run("settings", "set", "retries", "1").exit_code == 0
    assert json.loads(run("db", "status", "--json").stdout)["schema_version"] == ddl.VERSION
    assert run("db", "query", "SELECT count(*) FROM moods").stdout == "0\n"


def test_init_upgrades_whatever_it_takes(run, later, env):
    later(REWRITE)
    report = json.loads(run("init", "--no-detect", "--no-prisma", "--json").stdout)
    assert report["migrated"] == [f"{ddl.VERSION:04d}_next"]
    assert os.path.basename(report["backup"]) in copies(env)


def test_hub_of_a_newer_program_is_refused_unchanged(run, later, env, monkeypatch):
    monkeypatch.setattr(ddl, "VERSION", ddl.VERSION - 1)
    with open(env["LLMCTL_DB"], "rb") as file:
        before = file.read()
    for command in (("init",), ("db", "migrate"), ("db", "vacuum"), ("chats", "list")):
        assert run(*command).exit_code == 13
    with open(env["LLMCTL_DB"], "rb") as file:
        assert file.read() == before
