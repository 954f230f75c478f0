# ruff: noqa: RUF012 (agents are written as people write them)
"""Threads, forks and signals; what importing the package costs."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

import llmctl
from llmctl import Agent, Chat, Hub, errors
from tests.api.support_agent import calling, lookup_order
from tests.fakes.openai_server import FakeServer, json_reply
from tests.harness import PYTHON, ROOT, Llmctl


def test_one_hub_is_shared_by_threads(hub: Hub) -> None:
    failed: list[BaseException] = []

    def talk(number: int) -> None:
        try:
            chat = hub.create_chat(model="echo", name=f"talk {number}", tools=[lookup_order])
            for turn in range(5):
                assert chat.ask(f"{number} {turn}").content == f"{number} {turn}"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert hub.query("SELECT count(*) AS n FROM requests WHERE status = 'completed'") == [{"n": 40}]


def test_stream_can_be_read_in_another_thread(hub: Hub) -> None:
    running = hub.create_chat(model="echo").stream("one two three")
    pieces: list[str] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: pieces.append(next(running)))
        thread.start()
        thread.join()
        hub.create_chat(model="echo").ask("meanwhile")
    assert "".join(pieces) == "one two three"
    assert list(running) == []
    assert running.response.status == "completed"


def test_two_turns_of_one_chat_exclude_each_other(hub: Hub) -> None:
    chat = hub.create_chat(model="echo")
    with chat.stream("one two") as running:
        next(running)
        with pytest.raises(errors.LockedError):
            chat.ask("not now")
    assert chat.ask("now", wait=1).content == "now"
    seqs = [row["seq"] for row in hub.query("SELECT seq FROM messages ORDER BY created_at")]
    assert seqs == sorted(set(seqs))


def test_hub_in_memory_belongs_to_its_thread() -> None:
    found: list[BaseException] = []
    with Hub(":memory:", {"HOME": "/nonexistent"}) as hub:
        chat: Chat = hub.create_chat(model="echo")

        def other() -> None:
            try:
                chat.ask("x")
            except errors.UsageError as error:
                found.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert "can only be used by the thread" in str(found[0])
        assert chat.ask("x").content == "x"


def test_missing_hub_is_made_only_where_that_is_wanted(env: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="no hub at"):
        Hub(tmp_path / "none.db", env, create=False)
    with pytest.raises(errors.ConfigError, match="no home folder"):
        Hub(env={})
    with Hub(tmp_path / "own.db", env) as hub:
        assert hub.path == str(tmp_path / "own.db")
    assert not Path(env["LLMCTL_DB"]).exists()
    with pytest.raises(errors.StorageError, match="closed"):
        hub.create_chat(model="echo")


def test_importing_the_package_costs_nothing(env: Mapping[str, str]) -> None:
    def loaded(code: str) -> set[str]:
        script = f"import sys; bare = set(sys.modules); {code}\nprint(*(set(sys.modules) - bare))"
        done = subprocess.run([PYTHON, "-c", script], env={"PYTHONPATH": ROOT}, capture_output=True, text=True)
        return set(done.stdout.split())

    assert loaded("import llmctl") == {"llmctl"}
    light = loaded("from llmctl import Agent, tool")
    assert {name for name in light if name.startswith("llmctl.")} == {
        *("llmctl.api", "llmctl.api.agent", "llmctl.api.keywords", "llmctl.api.middleware"),
        *("llmctl.core", "llmctl.core.tools", "llmctl.core.values"),
    }
    heavy = {"typer", "httpx", "sqlite_utils", "jinja2", "rich", "asyncio", "importlib.metadata", "genai_prices"}
    assert loaded("from llmctl import Hub") & heavy == set()


def test_public_names_are_exported_and_no_others() -> None:
    for name in llmctl.__all__:
        assert getattr(llmctl, name)
    with pytest.raises(AttributeError, match="Hubb"):
        _ = llmctl.Hubb


@pytest.mark.parametrize("name", ["agent", "agent_session", "chat", "hub"])
def test_examples_in_docstrings_run(name: str, env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    found = doctest.testmod(importlib.import_module(f"llmctl.api.{name}"))
    assert found.attempted
    assert not found.failed


@pytest.mark.slow
def test_package_is_typed_where_it_is_used(tmp_path: Path) -> None:
    mypy = subprocess.run([sys.executable, "-c", "import mypy"], capture_output=True)
    if mypy.returncode:
        pytest.skip("mypy is not installed")
    (tmp_path / "use.py").write_text("""
from llmctl import Agent, Hub, tool
@tool
def add(a: int, b: int = 1) -> int:
    return a + b
class Adder(Agent):
    model = "echo"
    tools = [add]
