"""A map that is killed, refused, slowed down or out of disk: no committed answer is lost or paid again."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Self

import pytest

from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import FakeServer, Reply, Request, document, json_reply, refusal
from tests.harness import Llmctl, Result, RunningProcess, query, require_success, wait_until

PROMPT = "row {{ n }}"


class RowServer(FakeServer):
    """Answers every row, counts how often each was asked, and can refuse or wait."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.delay_s = delay_s
        self.goal = 0
        self._counting = Lock()
        self._answers = _Always(self._answer)  # type: ignore[assignment]

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def is_at_goal(self) -> bool:
        return sum(self.asked.values()) >= self.goal

    def refuse(self, request: Request, prompt: str) -> Reply | None:
        """Return a refusal; None to answer."""
        return None

    def _answer(self, request: Request) -> Reply:
        if not request.body:  # of a client that was killed meanwhile
            return refusal(400)
        prompt = request.messages[-1][1]
        with self._counting:
            self.asked[prompt] += 1
            refused = self.refuse(request, prompt)
        if self.delay_s:
            time.sleep(self.delay_s)
        return refused or document(f"answer to {prompt}")


class _Always:
    """A queue that never ends."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def popleft(self) -> Any:
        return self._answer


def write_rows(path: Path, count: int) -> str:
    path.write_text("".join(f"{json.dumps({'n': number})}\n" for number in range(1, count + 1)))
    return str(path)


def connect(llmctl: Llmctl, server: FakeServer) -> None:
    require_success(llmctl("connection", "add", "host", "--base-url", server.url, "--model", "m"))
    llmctl.env["LLMCTL_MODEL"] = "host"


def read_output(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_complete(path: Path, count: int) -> None:
    rows = read_output(path)
    assert [row["position"] for row in rows] == list(range(1, count + 1))
    assert all(row["output"] == f"answer to row {row['position']}" for row in rows)
    assert not Path(f"{path}.partial").exists()


def assert_ledger_knows(llmctl: Llmctl, server: RowServer, count: int, most_twice: int) -> None:
    """What was asked twice is bounded, and the ledger has a request for everything the server saw."""
    hub = llmctl.env
    twice = sum(server.asked.values()) - count
    assert 0 <= twice <= most_twice
    (requests,) = query(hub, "SELECT count(*) FROM requests")[0]
    assert requests >= sum(server.asked.values())
    assert query(hub, "SELECT count(*) FROM requests WHERE status = 'completed'")[0][0] >= count
    assert query(hub, "SELECT count(*) FROM map_items WHERE status <> 'completed'") == [(0,)]
    assert query(hub, "SELECT count(*) FROM requests WHERE status = 'pending'") == [(0,)]
    answered_twice = query(
        hub,
        "SELECT count(*) FROM (SELECT 1 FROM messages WHERE role = 'assistant' AND status = 'completed'"
        " GROUP BY content HAVING count(*) > 1)",
    )
    assert answered_twice == [(0,)]  # no committed answer was asked for again


def has_got_far(server: RowServer, running: RunningProcess) -> bool:
    return server.is_at_goal or running.process.poll() is not None


def kill_and_resume(llmctl: Llmctl, server: RowServer, path: str, rows: int, kills: int, seed: int) -> None:
    """Kill a map at random numbers of requests, resume it each time, and check the outcome."""
    chance = random.Random(seed)
    output = Path(path).with_name("out.jsonl")
    words = ("map", path, PROMPT, "--output", str(output), "-P", "8", "--resume")
    killed = 0
    for _ in range(kills):
        running = llmctl.start(*words)
        server.goal = sum(server.asked.values()) + chance.randrange(1, rows // kills)
        wait_until(partial(has_got_far, server, running))
        time.sleep(chance.random() / 20)
        done = running.kill()
        killed += done.returncode == -signal.SIGKILL
        if done.returncode == 0:
            break
    assert killed, (done, server.asked.total(), server.goal)
    require_success(llmctl(*words))
    assert_complete(output, rows)
    assert_ledger_knows(llmctl, server, rows, killed * (8 + 200))


def test_killed_map_resumes(llmctl: Llmctl, hub: HubFile, tmp_path: Path) -> None:
    with RowServer(delay_s=0.02) as server:
        connect(llmctl, server)
        kill_and_resume(llmctl, server, write_rows(tmp_path / "in.jsonl", 120), 120, 2, seed=1)
    hub.assert_sound()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment(llmctl: Llmctl, hub: HubFile, tmp_path: Path, seed: int) -> None:
    with RowServer() as server:
        connect(llmctl, server)
        kill_and_resume(llmctl, server, write_rows(tmp_path / "in.jsonl", 2000), 2000, 25, seed)
    hub.assert_sound()


@pytest.mark.parametrize("signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopped_map_keeps_what_was_answered(llmctl: Llmctl, tmp_path: Path, signum: int) -> None:
    with RowServer(delay_s=0.05) as server:
        connect(llmctl, server)
        output, path = tmp_path / "out.jsonl", write_rows(tmp_path / "in.jsonl", 60)
        words = ("map", path, PROMPT, "--output", str(output), "-P", "4")
        running = llmctl.start(*words)
        server.wait_for(20)
        done = running.kill(signum)
        assert done.returncode == -signum
        assert "stopped; go on: llmctl map --resume=" in done.stderr
        assert not output.exists()
        assert query(llmctl.env, "SELECT status FROM jobs WHERE type = 'map'") == [("cancelled",)]
        assert query(llmctl.env, "SELECT count(*) FROM requests WHERE status = 'pending'") == [(0,)]
        asked = sum(server.asked.values())
        answered = query(llmctl.env, "SELECT count(*) FROM map_items WHERE status = 'completed'")[0][0]
        assert answered == asked  # what was under way was waited for
        require_success(llmctl(*words, "--resume"))
        assert_complete(output, 60)
        assert sum(server.asked.values()) == 60


def test_two_resumes_at_once(llmctl: Llmctl, tmp_path: Path) -> None:
    with RowServer(delay_s=0.05) as server:
        connect(llmctl, server)
        output, path = tmp_path / "out.jsonl", write_rows(tmp_path / "in.jsonl", 40)
        words = ("map", path, PROMPT, "--output", str(output), "-P", "2", "--resume")
        running = llmctl.start(*words)
        server.wait_for(5)
        second = llmctl(*words)
        assert second.returncode == 9
        assert "is running: process" in second.stderr
        assert running.wait().returncode == 0
        assert_complete(output, 40)
        assert sum(server.asked.values()) == 40


class StormServer(RowServer):
    """Allows so many requests in each hundredth of a second, and refuses the others with 429."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self._headers = headers
        self.refused = 0
        self._window = 0
        self._left = 0

    def refuse(self, request: Request, prompt: str) -> Reply | None:
        window = int(time.monotonic() * 5)
        if window != self._window:
            self._window, self._left = window, 4
        self._left -= 1
        if self._left >= 0:
            return None
        self.refused += 1
        self.asked[prompt] -= 1
        return refusal(429, "slow down", self._headers, code="rate_limit_exceeded")


