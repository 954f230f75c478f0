"""After a failed turn everything that was shown is in the hub, and the conversation can continue."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.hub_file import HubFile, parse_text
from tests.fakes.openai_server import CUT, END, RESET, STALL, FakeServer, Reply, delta, event, page, refusal, stream
from tests.harness import LLMCTL, TIMEOUT_S, Llmctl, Result, build_env, wait_until

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
TEXT = "one two three four five six"


def held(words: int = 3) -> Reply:
    return stream(TEXT, hold=words)


def start_turn(llmctl: Llmctl, server: FakeServer, shown: str = "three", *words: str) -> Any:
    """Start a turn and wait until its answer has reached ``three``."""
    server.answer(held())
    running = llmctl.start("chat", *words, "count")
    running.wait_for_output(shown)
    return running


def assert_can_continue(llmctl: Llmctl, server: FakeServer, hub: HubFile, partial: str | None) -> None:
    """Continue without a prompt, then with one; the server sees the documented history and nothing empty."""
    server.release()
    seen = len(server.requests)
    again = llmctl("chat", "-c")
    assert (again.returncode, again.stdout) == (0, "echo: count\n"), again
    assert server.requests[seen].messages == [("user", "count")]
    more = llmctl("chat", "-c", "and on")
    assert (more.returncode, more.stdout) == (0, "echo: and on\n"), more
    history = [("user", "count"), ("assistant", "echo: count"), ("user", "and on")]
    assert server.requests[seen + 1].messages == history
    # The partial answer is no longer in the chat, but still in the thread.
    partials = [row for row in hub.messages if row["role"] == "assistant" and row["chat_id"] is None]
    assert [row["content"] for row in partials] == ([partial] if partial else [])
    assert hub.is_free()
    hub.assert_sound()


# --- killed ---------------------------------------------------------------------------------------------------------


def test_killed_turn_has_in_the_hub_what_was_shown(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    done = start_turn(llmctl, server).kill()
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    assert parse_text(hub.raw()).startswith(done.stdout)
    assert hub.messages_by_role == [("user", "completed", "count"), ("assistant", "pending", None)]
    hub.assert_sound()


def test_killed_turn_is_put_in_order_by_the_next(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    done = start_turn(llmctl, server).kill()
    server.release()
    after = llmctl("chat", "-c", "go on")
    assert (after.returncode, after.stdout) == (0, "echo: go on\n")
    user, partial, *_ = hub.messages
    assert partial["status"] == "interrupted"
    assert partial["content"].startswith(done.stdout)
    assert partial["chat_id"] == user["chat_id"]
    assert server.requests[-1].messages == [("user", "count"), ("assistant", partial["content"]), ("user", "go on")]
    states = hub.states()
    assert states == {
        "messages": ["completed", "interrupted", "completed", "completed"],
        "requests": ["interrupted", "completed"],
        "response_streams": ["interrupted", "completed"],
        "network_calls": ["error", "success"],
        "jobs": ["failed", "completed"],
    }
    assert hub.is_free()
    assert hub.value("SELECT count(*) FROM stream_chunks") == 0
    hub.assert_sound()


def test_killed_turn_is_answered_again_without_a_prompt(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    partial = start_turn(llmctl, server).kill().stdout
    assert_can_continue(llmctl, server, hub, partial)


def test_killed_before_the_first_byte_leaves_the_prompt(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream(TEXT, hold=0))
    running = llmctl.start("chat", "count")
    server.wait_for(1)
    assert running.kill().stdout == ""
    assert hub.messages_by_role == [("user", "completed", "count"), ("assistant", "pending", None)]
    assert_can_continue(llmctl, server, hub, None)
    assert hub.states()["requests"] == ["interrupted", "completed", "completed"]


def test_killed_turn_with_rollback_keeps_the_stream_and_no_message(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    start_turn(llmctl, server, "three", "--rollback").kill()
    assert_can_continue(llmctl, server, hub, None)
    streams = hub.rows("SELECT gunzip(coalesce(raw_output_gz, raw_output)) AS output FROM response_streams")
    assert "three" in streams[0]["output"]


# --- signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)
def test_signal_keeps_what_was_shown_and_kills(llmctl: Llmctl, server: FakeServer, hub: HubFile, signum: Any) -> None:
    done = start_turn(llmctl, server).kill(signum)
    assert done.returncode == -signum
    assert done.stderr == ""
    assert hub.messages_by_role == [
        ("user", "completed", "count"),
        ("assistant", "interrupted", done.stdout.rstrip("\n")),
    ]
    assert hub.states() == {
        "messages": ["completed", "interrupted"],
        "requests": ["interrupted"],
        "response_streams": ["interrupted"],
        "network_calls": ["error"],
        "jobs": ["cancelled"],
    }
    assert parse_text(hub.raw()).startswith(done.stdout)
    assert hub.is_free()
    assert_can_continue(llmctl, server, hub, "one two three")


def test_signal_before_the_first_word_leaves_no_empty_message(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream(TEXT, hold=0))
    running = llmctl.start("chat", "count")
    server.wait_for(1)
    done = running.kill(signal.SIGINT)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    assert hub.messages_by_role == [("user", "completed", "count")]
    assert hub.states()["requests"] == ["interrupted"]
    assert_can_continue(llmctl, server, hub, None)


def test_signals_that_come_together_end_the_process(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    running = start_turn(llmctl, server)
    for signum in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        running.process.send_signal(signum)
    done = running.wait()
    assert done.returncode in (-signal.SIGTERM, -signal.SIGINT)
    assert done.stderr == ""
    assert_can_continue(llmctl, server, hub, "one two three")


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc")
def test_signal_is_not_lost_to_a_thread_that_only_waits(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    running = start_turn(llmctl, server, "three", "--timeout", "60")
    others = [tid for tid in os.listdir(f"/proc/{running.pid}/task") if tid != str(running.pid)]
    assert len(others) == 2  # the heartbeat and the deadline
    for tid in others:
        with open(f"/proc/{running.pid}/task/{tid}/status") as file:
            blocked = int(next(line for line in file if line.startswith("SigBlk")).split()[1], 16)
        assert all(blocked >> (signum - 1) & 1 for signum in SIGNALS)
    running.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP], ids=lambda signum: signum.name)
def test_signal_that_the_parent_ignores_does_not_end_the_answer(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, signum: Any
) -> None:
    server.answer(held())
    running = llmctl.start("chat", "count", preexec_fn=lambda: signal.signal(signum, signal.SIG_IGN))
    running.wait_for_output("three")
    running.process.send_signal(signum)
    server.release()
    done = running.wait()
    assert (done.returncode, done.stdout) == (0, f"{TEXT}\n")


def test_nohup_outlives_its_terminal(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(held())
    process = subprocess.Popen(
        ["nohup", *LLMCTL, "chat", "count"],
        env=llmctl.env,
        cwd=llmctl.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    server.wait_for(1)
    process.send_signal(signal.SIGHUP)
    server.release()
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (0, f"{TEXT}\n".encode())


# --- closed pipe ----------------------------------------------------------------------------------------------------


def test_reader_that_leaves_is_a_death_by_sigpipe_and_the_text_is_kept(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    server.answer(stream(" ".join(["word"] * 4000)))
    done = llmctl.shell('llmctl chat count | head -c 20; echo "${PIPESTATUS[0]}" >&2')
    assert (done.stdout, done.stderr) == ("word word word word ", "141\n")
    assert hub.messages[-1]["status"] == "interrupted"
    assert hub.messages[-1]["content"].startswith(done.stdout)
    assert hub.states()["requests"] == ["interrupted"]
    assert hub.is_free()
    assert_can_continue(llmctl, server, hub, hub.messages[-1]["content"])


# --- the answer breaks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """A broken answer and the expected outcome."""

    name: str
    reply: Reply
    code: int
    reason: str | None
    out: str
    #: Status of the message (None: deleted), of the request and of the stream.
    message: str | None
    request: str


ERROR = event({"error": {"message": "the engine died", "type": "server_error", "code": 500}})
RATE = event({"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}})
NO_MONEY = event({"error": {"message": "no credits", "type": "insufficient_quota", "code": "insufficient_quota"}})
THREE = "one two three"
EVENTS = {"content-type": "text/event-stream"}
HALF = ("incomplete", "incomplete")
FAILED = ("incomplete", "failed")
GONE = (None, "failed")
BROKEN = [
    Broken("cut", stream(THREE, then=CUT), 12, "cut", THREE, *HALF),
    Broken("reset", stream(THREE, then=RESET), 12, "reset", THREE, *HALF),
    Broken("no end", stream(THREE, then=END), 12, "cut", THREE, *HALF),
    Broken("no end, unframed", stream(THREE, then=END, chunked=False), 12, "cut", THREE, *HALF),
    Broken("cut inside an event", stream(THREE, then=delta(" four")[:30]), 12, None, THREE, *HALF),
    Broken("length that lies", Reply(200, EVENTS, (delta("one"), CUT), length=5000), 12, "cut", "one", *HALF),
    Broken("garbage", stream(THREE, insert={2: b"data: {oh no\n\n"}), 12, "unreadable", THREE, *HALF),
    Broken("error event", stream(THREE, then=ERROR), 6, "server_error", THREE, *FAILED),
    Broken("rate limit event", stream(THREE, then=RATE), 6, "rate_limit", THREE, *FAILED),
    Broken("quota event", stream(THREE, then=NO_MONEY), 7, "quota", THREE, *FAILED),
    Broken("html", page(), 6, "not_json", "", *GONE),
    Broken("html event", Reply(200, EVENTS, page().steps), 6, "not_json", "", *GONE),
    Broken("nothing", Reply(200, EVENTS, length=0), 6, "empty", "", *GONE),
    Broken("cut at once", Reply(200, EVENTS, (CUT,), chunked=True), 6, "cut", "", *GONE),
    Broken("reset at once", Reply(200, EVENTS, (RESET,), chunked=True), 6, "reset", "", *GONE),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_broken_answer_is_stored_and_reported(llmctl: Llmctl, server: FakeServer, hub: HubFile, case: Any) -> None:
    server.answer(case.reply)
    done = llmctl("chat", "count", "--retries", "0")
    assert done.returncode == case.code, done
    assert done.stdout == (f"{case.out}\n" if case.out else "")
    assert done.stderr.startswith("llmctl: "), done.stderr
    assert done.stderr.count("\n") <= 2
    assert "Traceback" not in done.stderr
    assert [row["status"] for row in hub.messages] == ["completed", *([case.message] if case.message else [])]
    if case.message:
        assert hub.messages[-1]["content"] == case.out
        assert hub.messages[-1]["chat_id"] == hub.messages[0]["chat_id"]
    states = hub.states()
    assert (states["requests"], states["response_streams"], states["network_calls"], states["jobs"]) == (
        [case.request],
        [case.request],
        ["error"],
        ["failed"],
    )
    request = hub.one("SELECT * FROM requests")
    if case.reason:
        assert request["error_reason"] == case.reason, request
    assert request["error"]
    assert request["duration"] > 0
    assert hub.value("SELECT exit_code FROM jobs") == case.code
    assert hub.value("SELECT count(*) FROM stream_chunks") == 0
    assert hub.is_free()
    assert llmctl("chat", "-c").stdout == "echo: count\n"
    assert server.requests[1].messages == [("user", "count")]
    hub.assert_sound()


def test_empty_second_attempt_is_not_judged_by_the_events_of_the_first(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    role = event({"id": "x", "model": "fake-1", "choices": [{"index": 0, "delta": {"role": "assistant"}}]})
    server.answer(Reply(200, EVENTS, (role, END)), Reply(200, EVENTS, (b": ping\n\n", END)))
    done = llmctl("chat", "count", "--retries", "1")
    assert (done.returncode, done.stdout) == (6, ""), done
    assert "cut before its first event" in done.stderr
    assert hub.value("SELECT error_reason FROM requests") == "empty"
    assert hub.states()["network_calls"] == ["error", "error"]


def test_prompt_after_a_broken_answer_has_it_in_the_history(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream(THREE, then=CUT))
    assert llmctl("chat", "count").returncode == 12
    assert llmctl("chat", "-c", "go on").returncode == 0
    assert server.requests[-1].messages == [("user", "count"), ("assistant", THREE), ("user", "go on")]


def test_prompt_of_a_failed_turn_is_not_sent_with_the_next_one(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    server.answer(page())
    assert llmctl("chat", "count", "--retries", "0").returncode == 6
    assert llmctl("chat", "-c", "go on").returncode == 0
    assert server.requests[-1].messages == [("user", "go on")]


def test_rollback_removes_a_broken_answer_and_keeps_the_stream(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    server.answer(stream(THREE, then=CUT))
    assert llmctl("chat", "count", "--rollback").returncode == 12
    assert hub.messages_by_role == [("user", "completed", "count")]
    assert parse_text(hub.raw()) == THREE
    assert_can_continue(llmctl, server, hub, None)


def test_attempt_that_delivered_nothing_is_tried_again_and_each_is_a_row(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    server.answer(page(), Reply(200, {}, (RESET,)))
    done = llmctl("chat", "count")
    assert (done.returncode, done.stdout) == (0, "echo: count\n")
    calls = hub.rows("SELECT attempt, status, error IS NOT NULL AS has_error FROM network_calls ORDER BY rowid")
    assert [tuple(call.values()) for call in calls] == [(1, "error", 1), (2, "error", 1), (3, "success", 0)]
    assert hub.states()["requests"] == ["completed"]
    assert hub.value("SELECT content FROM messages WHERE role = 'assistant'") == "echo: count"


def test_attempt_that_delivered_something_is_not_tried_again(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream("one", then=CUT))
    assert llmctl("chat", "count").returncode == 12
    assert len(server.requests) == 1


# --- at any moment --------------------------------------------------------------------------------------------------

MOMENTS = 16


def kill_at_many_moments(home: str, template: str, signum: int, parts: range) -> None:
    """Kill a turn at moments spread over its whole duration, and check the hub after each."""
    hub = HubFile(f"{home}/{signum}-{parts.start}.db")
    shutil.copy2(template, hub.path)
    llmctl = Llmctl(build_env(home, LLMCTL_DB=hub.path), home)
    turn = ("chat", "-m", "echo", "-o", "delay=0.005", "--name", "x", "a few words that come one by one")
    started = time.monotonic()
    assert llmctl(*turn).returncode == 0
    whole = time.monotonic() - started
    for part in parts:
        running = llmctl.start(*turn)
        time.sleep(whole * 1.1 * part / parts.stop)
        assert_sound(hub, running.kill(signum), signum)
    assert llmctl(*turn).returncode == 0
    assert not {"pending", "running"} & {status for found in hub.states().values() for status in found}
    assert hub.is_free()
    hub.assert_sound()


def assert_sound(hub: HubFile, done: Result, signum: int) -> None:
    hub.assert_sound()
    assert done.stderr == ""
    assert done.returncode in (0, -signum)
    assert parse_text(hub.raw()).startswith(done.stdout.rstrip("\n")) or not done.stdout
    assert not hub.rows("SELECT 1 FROM messages WHERE status <> 'pending' AND content = ''")
    unfinished = hub.rows("SELECT j.status FROM messages m JOIN jobs j ON j.id = m.job_id WHERE m.status = 'pending'")
    assert len(unfinished) <= 1
    if done.returncode == 0 or signum != signal.SIGKILL:
        assert not unfinished
        assert "running" not in hub.states()["jobs"]
        assert hub.is_free()


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=lambda signum: signum.name)
def test_death_at_any_moment_leaves_a_sound_hub(home: str, template: str, signum: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        for ended in [
            pool.submit(kill_at_many_moments, home, template, signum, range(1 + half, MOMENTS + half))
            for half in (0, 1)
        ]:
            ended.result()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc")
def test_signal_while_another_program_holds_the_hub_is_handled_at_once(llmctl: Llmctl, hub: HubFile) -> None:
    """SQLite waits for a lock without letting Python handle signals: the wait must be split."""
    with closing(sqlite3.connect(hub.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        running = llmctl.start("chat", "-m", "echo", "hello")
        wait_until(lambda: is_waiting_for_the_hub(running.pid))
        running.process.send_signal(signal.SIGTERM)
        done = running.wait()
        other.execute("COMMIT")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", "")
    assert hub.messages_by_role == []
    assert hub.is_free()


def is_waiting_for_the_hub(pid: int) -> bool:
    """Return whether the process has opened the hub and is idle."""
    with suppress(OSError):
        opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        if any(path.endswith("-shm") for path in opened):
            before = spent(pid)
            time.sleep(0.3)
            return spent(pid) == before
    return False


def spent(pid: int) -> list[str]:
    """Return the CPU time of a process, in ticks of 10 ms."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[11:13]


