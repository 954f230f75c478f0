"""``llmctl ref``: from any record to any other, and back."""

from __future__ import annotations

import pytest

from llmctl.store.opening import open_hub
from llmctl.store.records import record_links
from llmctl.store.schema import ddl, objects
from tests.cli.within import parsed, run  # noqa: F401
from tests.store.rows import Rows


@pytest.fixture
def hub(env):
    with_hub = open_hub(env["LLMCTL_DB"], "create")
    rows = Rows(with_hub)
    chat = rows.chat("fix")
    found = rows.turn(chat, "a", "b") | {"chat": chat["id"], "metric": rows.insert("metrics", name="m", value=1.0)}
    with_hub.close()
    return found


def test_a_record_points_to_another_and_that_one_knows(run, hub):  # noqa: F811
    made = parsed(run("ref", "set", "fix", f"source={hub['metric'][:8]}", f"first={hub['user']}", "--json"))
    assert made == {"id": hub["chat"], "kind": "chat", "references": {"source": hub["metric"], "first": hub["user"]}}
    assert parsed(run("ref", "list", "fix", "--json")) == [
        {"direction": "to", "name": "source", "kind": "metric", "id": hub["metric"]},
        {"direction": "to", "name": "first", "kind": "message", "id": hub["user"]},
    ]
    back = [{"direction": "from", "name": "source", "kind": "chat", "id": hub["chat"]}]
    assert parsed(run("ref", "list", hub["metric"], "--json")) == back
    assert parsed(run("chats", "show", "fix", "--json"))["references"] == made["references"]


def test_unset_takes_one_and_leaves_the_rest(run, hub):  # noqa: F811
    run("ref", "set", "fix", f"a={hub['metric']}", f"b={hub['job']}")
    assert parsed(run("ref", "unset", "fix", "a", "--json"))["references"] == {"b": hub["job"]}
    assert run("ref", "unset", "fix", "a").exit_code == 3


@pytest.mark.parametrize("kind", ["message", "request", "network-call", "stream", "job", "metric", "chat"])
def test_every_kind_of_record_can_point(run, hub, kind):  # noqa: F811
    id = {"message": hub["user"], "network-call": hub["call"]}.get(kind) or hub[kind]
    assert parsed(run("ref", "set", f"{kind}:{id}", f"x={hub['metric']}", "--json"))["kind"] == kind


def test_every_table_with_references_is_a_kind():
    made = {objects.made(sql)[1] for sql in ddl.statements() if "\n  refs JSONB" in sql}
    assert set(record_links.KINDS) == made


def test_a_target_that_is_not_here_needs_any(run, hub):  # noqa: F811
    assert run("ref", "set", "fix", "x=elsewhere").exit_code == 3
    assert parsed(run("ref", "set", "fix", "x=elsewhere", "--any", "--json"))["references"] == {"x": "elsewhere"}
    found = parsed(run("ref", "list", "fix", "--json"))
    assert found == [{"direction": "to", "name": "x", "kind": None, "id": "elsewhere"}]


def test_a_name_of_two_records_is_ambiguous(run, env, hub):  # noqa: F811
    database = open_hub(env["LLMCTL_DB"], "write")
    Rows(database).connection("fix")
    database.close()
    done = run("ref", "list", "fix")
    assert done.exit_code == 3
    assert "chat:" in done.stderr
    assert "connection:" in done.stderr
    assert run("ref", "list", "chat:fix").exit_code == 0