@pytest.mark.parametrize(
    "headers", [{"retry-after-ms": "200"}, pytest.param({}, marks=pytest.mark.slow)], ids=["retry-after", "none"]
)
def test_rate_limits_fail_no_row(llmctl: Llmctl, tmp_path: Path, headers: dict[str, str]) -> None:
    """Everybody waits, and fewer ask: each row is refused a few times at most."""
    with StormServer(headers) as server:
        connect(llmctl, server)
        output, path = tmp_path / "out.jsonl", write_rows(tmp_path / "in.jsonl", 24)
        require_success(llmctl("map", path, PROMPT, "--output", str(output)))
        assert_complete(output, 24)
        assert 0 < server.refused <= 48


def test_some_errors_fail_some_rows(llmctl: Llmctl, tmp_path: Path) -> None:
    class Faulty(RowServer):
        def refuse(self, request: Request, prompt: str) -> Reply | None:
            number = int(prompt.split()[1])
            if number % 20 == 0:
                return refusal(500, "broken")
            return json_reply(200, {"error": {"message": "no", "code": "bad"}}) if number % 20 == 10 else None

    with Faulty() as server:
        connect(llmctl, server)
        output, errors = tmp_path / "out.jsonl", tmp_path / "err.jsonl"
        path = write_rows(tmp_path / "in.jsonl", 60)
        done = llmctl("map", path, PROMPT, "--output", str(output), "--errors", str(errors), "--retries", "0")
        assert done.returncode == 14
        rows, failed = read_output(output), read_output(errors)
        assert [row["position"] for row in rows] == list(range(1, 61))
        assert [row["position"] for row in failed] == [10, 20, 30, 40, 50, 60]
        assert "6 of 60 rows failed" in done.stderr
        job = llmctl("job", "list", "--type", "map", "--json").json[0]
        assert (job["status"], job["exit_code"], job["result"]["failed"]) == ("completed", 14, 6)
        server.refuse = lambda request, prompt: None  # type: ignore[method-assign]
        asked = sum(server.asked.values())
        require_success(llmctl("map", f"--retry-failed={job['id'][:8]}"))
        assert sum(server.asked.values()) == asked + 6
        assert_complete(output, 60)
        assert read_output(errors) == []


