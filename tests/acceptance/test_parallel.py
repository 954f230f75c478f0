"""Concurrency: many processes on one hub, one chat, one name; and locks of dead processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Event

import pytest

from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import FakeServer, stream
from tests.harness import LLMCTL, PYTHON, TIMEOUT_S, Llmctl, wait_until


def crowd(llmctl: Llmctl, count: int, at_once: int, words: str) -> list[int]:
    """Run many processes with ``xargs``; ``{}`` is the number of each. Return their exit codes."""
    command = " ".join(LLMCTL)
    script = f"seq {count} | xargs -P {at_once} -I{{}} sh -c '{command} {words} >/dev/null 2>>err; echo $? >>codes'"
    done = llmctl.shell(script, timeout=10 * TIMEOUT_S)
    with open(f"{llmctl.cwd}/codes") as file:
        codes = [int(line) for line in file]
    with open(f"{llmctl.cwd}/err") as file:
        assert Counter(codes) == {0: count}, (done, file.read()[-3000:])
    return codes


def assert_alternates(hub: HubFile) -> None:
    """Assert that every thread alternates between questions and their answers."""
    threads: dict[str, list[tuple[str, str]]] = {}
    for row in hub.messages:
        assert row["status"] == "completed"
        threads.setdefault(row["thread_id"], []).append((row["role"], row["content"]))
    for messages in threads.values():
        assert [role for role, _ in messages] == ["user", "assistant"] * (len(messages) // 2)
        assert [content for _, content in messages[::2]] == [content for _, content in messages[1::2]]


@pytest.mark.slow
@pytest.mark.parametrize("hub_state", ["missing", "empty"])
def test_200_processes_on_a_hub_that_is_not_there_yet_all_succeed(
    llmctl_without_hub: Llmctl, home: str, hub_state: str
) -> None:
    count = 200 if hub_state == "missing" else 24
    hub = HubFile(f"{home}/data/hub.db" if hub_state == "missing" else f"{home}/hub.db")
    if hub_state == "empty":
        open(hub.path, "w").close()
        os.chmod(hub.path, 0o640)
    crowd(llmctl_without_hub.with_env(LLMCTL_DB=hub.path), count, 32, "chat -m echo hello {}")
    assert hub.value("SELECT count(*) FROM chats") == count
    assert hub.value("SELECT count(*) FROM messages WHERE status = 'completed'") == 2 * count
    assert hub.value("SELECT sum(requests) FROM usage_hourly") == count
    assert_alternates(hub)
    assert hub.is_free()
    hub.assert_sound()
    assert hub.list_side_files() == []
    assert os.stat(hub.path).st_mode & 0o777 == (0o600 if hub_state == "missing" else 0o640)


@pytest.mark.slow
def test_300_first_runs_at_once_on_a_machine_that_is_busy_all_succeed(llmctl_without_hub: Llmctl, home: str) -> None:
    """Both cores are kept busy by something else, and every process is started before the first one ends."""
    hub = HubFile(f"{home}/hub.db")
    llmctl = llmctl_without_hub.with_env(LLMCTL_DB=hub.path)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(llmctl.start("-c", "while True: pass", command=[PYTHON]))
        runs = [llmctl.start("chat", "-m", "echo", f"question {number}") for number in range(300)]
        done = [run.wait() for run in runs]
    failed = [(run.returncode, run.stderr) for run in done if run.returncode]
    assert not failed, (len(failed), failed[0])
    assert [run.stdout for run in done] == [f"question {number}\n" for number in range(300)]
    for table, expected in (("messages", 600), ("requests", 300), ("jobs", 300)):
        assert hub.value(f"SELECT count(*) FROM {table}") == expected
        assert hub.value(f"SELECT count(*) FROM {table} WHERE status = 'completed'") == expected
    assert hub.value("SELECT sum(requests) FROM usage_hourly") == 300
    assert_alternates(hub)
    assert hub.is_free()
    hub.assert_sound()
    assert hub.list_side_files() == []


@pytest.mark.slow
def test_turns_beside_a_vacuum_all_succeed(llmctl_without_hub: Llmctl, home: str) -> None:
    """What a vacuum changes about the schema was taken for "no such table" by one turn in ten."""
    hub = HubFile(f"{home}/hub.db")
    llmctl = llmctl_without_hub.with_env(LLMCTL_DB=hub.path)
    assert llmctl("chat", "-m", "echo", "first").returncode == 0
    turns_end = Event()

    def vacuum() -> set[int]:
        codes = set()
        while not turns_end.is_set():
            codes.add(llmctl("db", "vacuum").returncode)
        return codes

    with ThreadPoolExecutor(3) as vacuums, ThreadPoolExecutor(24) as turns:
        codes = [vacuums.submit(vacuum) for _ in range(3)]
        words = ("chat", "-m", "echo", "-o", "delay=0.05", "one two three four five six")
        done = list(turns.map(lambda _: llmctl(*words), range(150)))
        turns_end.set()
    assert [run.stderr for run in done if run.returncode] == []
    assert set().union(*(code.result() for code in codes)) <= {0, 9}  # 9: somebody reads
    assert hub.value("SELECT count(*) FROM messages WHERE status = 'completed'") == 302
    hub.assert_sound()


@pytest.mark.slow
def test_20_processes_that_wait_for_one_chat_never_interleave(llmctl_without_hub: Llmctl, home: str) -> None:
    hub = HubFile(f"{home}/hub.db")
    crowd(
        llmctl_without_hub.with_env(LLMCTL_DB=hub.path),
        20,
        20,
        "chat -m echo --name x --wait 300 -o delay=0.002 say {} again",
    )
    assert hub.value("SELECT count(*) FROM chats") == 1
    assert len(hub.messages) == 40
    assert_alternates(hub)
    hub.assert_sound()


def test_chat_name_used_by_many_processes_at_once_is_one_chat(llmctl_without_hub: Llmctl, home: str) -> None:
    hub = HubFile(f"{home}/hub.db")
    llmctl = llmctl_without_hub.with_env(LLMCTL_DB=hub.path)
    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda number: llmctl("chat", "-m", "echo", "--name", "X", f"{number}"), range(10)))
    codes = Counter(run.returncode for run in done)
    assert set(codes) <= {0, 9}, done
    assert hub.value("SELECT count(*) FROM chats") == 1
    assert len(hub.messages) == 2 * codes[0]
    assert_alternates(hub)


def test_second_process_on_a_chat_leaves_with_9_or_waits(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream("one two", hold=1))
    first = llmctl.start("chat", "--name", "x", "count")
    first.wait_for_output("one")
    second = llmctl("chat", "--name", "x", "me too")
    assert (second.returncode, second.stdout) == (9, "")
    assert second.stderr.startswith("llmctl: the conversation is in use by process "), second.stderr
    assert "--wait" in second.stderr
    assert str(first.pid) in second.stderr
    for words in (("-c",), ("--chat", "x"), ("--chat", "last")):
        assert llmctl("chat", *words, "me too").returncode == 9
    short = llmctl("chat", "--name", "x", "--wait", "0.3", "me too")
    assert short.returncode == 9
    third = llmctl.start("chat", "--name", "x", "--wait", "300", "and me")
    assert len(hub.messages) == 2
    server.release()
    assert (first.wait().stdout, third.wait().stdout) == ("one two\n", "echo: and me\n")
    assert [role for role, _, _ in hub.messages_by_role] == ["user", "assistant"] * 2
    assert len(server.requests) == 2


def test_process_that_waits_can_be_interrupted(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream("one two", hold=1))
    first = llmctl.start("chat", "--name", "x", "count")
    first.wait_for_output("one")
    second = llmctl.start("chat", "--name", "x", "--wait", "300", "me too")
    wait_until(lambda: any(path.endswith("hub.db") for path in opened(second.pid)))
    done = second.kill(signal.SIGINT)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    server.release()
    assert first.wait().returncode == 0
    assert len(hub.messages) == 2


def opened(pid: int) -> list[str]:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed in the meantime
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def test_dead_holder_is_recovered_once_though_many_arrive_at_once(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.wait_for_output("one")
    holder.kill()
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda number: llmctl("chat", "--name", "x", "--wait", "300", f"{number}"), range(6)))
    assert [run.returncode for run in done] == [0] * 6, done
    assert [role for role, _, _ in hub.messages_by_role] == ["user", "assistant"] * 7
    assert hub.messages_by_role[1] == ("assistant", "interrupted", "one")
    assert Counter(hub.states()["jobs"]) == {"failed": 1, "completed": 6}
    assert Counter(hub.states()["requests"]) == {"interrupted": 1, "completed": 6}
    assert hub.value("SELECT sum(requests) FROM usage_hourly") == 7
    hub.assert_sound()


def test_stopped_holder_is_alive(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.wait_for_output("one")
    holder.process.send_signal(signal.SIGSTOP)
    assert llmctl("chat", "--name", "x", "me too").returncode == 9
    holder.process.send_signal(signal.SIGCONT)
    server.release()
    assert holder.wait().returncode == 0


def test_reused_pid_is_not_taken_for_the_holder(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    """The job names this test's process, which is alive, but has another start time."""
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.wait_for_output("one")
    holder.kill()
    hub.rows("UPDATE jobs SET pid = ?", os.getpid())
    assert llmctl("chat", "--name", "x", "go on").returncode == 0
    assert hub.states()["jobs"] == ["failed", "completed"]


def test_holder_on_another_machine_is_trusted_until_its_lease_ends(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    server.answer(stream("one two", hold=1))
    holder = llmctl.start("chat", "--name", "x", "count")
    holder.wait_for_output("one")
    holder.kill()
    hub.rows("UPDATE jobs SET host = 'elsewhere/pid:[1]', lease_expires_at = '2999-01-01T00:00:00.000+00:00'")
    assert llmctl("chat", "--name", "x", "go on").returncode == 9
    hub.rows("UPDATE jobs SET lease_expires_at = '2001-01-01T00:00:00.000+00:00'")
    assert llmctl("chat", "--name", "x", "go on").returncode == 0
