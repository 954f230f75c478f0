"""``llmctl ref``: from any record to any other, and back."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.store.opening import open_hub
from llmctl.store.records import record_links
from llmctl.store.schema import ddl, objects
from tests.fakes.hub_builder import HubBuilder
from tests.harness import RunInProcess, parse_json


@pytest.fixture
def hub(env: dict[str, str]) -> Any:
    with_hub = open_hub(env["LLMCTL_DB"], "create")
    rows = HubBuilder(with_hub)
    chat = rows.chat("fix")
    found = rows.turn(chat, "a", "b") | {"chat": chat["id"], "metric": rows.insert("metrics", name="m", value=1.0)}
    with_hub.close()
    return found


def test_a_record_points_to_another_and_that_one_knows(llmctl_in_process: RunInProcess, hub: Any) -> None:
    made = parse_json(
        llmctl_in_process("ref", "set", "fix", f"source={hub['metric'][:8]}", f"first={hub['user']}", "--json")
    )
    assert made == {"id": hub["chat"], "kind": "chat", "references": {"source": hub["metric"], "first": hub["user"]}}
    assert parse_json(llmctl_in_process("ref", "list", "fix", "--json")) == [
        {"direction": "to", "name": "source", "kind": "metric", "id": hub["metric"]},
        {"direction": "to", "name": "first", "kind": "message", "id": hub["user"]},
    ]
    back = [{"direction": "from", "name": "source", "kind": "chat", "id": hub["chat"]}]
    assert parse_json(llmctl_in_process("ref", "list", hub["metric"], "--json")) == back
    assert parse_json(llmctl_in_process("chats", "show", "fix", "--json"))["references"] == made["references"]


def test_unset_takes_one_and_leaves_the_rest(llmctl_in_process: RunInProcess, hub: Any) -> None:
    llmctl_in_process("ref", "set", "fix", f"a={hub['metric']}", f"b={hub['job']}")
    assert parse_json(llmctl_in_process("ref", "unset", "fix", "a", "--json"))["references"] == {"b": hub["job"]}
    assert llmctl_in_process("ref", "unset", "fix", "a").returncode == 3


@pytest.mark.parametrize("kind", ["message", "request", "network-call", "stream", "job", "metric", "chat"])
def test_every_kind_of_record_can_point(llmctl_in_process: RunInProcess, hub: Any, kind: str) -> None:
    id = {"message": hub["user"], "network-call": hub["call"]}.get(kind) or hub[kind]
    assert parse_json(llmctl_in_process("ref", "set", f"{kind}:{id}", f"x={hub['metric']}", "--json"))["kind"] == kind


def test_every_table_with_references_is_a_kind() -> None:
    made = {objects.created_object(sql)[1] for sql in ddl.load_statements() if "\n  refs JSONB" in sql}
    assert set(record_links.KINDS) == made


def test_reference_to_no_known_record_needs_any_flag(llmctl_in_process: RunInProcess, hub: Any) -> None:
    assert llmctl_in_process("ref", "set", "fix", "x=elsewhere").returncode == 3
    assert parse_json(llmctl_in_process("ref", "set", "fix", "x=elsewhere", "--any", "--json"))["references"] == {
        "x": "elsewhere"
    }
    found = parse_json(llmctl_in_process("ref", "list", "fix", "--json"))
    assert found == [{"direction": "to", "name": "x", "kind": None, "id": "elsewhere"}]


def test_a_name_of_two_records_is_ambiguous(llmctl_in_process: RunInProcess, env: dict[str, str], hub: Any) -> None:
    database = open_hub(env["LLMCTL_DB"], "write")
    HubBuilder(database).connection("fix")
    database.close()
    done = llmctl_in_process("ref", "list", "fix")
    assert done.returncode == 3
    assert "chat:" in done.stderr
    assert "connection:" in done.stderr
    assert llmctl_in_process("ref", "list", "chat:fix").returncode == 0
