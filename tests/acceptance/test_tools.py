"""Tools across processes, crashes and concurrency: each call runs at most once, and its row says whether."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import STALL, FakeServer, Reply, ending, event, refusal, stream
from tests.harness import Llmctl, wait_until


def add(llmctl: Llmctl, name: str, script: str) -> None:
    done = llmctl("tool", "add", name, "--command", f"sh -c '{script}'", "--cwd", llmctl.cwd)
    assert done.returncode == 0, done.stderr


def calls(*names: str) -> tuple[str, str]:
    return "-o", "tool=" + "\n".join(names)


def runs(hub: HubFile) -> list[tuple[str, str]]:
    return [(row["name"], row["status"]) for row in hub.rows("SELECT * FROM tool_invocations ORDER BY rowid")]


def log_of(hub: HubFile, name: str) -> str:
    sql = (
        "SELECT t.text FROM tool_invocations i JOIN text_logs t ON i.text_log_id IN (t.id, t.series_id)"
        " WHERE i.name = ? ORDER BY t.position"
    )
    return "".join(row["text"] for row in hub.rows(sql, name))


@pytest.fixture
def slow(llmctl: Llmctl) -> Iterator[Path]:
    """A tool that reports its start and then runs for a long time; and the file it writes to."""
    add(llmctl, "slow", "echo $$ >> slow.pids; echo begun; sleep 6000; echo ended")
    pids = Path(llmctl.cwd) / "slow.pids"
    yield pids
    for pid in pids.read_text().split() if pids.exists() else ():
        with suppress(ProcessLookupError):
            os.killpg(int(pid), signal.SIGKILL)


def test_a_turn_across_four_processes(llmctl: Llmctl, hub: HubFile, slow: Path) -> None:
    add(llmctl, "quick", "echo x >> quick.ran; echo quick")
    first = llmctl("chat", "-m", "echo", "-T", "quick", "-T", "slow", *calls("quick", "slow"), "hello")
    assert (first.returncode, first.stdout) == (8, "")
    waiting = llmctl("tool", "pending", "--json").json
    assert [row["name"] for row in waiting] == ["quick", "slow"]
    assert llmctl("tool", "approve", *(row["id"][:8] for row in waiting)).returncode == 0
    third = llmctl.start("chat", "--chat", "last")
    wait_until(lambda: log_of(hub, "slow") == "begun\n" and runs(hub)[0] == ("quick", "completed"))
    third.kill()
    fourth = llmctl("chat", "--chat", "last", "--json")
    assert fourth.returncode == 0, fourth.stderr
    assert fourth.json["content"] == "hello"
    assert runs(hub) == [("quick", "completed"), ("slow", "failed")]
    assert (Path(llmctl.cwd) / "quick.ran").read_text() == "x\n"
    assert len(slow.read_text().split()) == 1
    assert log_of(hub, "slow") == "begun\n"
    (result,) = (row["content_raw"] for row in hub.messages if row["role"] == "tool" and "slow" in row["content_raw"])
    assert "whether it had an effect is not known" in result
    assert hub.is_free()
    hub.assert_sound()


def test_a_run_of_agents_across_four_processes(llmctl: Llmctl, hub: HubFile, slow: Path) -> None:
    """The sub-agent has the tools; its caller waits for all of them."""
    add(llmctl, "quick", "echo x >> quick.ran; echo quick")
    llmctl("agent", "create", "worker", "-m", "echo", "--tool", "quick", "--tool", "slow", *calls("quick", "slow"))
    asking = 'worker {"prompt": "do it"}'
    llmctl("agent", "create", "boss", "-m", "echo", "--agent", "worker", *calls(asking))
    first = llmctl("agent", "run", "boss", "hello")
    assert (first.returncode, first.stdout) == (8, "")
    waiting = llmctl("tool", "pending", "--json").json
    assert [(row["agent"], row["name"]) for row in waiting] == [("worker", "quick"), ("worker", "slow")]
    assert llmctl("tool", "approve", *(row["id"][:8] for row in waiting)).returncode == 0
    third = llmctl.start("agent", "run", "boss", "-c")
    wait_until(lambda: log_of(hub, "slow") == "begun\n" and ("quick", "completed") in runs(hub))
    third.kill()
    fourth = llmctl("agent", "run", "boss", "-c", "--json")
    assert fourth.returncode == 0, fourth.stderr
    assert fourth.json["content"] == "hello"
    assert runs(hub) == [("worker", "completed"), ("quick", "completed"), ("slow", "failed")]
    assert (Path(llmctl.cwd) / "quick.ran").read_text() == "x\n"
    assert len(slow.read_text().split()) == 1
    assert log_of(hub, "slow") == "begun\n"
    assert hub.is_free()
    assert not hub.rows("SELECT 1 FROM jobs WHERE status = 'running'")
    hub.assert_sound()


def test_ctrl_c_ends_the_agents_that_were_asked_too(llmctl: Llmctl, hub: HubFile, slow: Path) -> None:
    llmctl("agent", "create", "worker", "-m", "echo", "--tool", "slow:auto", *calls("slow"))
    llmctl("agent", "create", "boss", "-m", "echo", "--agent", "worker", *calls('worker {"prompt": "do it"}'))
    running = llmctl.start("agent", "run", "boss", "hello")
    wait_until(lambda: log_of(hub, "slow") == "begun\n")
    assert running.kill(signal.SIGINT).returncode == -signal.SIGINT
    assert runs(hub) == [("worker", "pending"), ("slow", "cancelled")]
    assert not hub.rows("SELECT 1 FROM jobs WHERE status = 'running'")
    assert hub.is_free()
    pid = int(slow.read_text())
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert llmctl("agent", "run", "boss", "-c").stdout == "hello\n"
    assert runs(hub) == [("worker", "completed"), ("slow", "cancelled")]


def test_ctrl_c_kills_an_agent_that_ignores_it(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    server.answer(Reply(200, {}, (STALL,)))
    llmctl("agent", "create", "worker", "-m", "fake")
    llmctl("agent", "create", "boss", "-m", "echo", "--agent", "worker", *calls('worker {"prompt": "do it"}'))
    running = llmctl.start("agent", "run", "boss", "hello")
    wait_until(lambda: len(server.requests) == 1)
    assert running.kill(signal.SIGINT).returncode == -signal.SIGINT
    assert not hub.rows("SELECT 1 FROM jobs WHERE status = 'running'")
    assert not hub.rows("SELECT 1 FROM requests WHERE status = 'pending'")
    server.answer(stream("done"))
    assert llmctl("agent", "run", "boss", "-c").stdout == "hello\n"
    assert runs(hub) == [("worker", "completed")]


def test_call_continued_by_two_processes_at_once_runs_once(llmctl: Llmctl, hub: HubFile) -> None:
    add(llmctl, "once", "echo x >> once.ran; sleep 0.3")
    llmctl("chat", "-m", "echo", "-T", "once", *calls("once"), "hello")
    invocation_id = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    approvals = [llmctl.start("tool", "approve", invocation_id, "--continue") for _ in range(3)]
    codes = sorted(approval.wait().returncode for approval in approvals)
    assert codes[0] == 0
    assert set(codes[1:]) <= {2, 9}
    assert (Path(llmctl.cwd) / "once.ran").read_text() == "x\n"
    assert runs(hub) == [("once", "completed")]


def test_approved_call_continued_twice_runs_once(llmctl: Llmctl, hub: HubFile) -> None:
    add(llmctl, "once", "echo x >> once.ran; sleep 0.3")
    llmctl("chat", "-m", "echo", "-T", "once", *calls("once"), "hello")
    llmctl("tool", "approve", llmctl("tool", "pending", "--columns", "id").stdout.strip())
    chats = [llmctl.start("chat", "--chat", "last", "--wait", "20") for _ in range(3)]
    codes = sorted(chat.wait().returncode for chat in chats)
    assert codes == [0, 2, 2]
    assert (Path(llmctl.cwd) / "once.ran").read_text() == "x\n"


def test_ctrl_c_ends_the_tool_and_says_so(llmctl: Llmctl, hub: HubFile, slow: Path) -> None:
    running = llmctl.start("chat", "-m", "echo", "-T", "slow:auto", *calls("slow"), "hello")
    wait_until(lambda: log_of(hub, "slow") == "begun\n")
    assert running.kill(signal.SIGINT).returncode == -signal.SIGINT
    row = hub.one("SELECT * FROM tool_invocations")
    assert (row["status"], row["error"]) == ("cancelled", "interrupted")
    pid = int(slow.read_text())
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert hub.is_free()
    assert llmctl("chat", "--chat", "last").stdout == "hello\n"
    assert runs(hub) == [("slow", "cancelled")]


def test_killed_manual_invocation_is_recovered(llmctl: Llmctl, hub: HubFile, slow: Path) -> None:
    running = llmctl.start("tool", "invoke", "slow")
    wait_until(lambda: log_of(hub, "slow") == "begun\n")
    running.kill()
    assert runs(hub) == [("slow", "running")]
    assert llmctl("job", "recover").returncode == 0
    assert runs(hub) == [("slow", "failed")]


@pytest.mark.slow
def test_a_thousand_instant_calls_lose_no_row(llmctl: Llmctl, hub: HubFile) -> None:
    done = llmctl(
        "chat",
        "-m",
        "echo",
        "-T",
        "time:auto",
        *calls(*["time"] * 500 + ["list_files"] * 500),
        "hello",
        "--json",
        "-T",
        "list_files:auto",
    )
    assert done.returncode == 0, done.stderr
    assert runs(hub) == [("time", "completed")] * 500 + [("list_files", "completed")] * 500
    rows = hub.rows(
        "SELECT i.id, m.source_id FROM tool_invocations i JOIN messages m ON m.source_id = i.id ORDER BY m.seq"
    )
    assert len(rows) == 1000
    assert [row["id"] for row in rows] == [
        row["id"] for row in hub.rows("SELECT id FROM tool_invocations ORDER BY rowid")
    ]
    assert not hub.rows("SELECT 1 FROM tool_invocations WHERE result IS NULL OR duration IS NULL")
    hub.assert_sound()


def test_four_tools_run_at_once(llmctl: Llmctl, hub: HubFile) -> None:
    """Each waits until all four have started."""
    add(llmctl, "meet", "touch met.$$; while [ $(ls met.* | wc -l) -lt 4 ]; do sleep 0.02; done")
    done = llmctl("chat", "-m", "echo", "-T", "meet:auto", *calls("meet", "meet", "meet", "meet"), "hello")
    assert done.returncode == 0, done.stderr
    assert runs(hub) == [("meet", "completed")] * 4


def calling(*wanted: dict[str, Any]) -> Reply:
    """Return a streamed answer that calls tools."""
    deltas = [
        event(
            {"id": "c", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": n, **call}]}}]}
        )
        for n, call in enumerate(wanted)
    ]
    finish = event(
        {"id": "c", "model": "fake-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    )
    steps = (*deltas, finish, *ending("x")[1:])
    return Reply(200, {"content-type": "text/event-stream"}, steps, chunked=True)


def call(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def test_a_failure_after_a_tool_keeps_what_was_done_and_paid(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    server.answer(calling(call("call_1", "time")), refusal(400, "no more"))
    done = llmctl("chat", "-T", "time:auto", "hello")
    assert done.returncode == 5
    assert runs(hub) == [("time", "completed")]
    requests = hub.rows("SELECT status, input_tokens FROM requests ORDER BY rowid")
    assert [(row["status"], row["input_tokens"]) for row in requests] == [("completed", 7), ("failed", None)]
    server.answer(stream("the end"))
    assert llmctl("chat", "--chat", "last").stdout == "the end\n"


def test_ids_that_a_provider_uses_again_keep_their_results(llmctl: Llmctl, hub: HubFile, server: FakeServer) -> None:
    add(llmctl, "late", "sleep 0.3; echo late")
    add(llmctl, "soon", "echo soon")
    server.answer(
        calling(call("call_0", "late"), call("call_0", "soon")), calling(call("call_0", "soon")), stream("ok")
    )
    done = llmctl("chat", "-T", "late:auto", "-T", "soon:auto", "hello")
    assert done.stdout == "ok\n", done.stderr
    found = hub.rows("SELECT tool_call_id, provider_call_id, result FROM tool_invocations ORDER BY rowid")
    assert [tuple(row.values()) for row in found] == [
        ("call_0", "call_0", "late"),
        ("call_0#2", "call_0", "soon"),
        ("call_0", "call_0", "soon"),
    ]
    sent = server.requests[2].json["messages"]
    assert [message["content"] for message in sent if message["role"] == "tool"] == ["late", "soon", "soon"]


def test_pending_calls_are_run_in_order_by_the_next_turn(llmctl: Llmctl, hub: HubFile) -> None:
    """A later call that ended first is reported after the earlier one that waited."""
    add(llmctl, "first", "echo first")
    add(llmctl, "second", "echo second")
    llmctl("chat", "-m", "echo", "-T", "first", "-T", "second:auto", *calls("first", "second"), "hello")
    assert [row["role"] for row in hub.messages] == ["user", "assistant"]
    llmctl("tool", "approve", llmctl("tool", "pending", "--columns", "id").stdout.strip(), "--continue")
    results = [json.loads(row["content_raw"])[0]["content"] for row in hub.messages if row["role"] == "tool"]
    assert results == ["first", "second"]


def test_cron_never_hangs_at_a_permission(llmctl: Llmctl, hub: HubFile) -> None:
    """Run without a controlling terminal, whatever stdin is."""
    for text in (None, "y\ny\n"):
        done = llmctl("chat", "-m", "echo", "-T", "time", *calls("time"), "hello", input=text, start_new_session=True)
        assert done.returncode == 8
    assert runs(hub) == [("time", "pending")] * 2