@pytest.mark.slow
def test_host_that_is_down_ends_the_job(llmctl: Llmctl, tmp_path: Path) -> None:
    server = RowServer()
    server._listener.close()  # before anybody accepts
    connect(llmctl, server)
    path = write_rows(tmp_path / "in.jsonl", 1000)
    done = llmctl("map", path, PROMPT, "-P", "4", "--retries", "0")
    assert done.returncode == 6
    assert query(llmctl.env, "SELECT count(*) FROM requests")[0][0] < 300
    assert query(llmctl.env, "SELECT DISTINCT status FROM map_items") == [("pending",)]


def test_full_disk_keeps_what_was_sent(llmctl: Llmctl, tmp_path: Path) -> None:
    """The hub refuses rows in the middle: exit 13, the answers are spooled, and the next run asks none again."""
    with RowServer(delay_s=0.02) as server:
        connect(llmctl, server)
        output, path = tmp_path / "out.jsonl", write_rows(tmp_path / "in.jsonl", 100)
        words = ("map", path, PROMPT, "--output", str(output), "-P", "4", "--resume")
        running = llmctl.start(*words)
        server.wait_for(30)
        with closing(sqlite3.connect(llmctl.env["LLMCTL_DB"], isolation_level=None, timeout=30)) as other:
            other.execute("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'full'); END")
            done = running.wait()
            other.execute("DROP TRIGGER full")
        assert done.returncode == 13, done.stderr
        assert "the next run adds them to the hub" in done.stderr
        assert not output.exists()
        require_success(llmctl(*words))
        assert_complete(output, 100)
        assert max(server.asked.values()) == 1


@pytest.mark.slow
def test_locked_hub_is_waited_for(llmctl: Llmctl, tmp_path: Path) -> None:
    with RowServer(delay_s=0.01) as server:
        connect(llmctl, server)
        output, path = tmp_path / "out.jsonl", write_rows(tmp_path / "in.jsonl", 60)
        running = llmctl.start("map", path, PROMPT, "--output", str(output), "-P", "4")
        server.wait_for(10)
        with closing(sqlite3.connect(llmctl.env["LLMCTL_DB"], isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.5)
            other.execute("COMMIT")
        assert running.wait().returncode == 0
        assert_complete(output, 60)


@pytest.fixture
def capped(llmctl: Llmctl, tmp_path: Path) -> Iterator[RowServer]:
    with RowServer() as server:
        connect(llmctl, server)
        rates = ("--set", "input=0", "--set", "output=1000")
        require_success(llmctl("model", "price", "host:m", *rates))
        yield server


def run_capped(llmctl: Llmctl, path: str, output: Path, *words: str) -> Result:
    return llmctl("map", path, PROMPT, "--output", str(output), "-o", "max_tokens=10", *words)


def test_cap_stops_and_resumes(llmctl: Llmctl, capped: RowServer, tmp_path: Path) -> None:
    """A row may cost 1 cent: before each, spent and reserved must fit."""
    output, path = tmp_path / "out.jsonl", write_rows(tmp_path / "in.jsonl", 30)
    done = run_capped(llmctl, path, output, "--max-cost", "0.10")
    assert done.returncode == 7, done.stderr
    assert "--max-cost" in done.stderr
    spent = query(llmctl.env, "SELECT sum(cost) FROM requests")[0][0]
    assert 0.09 <= spent <= 0.10
    assert not output.exists()
    require_success(run_capped(llmctl, path, output, "--resume", "--max-cost", "1"))
    assert_complete(output, 30)


@pytest.mark.slow
def test_cap_holds_for_many_processes(llmctl: Llmctl, capped: RowServer, tmp_path: Path) -> None:
    require_success(llmctl("settings", "set", "budget.day", "0.5"))

    def run(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        return run_capped(llmctl, write_rows(folder / "in.jsonl", 20), folder / "out.jsonl", "-P", "4").returncode

    with ThreadPoolExecutor(20) as threads:
        codes = Counter(threads.map(run, range(20)))
    assert codes.keys() <= {0, 7}
    assert query(llmctl.env, "SELECT sum(cost) FROM requests")[0][0] <= 0.5 + 1e-9
    assert query(llmctl.env, "SELECT coalesce(sum(reserved_cost), 0) FROM requests WHERE status = 'pending'") == [(0,)]
    assert os.path.exists(llmctl.env["LLMCTL_DB"])