# --- silence --------------------------------------------------------------------------------------------------------


def test_stream_that_stalls_ends_with_the_timeout_and_keeps_its_text(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    server.answer(stream("one two", then=STALL))
    done = llmctl("chat", "--timeout", "1", "count")
    assert (done.returncode, done.stdout) == (12, "one two\n")
    assert hub.messages_by_role[1] == ("assistant", "incomplete", "one two")
    assert hub.value("SELECT error_reason FROM requests") == "timeout"
    assert_can_continue(llmctl, server, hub, "one two")


def test_server_that_says_nothing_is_unavailable(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream("one", insert={0: STALL}))
    done = llmctl("chat", "--timeout", "1", "count")
    assert (done.returncode, done.stdout) == (6, "")
    assert hub.messages_by_role == [("user", "completed", "count")]
    assert_can_continue(llmctl, server, hub, None)


def test_refusal_says_how_long_to_wait_and_is_obeyed(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(refusal(429, "slow down", {"retry-after": "1"}))
    started = time.monotonic()
    done = llmctl("chat", "count")
    assert (done.returncode, done.stdout) == (0, "echo: count\n")
    assert time.monotonic() - started >= 1
    assert done.stderr.startswith("llmctl: slow down; retrying in 1"), done.stderr
    server.answer(refusal(429, "come back tomorrow", {"retry-after": "86400"}))
    assert llmctl("chat", "count").returncode == 6
    assert len(server.requests) == 3
