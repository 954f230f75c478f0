"""``llmctl agent run FILE.py``: agents that are Python classes, their functions as tools of the hub."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmctl import Hub
from tests.harness import Llmctl, parse_json

SUPPORT = """
import os
from llmctl import Agent, Halt, tool

print("noise at import")

@tool
def lookup_order(order_id: str) -> dict:
    '''Look up the status of an order.

    order_id: number of the order
    '''
    print("looking it up")
    return {"order": order_id, "status": "shipped", "key": os.environ.get("OPENAI_API_KEY")}

@tool(name="void", permission="denied", timeout=5)
def cancel(order_id: str) -> str:
    return "cancelled"

class Base(Agent):
    model = "echo"

class SupportAgent(Base):
    '''Helps customers.'''
    instructions = "You help {{ user }}."
    tools = [lookup_order, cancel, "time:ask"]
    options = {"temperature": 0.5}
"""
CALL = 'tool=lookup_order {"order_id": "789"}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "support.py"
    path.write_text(SUPPORT)
    return path


def run(llmctl: Llmctl, *words: str, **more: Any) -> Any:
    return llmctl("agent", "run", "support.py:SupportAgent", "--metadata", "user=ann", *words, **more)


def test_class_becomes_an_agent_and_its_functions_tools(llmctl: Llmctl, file: Path) -> None:
    (made,) = parse_json(llmctl("agent", "apply", "support.py:SupportAgent", "--json"))
    assert (made["name"], made["description"], made["connection"]) == ("SupportAgent", "Helps customers.", "echo")
    assert made["source_file"] == f"{file}:SupportAgent"
    assert made["tools"] == {"time": "user-permitted", "lookup_order": "user-permitted", "void": "denied"}
    shown = parse_json(llmctl("tool", "show", "lookup_order", "--json"))
    assert shown["type"] == "python"
    assert shown["schema"]["properties"] == {"order_id": {"type": "string", "description": "number of the order"}}
    assert shown["data"]["file"] == str(file)


def test_file_grants_nothing_and_its_tools_see_no_keys(llmctl: Llmctl, file: Path, env: Mapping[str, str]) -> None:
    env = {**env, "OPENAI_API_KEY": "sk-not-for-tools"}
    waiting = run(llmctl, "-o", CALL, "where?", env=env)
    assert waiting.returncode == 8
    assert "noise" not in waiting.stdout
    done = parse_json(run(llmctl, "-o", CALL, "--approve", "lookup_order", "where?", "--json", env=env))
    assert json.loads(done["tool_calls"][0]["result"]) == {"order": "789", "status": "shipped", "key": None}


def test_change_of_the_code_counts_from_the_next_turn_on(llmctl: Llmctl, file: Path) -> None:
    session = parse_json(run(llmctl, "hello", "--json"))["session_id"]
    file.write_text(SUPPORT.replace("shipped", "lost").replace("You help", "You serve"))
    assert "+instructions: You serve" in llmctl("agent", "session", "diff", session).stdout
    done = llmctl("agent", "run", "SupportAgent", "-c", "-o", CALL, "--approve", "lookup_order", "again", "--json")
    assert "changed since the last turn" in done.stderr
    assert json.loads(parse_json(done)["tool_calls"][0]["result"])["status"] == "lost"
    rows = parse_json(llmctl("db", "query", "SELECT DISTINCT agent_version FROM requests", "--json"))
    assert len(rows) == 2


def test_decision_on_a_call_is_void_when_the_tools_code_changed(llmctl: Llmctl, file: Path) -> None:
    assert run(llmctl, "-o", CALL, "--name", "talk", "where?").returncode == 8
    (waiting,) = parse_json(llmctl("tool", "pending", "--json"))
    llmctl("tool", "approve", waiting["id"], check=True)
    file.write_text(SUPPORT.replace("shipped", "stolen"))
    done = llmctl("chat", "--chat", "talk", "-o", CALL)
    assert done.returncode == 8
    assert "stolen" not in llmctl("tool", "invocations", "--json").stdout


def test_session_crosses_from_the_command_line_to_a_program(
    llmctl: Llmctl, file: Path, env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = parse_json(run(llmctl, "one", "--json"))["session_id"]
    spec = importlib.util.spec_from_file_location("support_of_a_test", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    with Hub(env=env) as hub:
        before = hub.query("SELECT source_file FROM agents")
        resumed = hub.load_agent_session(module.SupportAgent, session)
        answer = resumed.ask("two", options={"tool": CALL.removeprefix("tool=")})
        assert answer.tool_calls[0]["status"] == "completed"  # a program's own function: nobody is asked
        assert hub.query("SELECT source_file FROM agents") == before
    assert llmctl("agent", "run", "support.py", "-c", "three").returncode == 2  # two classes
    assert run(llmctl, "--session", session, "three").returncode == 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = 1", "it has no subclass of Agent"),
        ("class", "SyntaxError"),
        ("import acme_nowhere", "No module named 'acme_nowhere'"),
        (SUPPORT.replace('"You help {{ user }}."', "staticmethod(lambda metadata: 'x')"), "are a function"),
        (SUPPORT.replace('"time:ask"', "lambda x: x"), "has no name in the file"),
        (SUPPORT.replace("options =", "max_steps = 'many'\n    options ="), "max_steps must be a whole number"),
        (SUPPORT.replace("SupportAgent", "Other"), "it has the classes Base, Other"),
    ],
    ids=["no agent", "no Python", "no module", "function", "lambda", "wrong kind", "other class"],
)
def test_file_that_cannot_be_used_says_why(llmctl: Llmctl, file: Path, text: str, word: str) -> None:
    file.write_text(text)
    done = run(llmctl, "hello")
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_file_that_is_not_there_is_not_found(llmctl: Llmctl) -> None:
    assert run(llmctl, "hello").returncode == 3


def test_tool_of_another_origin_is_not_replaced(llmctl: Llmctl, file: Path) -> None:
    llmctl("tool", "add", "lookup_order", "--command", "true", check=True)
    done = llmctl("agent", "apply", "support.py:SupportAgent")
    assert done.returncode == 2
    assert 'tool "lookup_order" already exists' in done.stderr
    assert parse_json(llmctl("agent", "list", "--json")) == []
