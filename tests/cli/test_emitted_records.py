"""The emitted JSON Schema takes every row of an export, and every record of a ``--json`` list."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import jsonschema_rs
import pytest

from tests.engine.transfer_hubs import export_hub, fill_hub, new_hub
from tests.harness import RunInProcess, parse_json

LISTS = [
    *(("chats list", "Chat"), ("request list", "Request"), ("job list", "Job"), ("tool list", "Tool")),
    *(("tool invocations", "ToolInvocation"), ("agent list", "Agent"), ("agent sessions", "AgentSession")),
    *(("connection list", "ModelConnection"), ("log list", "TextLog"), ("metric list", "Metric")),
    *(("model alias", "ModelAlias"), ("message list", "Message"), ("thread list", "MessageThread")),
]


@pytest.fixture
def exported(env: dict[str, str]) -> list[Any]:
    """The rows of an export of a hub with a row of everything there is."""
    with closing(new_hub(env["LLMCTL_DB"])) as hub:
        fill_hub(hub)
        return [json.loads(line) for line in export_hub(hub).splitlines()[1:]]


def test_schema_takes_what_export_and_json_print(llmctl_in_process: RunInProcess, exported: list[Any]) -> None:
    document = parse_json(llmctl_in_process("schema", "emit", "json-schema"))
    models = {definition["title"]: name for name, definition in document["$defs"].items()}
    found = [(models[line["table"]], line["row"]) for line in exported]
    for command, model in LISTS:
        rows = parse_json(llmctl_in_process(*command.split(), "--json"))
        assert rows, command
        found += [(model, row) for row in rows]
    chat = parse_json(llmctl_in_process("chats", "list", "--json"))[0]["id"]
    shown = parse_json(llmctl_in_process("chats", "show", chat, "--all", "--json"))
    found += [("Chat", shown), *(("Message", message) for message in shown["messages"])]
    checks = {name: jsonschema_rs.validator_for({**document, "$ref": f"#/$defs/{name}"}) for name in document["$defs"]}
    wrong = [(name, str(error)) for name, row in found for error in checks[name].iter_errors(row)]
    assert not wrong
    assert len({name for name, _ in found}) > 20
