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
from tests.conftest import Run

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


def parsed(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(llmctl: Run, *words: str, **more: Any) -> Any:
    return llmctl("agent", "run", "support.py:SupportAgent", "--metadata", "user=ann", *words, **more)


def test_class_becomes_an_agent_and_its_functions_tools(llmctl: Run, file: Path) -> None:
    (made,) = parsed(llmctl("agent", "apply", "support.py:SupportAgent", "--json"))
    assert (made["name"], made["description"], made["connection"]) == ("SupportAgent", "Helps customers.", "echo")
    assert made["source_file"] == f"{file}:SupportAgent"
    assert made["tools"] == {"time": "user-permitted", "lookup_order": "user-permitted", "void": "denied"}
    shown = parsed(llmctl("tool", "show", "lookup_order", "--json"))
    assert shown["type"] == "python"
    assert shown["schema"]["properties"] == {"order_id": {"type": "string", "description": "number of the order"}}
    assert shown["data"]["file"] == str(file)


def test_file_grants_nothing_and_its_tools_see_no_keys(llmctl: Run, file: Path, env: Mapping[str, str]) -> None:
    env = {**env, "OPENAI_API_KEY": "sk-not-for-tools"}
    waiting = run(llmctl, "-o", CALL, "where?", env=env)
    assert waiting.returncode == 8
    assert "noise" not in waiting.stdout
    done = parsed(run(llmctl, "-o", CALL, "--approve", "lookup_order", "where?", "--json", env=env))
    assert json.loads(done["tool_calls"][0]["result"]) == {"order": "789", "status": "shipped", "key": None}


def test_change_of_the_code_counts_from_the_next_turn_on(llmctl: Run, file: Path) -> None:
    session = parsed(run(llmctl, "hello", "--json"))["session_id"]
    file.write_text(SUPPORT.replace("shipped", "lost").replace("You help", "You serve"))
    assert "+instructions: You serve" in llmctl("agent", "session", "diff", session).stdout
    done = llmctl("agent", "run", "SupportAgent", "-c", "-o", CALL, "--approve", "lookup_order", "again", "--json")
    assert "changed since the last turn" in done.stderr
    assert json.loads(parsed(done)["tool_calls"][0]["result"])["status"] == "lost"
    rows = parsed(llmctl("db", "query", "SELECT DISTINCT agent_version FROM requests", "--json"))
    assert len(rows) == 2


def test_decision_on_a_call_is_void_when_the_tools_code_changed(llmctl: Run, file: Path) -> None:
    assert run(llmctl, "-o", CALL, "--name", "talk", "where?").returncode == 8
    (waiting,) = parsed(llmctl("tool", "pending", "--json"))
    llmctl("tool", "approve", waiting["id"], check=True)
    file.write_text(SUPPORT.replace("shipped", "stolen"))
    done = llmctl("chat", "--chat", "talk", "-o", CALL)
    assert done.returncode == 8
    assert "stolen" not in llmctl("tool", "invocations", "--json").stdout


def test_session_crosses_from_the_command_line_to_a_program(
    llmctl: Run, file: Path, env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = parsed(run(llmctl, "one", "--json"))["session_id"]
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
        ("x = 1", "no class that derives from Agent"),
        ("class", "SyntaxError"),
        ("import acme_nowhere", "No module named 'acme_nowhere'"),
        (SUPPORT.replace('"You help {{ user }}."', "staticmethod(lambda metadata: 'x')"), "are a function"),
        (SUPPORT.replace('"time:ask"', "lambda x: x"), "has no name in the file itself"),
        (SUPPORT.replace("options =", "max_steps = 'many'\n    options ="), '"max_steps" takes a whole number'),
        (SUPPORT.replace("SupportAgent", "Other"), "it has the classes Base, Other"),
    ],
    ids=["no agent", "no Python", "no module", "function", "lambda", "wrong kind", "other class"],
)
def test_file_that_cannot_be_used_says_why(llmctl: Run, file: Path, text: str, word: str) -> None:
    file.write_text(text)
    done = run(llmctl, "hello")
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_file_that_is_not_there_is_not_found(llmctl: Run) -> None:
    assert run(llmctl, "hello").returncode == 3


def test_tool_of_another_origin_is_not_replaced(llmctl: Run, file: Path) -> None:
    llmctl("tool", "add", "lookup_order", "--command", "true", check=True)
    done = llmctl("agent", "apply", "support.py:SupportAgent")
    assert done.returncode == 2
    assert 'there is a tool "lookup_order" already' in done.stderr
    assert parsed(llmctl("agent", "list", "--json")) == []
