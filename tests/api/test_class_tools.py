# ruff: noqa: RUF012 (tools are written as people write them)
"""Tools as classes and objects, and schemas as classes."""

from __future__ import annotations

import enum
import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest

from llmctl import Hub, errors
from tests.api.support_agent import calling
from tests.fakes.openai_server import FakeServer
from tests.harness import Llmctl, parse_json

ORDER_SCHEMA = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}


class LookupOrder:
    name = "lookup_order"
    description = "Look up order status"
    schema = ORDER_SCHEMA

    def execute(self, order_id: str) -> dict[str, str]:
        return {"order": order_id}


class Defined:
    definition = {"name": "lookup_order", "description": "Look up order status", "parameters": ORDER_SCHEMA}

    async def execute(self, order_id: str) -> dict[str, str]:
        return {"order": order_id}


class Described:
    """Look up order status"""

    name = "lookup_order"

    def execute(self, order_id: str) -> dict[str, str]:
        return {"order": order_id}


class lookup_order:
    """Look up order status"""

    def __call__(self, order_id: str) -> dict[str, str]:
        return {"order": order_id}


def find_order(order_id: str, prefix: str) -> dict[str, str]:
    """Look up order status"""
    return {"order": prefix + order_id}


@pytest.mark.parametrize(
    "tool",
    [LookupOrder, LookupOrder(), Defined, Defined(), Described, lookup_order()],
    ids=["class", "object", "definition", "definition of an object", "docstring", "__call__"],
)
def test_class_with_execute_is_a_tool(online: Hub, server: FakeServer, tool: Any) -> None:
    online.create_chat(model="openai:fake-1", tools=[tool]).ask("x")
    (sent,) = server.requests[0].json["tools"]
    assert (sent["function"]["name"], sent["function"]["description"]) == ("lookup_order", "Look up order status")
    assert sent["function"]["parameters"]["properties"] == {"order_id": {"type": "string"}}
    answer = online.create_chat(model="echo", tools=[tool]).ask("x", options=calling('lookup_order {"order_id": "7"}'))
    assert json.loads(answer.tool_calls[0]["result"]) == {"order": "7"}


def test_partial_is_a_tool(hub: Hub) -> None:
    chat = hub.create_chat(model="echo", tools=[functools.partial(find_order, prefix="#")])
    answer = chat.ask("x", options=calling('find_order {"order_id": "7"}'))
    assert json.loads(answer.tool_calls[0]["result"]) == {"order": "#7"}


def test_class_that_is_no_tool_is_refused(hub: Hub) -> None:
    for wrong in (object(), 7):
        with pytest.raises(errors.UsageError, match="not a tool"):
            hub.create_chat(model="echo").ask("x", tools=[wrong])


class Kind(enum.Enum):
    CAT = "cat"
    DOG = "dog"


@dataclass
class Pet:
    """A pet.

    name: what it is called
    """

    name: str
    kind: Kind
    tags: list[str] = field(default_factory=list)


@dataclass
class Owner:
    pets: list[Pet]


class Person(TypedDict):
    name: str
    age: NotRequired[int]


PET = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "what it is called"},
        "kind": {"enum": ["cat", "dog"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "value", "wrong"),
    [
        (Pet, {"name": "Tom", "kind": "cat"}, {"name": "Tom", "kind": "cow"}),
        (Owner, {"pets": [{"name": "Tom", "kind": "cat"}]}, {"pets": [{"name": "Tom"}]}),
        (Person, {"name": "Ann"}, {"age": 7}),
    ],
    ids=["dataclass", "nested", "TypedDict"],
)
def test_class_is_a_schema(hub: Hub, schema: Any, value: Any, wrong: Any) -> None:
    chat = hub.create_chat(model="echo")
    assert chat.ask("x", schema=schema, options={"reply": json.dumps(value)}).data == value
    with pytest.raises(errors.InvalidOutputError):
        chat.ask("x", schema=schema, options={"reply": json.dumps(wrong)})


FILE = """
from dataclasses import dataclass
from llmctl import Agent

@dataclass
class Result:
    status: str

class LookupOrder:
    name = "lookup_order"
    description = "Look up order status"

    def execute(self, order_id: str) -> dict:
        return {"order": order_id}

class Support(Agent):
    model = "echo"
    tools = [LookupOrder, "time:auto"]
    thinking = {"budget": 2000}
    schema = Result
"""


@pytest.fixture
def file(llmctl: Llmctl, tmp_path: Path) -> Path:
    path = tmp_path / "support.py"
    path.write_text(FILE)
    return path


def test_class_tools_of_an_agent_file_run_from_a_shell(llmctl: Llmctl, file: Path) -> None:
    words = ["--approve", "lookup_order", "-o", 'tool=lookup_order {"order_id": "7"}', "-o", 'reply={"status": "ok"}']
    done = parse_json(llmctl("agent", "run", str(file), *words, "x", "--json"))
    assert json.loads(done["tool_calls"][0]["result"]) == {"order": "7"}


def test_agent_file_permits_no_tool_in_a_shell(llmctl: Llmctl, file: Path) -> None:
    """Neither its own nor those of the hub: the person does, with -T, --approve, attach or on the terminal."""
    for name, arguments in (("lookup_order", '{"order_id": "7"}'), ("time", "{}")):
        done = llmctl("agent", "run", str(file), "-o", f"tool={name} {arguments}", "x")
        assert done.returncode == 8, done.stderr
    llmctl("agent", "attach", "Support", "lookup_order:auto", check=True)
    words = ["-o", 'tool=lookup_order {"order_id": "7"}', "-o", 'reply={"status": "ok"}']
    assert llmctl("agent", "run", str(file), *words, "x").returncode == 0
