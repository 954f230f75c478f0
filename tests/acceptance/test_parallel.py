"""Crowds: many processes on one hub, one chat, one name; and holders that died."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.acceptance.hubs import Hub
from tests.acceptance.processes import LLMCTL, Llmctl, wait_until
from tests.fakes.openai_server import stream

pytestmark = pytest.mark.slow


def crowd(llmctl: Llmctl, count: int, at_once: int, words: str) -> list[int]:
    """Run many processes with ``xargs``; ``{}`` is the number of each. Return their exit codes."""
    command = " ".join(LLMCTL)
    script = f"seq {count} | xargs -P {at_once} -I{{}} sh -c '{command} {words} >/dev/null 2>>err; echo $? >>codes'"
    done = llmctl.shell(script)
    with open(f"{llmctl.home}/codes") as file:
        codes = [int(line) for line in file]
    with open(f"{llmctl.home}/err") as file:
        assert Counter(codes) == {0: count}, (done, file.read()[-3000:])
    return codes


def assert_alternates(hub: Hub) -> None:
    """Every thread is question, answer, question, answer, and the answer fits."""
    threads: dict[str, list[tuple[str, str]]] = {}
    for row in hub.messages:
        assert row["status"] == "completed"
        threads.setdefault(row["thread_id"], []).append((row["role"], row["content"]))
    for said in threads.values():
        assert [role for role, _ in said] == ["user", "assistant"] * (len(said) // 2)
        assert [content for _, content in said[::2]] == [content for _, content in said[1::2]]


@pytest.mark.parametrize("begun", ["missing", "empty"])
def test_200_processes_on_a_hub_that_is_not_there_yet_all_succeed(bare, home, begun):
    count = 200 if begun == "missing" else 24
    hub = Hub(f"{home}/data/hub.db" if begun == "missing" else f"{home}/hub.db")
    if begun == "empty":
        open(hub.path, "w").close()
        os.chmod(hub.path, 0o640)
    crowd(bare.with_env(LLMCTL_DB=hub.path), count, 32, "chat -m echo hello {}")
    assert hub.value("SELECT count(*) FROM chats") == count
    assert hub.value("SELECT count(*) FROM messages WHERE status = 'completed'") == 2 * count
    assert hub.value("SELECT sum(requests) FROM usage_hourly") == count
    assert_alternates(hub)
    assert hub.is_free()
    hub.check()
    assert hub.beside() == []
    assert os.stat(hub.path).st_mode & 0o777 == (0o600 if begun == "missing" else 0o640)


def test_20_processes_that_wait_for_one_chat_never_interleave(bare, home):
    hub = Hub(f"{home}/hub.db")
    crowd(bare.with_env(LLMCTL_DB=hub.path), 20, 20, "chat -m echo --name x --wait 60 -o delay=0.002 say {} again")
    assert hub.value("SELECT count(*) FROM chats") == 1
    assert len(hub.messages) == 40
    assert_alternates(hub)
    hub.check()


def test_name_begun_by_many_at_once_is_one_chat(bare, home):
    hub = Hub(f"{home}/hub.db")
    llmctl = bare.with_env(LLMCTL_DB=hub.path)
    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda number: llmctl("chat", "-m", "echo", "--name", "X", f"{number}"), range(10)))
    codes = Counter(run.code for run in done)
    assert set(codes) <= {0, 9}, done
    assert hub.value("SELECT count(*) FROM chats") == 1
    assert len(hub.messages) == 2 * codes[0]
    assert_alternates(hub)


def test_second_process_on_a_chat_leaves_with_9_or_waits(llmctl, server, hub):
    server.answer(stream("one two", hold=1))
    first = llmctl.start("chat", "--name", "x", "count")
    first.until("one")
    second = llmctl("chat", "--name", "x", "me too")
    assert (second.code, second.out) == (9, "")
    assert second.err.startswith("llmctl: the conversation is in use by process "), second.err
    assert "--wait" in second.err
    assert str(first.pid) in second.err
    for words in (("-c",), ("--chat", "x"), ("--chat", "last")):
        assert llmctl("chat", *words, "me too").code == 9
    short = llmctl("chat", "--name", "x", "--wait", "0.3", "me too")
    assert short.code == 9
    third = llmctl.start("chat", "--name", "x", "--wait", "30", "and me")
    assert len(hub.messages) == 2
    server.release()
    assert (first.end().out, third.end().out) == ("one two\n", "echo: and me\n")
    assert [role for role, _, _ in hub.spoken] == ["user", "assistant"] * 2
    assert len(server.requests) == 2


def test_process_that_waits_can_be_interrupted(llmctl, server, hub):
    server.answer(stream("one two", hold=1))
    first = llmctl.start("chat", "--name", "x", "count")
    first.until("one")
    second = llmctl.start("chat", "--name", "x", "--wait", "30", "me too")
    wait_until(lambda: any(path.endswith("hub.db") for path in opened(second.pid)))
    time.sleep(0.2)
    done = second.kill(signal.SIGINT)
    assert (done.code, done.out, done.err) == (-signal.SIGINT, "", "")
    server.release()
    assert first.end().code == 0
    assert len(hub.messages) == 2


def opened(pid: int) -> list[str]:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def test_dead_holder_is_recovered_once_though_many_arrive_at_once(llmctl, server, hub):
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.until("one")
    holder.kill()
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda number: llmctl("chat", "--name", "x", "--wait", "30", f"{number}"), range(6)))
    assert [run.code for run in done] == [0] * 6, done
    assert [role for role, _, _ in hub.spoken] == ["user", "assistant"] * 7
    assert hub.spoken[1] == ("assistant", "interrupted", "one")
    assert Counter(hub.states()["jobs"]) == {"failed": 1, "completed": 6}
    assert Counter(hub.states()["requests"]) == {"interrupted": 1, "completed": 6}
    assert hub.value("SELECT sum(requests) FROM usage_hourly") == 7
    hub.check()


def test_stopped_holder_is_alive(llmctl, server, hub):
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.until("one")
    holder.process.send_signal(signal.SIGSTOP)
    assert llmctl("chat", "--name", "x", "me too").code == 9
    holder.process.send_signal(signal.SIGCONT)
    server.release()
    assert holder.end().code == 0


def test_reused_pid_is_not_taken_for_the_holder(llmctl, server, hub):
    """The job names this test's process, which lives, but began at another time."""
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.until("one")
    holder.kill()
    hub.rows("UPDATE jobs SET pid = ?", os.getpid())
    assert llmctl("chat", "--name", "x", "go on").code == 0
    assert hub.states()["jobs"] == ["failed", "completed"]


def test_holder_on_another_machine_is_trusted_until_its_lease_ends(llmctl, server, hub):
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.until("one")
    holder.kill()
    hub.rows("UPDATE jobs SET host = 'elsewhere/pid:[1]', lease_expires_at = '2999-01-01T00:00:00.000+00:00'")
    assert llmctl("chat", "--name", "x", "go on").code == 9
    hub.rows("UPDATE jobs SET lease_expires_at = '2001-01-01T00:00:00.000+00:00'")
    assert llmctl("chat", "--name", "x", "go on").code == 0