with Hub() as hub:
    number: int = add(1)
    text: str = hub.create_chat(model="echo").ask("hi", thinking="low").content
    for piece in hub.create_agent_session(Adder).with_tool(add).stream("x"):
        text += piece
    hub.create_chat().ask("x", max_stepps=1)  # wrong
""")
    words = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", "use.py"]
    done = subprocess.run(words, cwd=tmp_path, env={"MYPYPATH": ROOT, "PATH": ""}, capture_output=True, text=True)
    assert 'Unexpected keyword argument "max_stepps"' in done.stdout
    assert "Found 1 error" in done.stdout, done.stdout


def test_usage_of_a_json_answer_is_that_of_the_command_line(hub: Hub, llmctl: Llmctl) -> None:
    theirs = json.loads(llmctl("chat", "-m", "echo", "hi", "--json").stdout)
    ours = hub.create_chat(model="echo").ask("hi").as_dict()
    assert ours.keys() == theirs.keys()
    assert [ours[name] for name in ("content", "usage", "cost")] == [
        theirs[name] for name in ("content", "usage", "cost")
    ]


def test_agent_of_the_hub_is_talked_to_by_name(hub: Hub, llmctl: Llmctl) -> None:
    words = ("--instructions", "You help {{ user }}.", "--tool", "time:auto", "-o", "temperature=0.5")
    llmctl("agent", "create", "helper", "-m", "echo", *words, check=True)
    session = hub.create_agent_session("helper", metadata={"user": "Ann"})
    answer = session.ask("x", options=calling('time {"zone": "UTC"}'))
    assert answer.tool_calls[0]["status"] == "completed"
    assert hub.load_agent_session("helper", session.id).messages()[0]["content"] == "You help Ann."
    with pytest.raises(errors.UsageError, match="is an agent session"):
        hub.load_chat(session.chat_id)


def test_class_asks_an_agent_of_the_hub(hub: Hub, llmctl: Llmctl) -> None:
    llmctl("agent", "create", "helper", "-m", "echo", "--instructions", "You help.", check=True)

    class Boss(Agent):
        model = "echo"
        agents = ["helper"]

    answer = hub.create_agent_session(Boss).ask("x", options=calling('helper {"prompt": "what is it?"}'))
    assert answer.tool_calls[0]["result"] == "what is it?"
    assert [row["agent"] for row in hub.query("SELECT agent FROM requests ORDER BY created_at")] == [
        *("Boss", "helper", "Boss")
    ]


def test_child_that_ends_leaves_the_turn_of_its_parent_alone(env: Mapping[str, str]) -> None:
    script = """
import os, sys
from llmctl import Hub
hub = Hub()
running = hub.create_chat(model="echo").stream("one two three")
print(next(running), flush=True)
if os.fork() == 0:
    hub.close()
    os._exit(0)
os.wait()
print(*running, running.response.status)
"""
    done = subprocess.run([PYTHON, "-c", script], env={**env, "PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("one\n two  three completed\n", "")


def test_hub_inherited_by_a_fork_opens_its_own_connections(env: Mapping[str, str]) -> None:
    script = """
import os
from llmctl import Hub
hub = Hub()
chat = hub.create_chat(model="echo")
with hub.lent() as inherited:
    pass
if os.fork() == 0:
    with hub.lent() as own:
        assert own is not inherited
    for turn in range(20):
        hub.create_chat(model="echo").ask("child")
    os._exit(0)
for turn in range(20):
    chat.ask("parent")
assert os.wait()[1] == 0
print(hub.stats()["requests"])
"""
    done = subprocess.run([PYTHON, "-c", script], env={**env, "PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("40\n", "")


def test_ctrl_c_in_the_middle_of_an_answer_leaves_finished_rows(env: Mapping[str, str]) -> None:
    script = """
import os, signal, threading, time
from llmctl import Hub

def interrupt_after_first_word():
    with Hub() as other:
        while not other.query("SELECT 1 FROM stream_chunks"):
            time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)

with Hub() as hub:
    chat = hub.create_chat(model="echo")
    threading.Thread(target=interrupt_after_first_word).start()
    chat.ask("one two", options={"stall": 300, "after": 1})
"""
    done = subprocess.run([PYTHON, "-c", script], env={**env, "PYTHONPATH": ROOT}, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    with Hub(env=env) as hub:
        assert hub.query("SELECT status FROM jobs") == [{"status": "cancelled"}]
        assert hub.query("SELECT status, content FROM messages WHERE role = 'assistant'") == [
            {"status": "interrupted", "content": "one"}
        ]


def test_document_is_answered_without_a_stream(online: Hub, server: FakeServer) -> None:
    message = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    server.answer(json_reply(200, {"id": "1", "model": "fake-1", **message}))
    assert online.create_chat(model="openai:fake-1").ask("x", stream=False).content == "hi"
