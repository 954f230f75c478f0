"""``llmctl job run|wait|cancel|retry`` and ``--detach``: commands with a row, a log and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.harness import LLMCTL, TIMEOUT_S, Llmctl

SLEEPER = "import time, sys; print('up', flush=True); time.sleep(6000)"


def jobs(llmctl: Llmctl, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(llmctl("job", "list", "--json", *arguments).stdout)
    return found


def until(condition: Callable[[], Any]) -> Any:
    """Return what a condition comes to; something of another process's making is waited for."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("never came")


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def background(env: Mapping[str, str]) -> Any:
    """Start llmctl in the background; what is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        started.append(subprocess.Popen([*LLMCTL, *arguments], env=dict(env), stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_command_passes_output_and_exit_status_on_and_leaves_a_log(llmctl: Llmctl) -> None:
    done = llmctl(
        "job", "run", "--name", "build", "--", "sh", "-c", "cat; echo out; echo err >&2; exit 7", input="in\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "in\nout\n", "err\n")
    (job,) = jobs(llmctl)
    assert (job["name"], job["type"], job["status"], job["exit_code"]) == ("build", "command", "failed", 7)
    assert sorted(llmctl("job", "log", job["id"]).stdout.split()) == ["err", "in", "out"]


def test_command_that_cannot_be_started_is_a_failed_job(llmctl: Llmctl) -> None:
    assert llmctl("job", "run", "--", "no-such-program").returncode == 3
    assert jobs(llmctl)[0]["error"] == 'no program "no-such-program"'


def test_key_on_the_command_line_is_not_kept(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    key = "sk-proj-" + "a1B2" * 10
    llmctl("job", "run", "--", "true", f"--key={key}", check=True)
    assert key not in json.dumps(jobs(llmctl))


def test_once_a_day_is_once_and_a_failure_does_not_count(llmctl: Llmctl) -> None:
    for command, code in (("false", 1), ("true", 0)):
        assert llmctl("job", "run", "--name", "n", "--once-per", "day", "--", command).returncode == code
    skipped = llmctl("job", "run", "--name", "n", "--once-per", "day", "--", "false")
    assert skipped.returncode == 0
    assert 'skipped: "n" already succeeded today' in skipped.stderr
    assert llmctl("job", "run", "--name", "other", "--once-per", "day", "--", "false").returncode == 1
    assert llmctl("job", "run", "--once-per", "fortnight", "--", "true").returncode == 2


def test_running_one_is_not_started_twice_even_if_its_llmctl_was_killed(llmctl: Llmctl, background: Any) -> None:
    first = background("job", "run", "--name", "n", "--", sys.executable, "-c", SLEEPER)
    assert first.stdout.readline() == "up\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    skipped = llmctl("job", "run", "--name", "n", "--skip-if-running", "--", "false")
    assert (skipped.returncode, 'skipped: "n" is running since' in skipped.stderr) == (0, True)
    assert llmctl("job", "recover", "--json").stdout.strip() == "[]"
    assert llmctl("job", "cancel", jobs(llmctl)[0]["id"]).returncode == 0
    assert jobs(llmctl)[0]["status"] == "failed"
    assert llmctl("job", "run", "--name", "n", "--skip-if-running", "--", "true").returncode == 0


def test_time_out_stops_the_command_and_all_it_started(llmctl: Llmctl, tmp_path: Any) -> None:
    mark = tmp_path / "mark"
    script = f"trap 'echo asked; exit 0' TERM; (sleep 6000; touch {mark}) & wait"
    for seconds in ("0.3", "3", "30"):  # a busy machine may need a while to start the shell
        done = llmctl("job", "run", "--timeout", seconds, "--", "sh", "-c", script)
        if done.stdout:
            break
    assert (done.returncode, done.stdout) == (6, "asked\n")
    assert f"{seconds} s" in jobs(llmctl)[0]["error"]


def test_signal_is_forwarded_to_the_command_and_the_job_is_cancelled(llmctl: Llmctl, background: Any) -> None:
    script = "trap 'echo heard; exit 0' INT; echo up; while :; do sleep 0.05; done"
    process = background("job", "run", "--", "sh", "-c", script)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (-signal.SIGINT, "heard\n")
    assert jobs(llmctl)[0]["status"] == "cancelled"


def test_detached_turn_is_waited_for_by_another_process(llmctl: Llmctl) -> None:
    done = llmctl("chat", "-m", "echo", "--detach", "--name", "later", "some words", input="and more")
    job_id = done.stdout.strip()
    assert len(job_id) == 36
    waited = llmctl("job", "wait", job_id, "--json")
    assert (waited.returncode, json.loads(waited.stdout)["status"]) == (0, "completed")
    assert llmctl("job", "log", job_id).stdout == "some words\n\nand more\n"
    turn = next(job for job in jobs(llmctl, "--type", "turn"))
    assert turn["parent_id"] == job_id
    assert "some words" in llmctl("chats", "show", "later").stdout


def test_detached_turn_is_counted_under_the_script_that_asked(
    llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path
) -> None:
    nightly = tmp_path / "nightly.sh"
    chat = f"{sys.executable} -m llmctl chat -m echo hi --no-stdin"
    nightly.write_text(f"{chat} &&\n{chat} --detach\n")
    done = subprocess.run(["sh", str(nightly)], env=env, capture_output=True, text=True, check=True)
    llmctl("job", "wait", done.stdout.split()[-1], check=True)
    rows = json.loads(llmctl("stats", "--group-by", "script", "--json", check=True).stdout)["groups"]
    assert [(row["script"], row["requests"]) for row in rows] == [(str(nightly), 2)]


def test_argument_that_looks_like_a_flag_is_passed_on(llmctl: Llmctl) -> None:
    job = llmctl("chat", "-m", "echo", "--detach", "--", "what", "is", "--detach").stdout.strip()
    llmctl("job", "wait", job, check=True)
    assert "what is --detach\n" in llmctl("job", "log", job).stdout


def test_exit_code_of_a_detached_turn_is_that_of_the_turn(llmctl: Llmctl) -> None:
    job_id = llmctl("chat", "-m", "echo", "--detach", "-o", "cut=1", "one two").stdout.strip()
    assert llmctl("job", "wait", job_id).returncode == 12


def test_deleted_chat_leaves_nothing_in_the_job_that_ran_it(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    secret = "pomegranate juice"
    job_id = llmctl("chat", "-m", "echo", "--detach", "--name", "later", secret).stdout.strip()
    llmctl("job", "wait", job_id, check=True)
    llmctl("chats", "delete", "later", "--yes", check=True)
    with open(env["LLMCTL_DB"], "rb") as file:
        assert secret.encode() not in file.read()


def test_wait_that_times_out_is_pending_and_cancelled_jobs_are_reported(llmctl: Llmctl) -> None:
    job_id = llmctl("job", "run", "--detach", "--", sys.executable, "-c", SLEEPER).stdout.strip()
    assert llmctl("job", "wait", job_id, "--timeout", "0.1").returncode == 8
    until(lambda: "up" in llmctl("job", "log", job_id).stdout)
    assert llmctl("job", "cancel", job_id).returncode == 0
    assert llmctl("job", "wait", job_id).returncode == 1
    assert llmctl("job", "cancel", job_id).returncode == 2
    pid = jobs(llmctl)[0]["pid"]
    until(lambda: not lives(pid))


def test_retried_command_is_a_further_attempt(llmctl: Llmctl) -> None:
    llmctl("job", "run", "--name", "n", "--", "false")
    first = jobs(llmctl)[0]
    assert llmctl("job", "retry", first["id"]).returncode == 1
    again = jobs(llmctl)[0]
    assert (again["attempts"], again["parent_id"]) == (2, first["id"])


def test_retried_turn_continues_its_chat(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "c", "-o", "fail=503", "--retries", "0", "hello")
    llmctl("chats", "edit", "c", "-o", "fail=null", check=True)
    done = llmctl("job", "retry", jobs(llmctl, "--status", "failed")[0]["id"])
    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_names_show_their_last_success(llmctl: Llmctl) -> None:
    for command in ("true", "false"):
        llmctl("job", "run", "--name", "n", "--", command)
    (row,) = jobs(llmctl, "--by-name")
    assert (row["name"], row["runs"], row["failed"], row["last_status"]) == ("n", 2, 1, "failed")
    assert row["last_success_at"] < row["last_at"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["job", "run"],
        ["job", "run", "--timeout", "0", "--", "true"],
        ["chat", "-m", "echo", "--detach", "--no-log", "hi"],
        ["chat", "-m", "echo", "--detach", "-i", "hi"],
    ],
)
def test_invalid_arguments_are_usage_errors(llmctl: Llmctl, arguments: list[str]) -> None:
    assert llmctl(*arguments).returncode == 2


def test_command_runs_in_a_deleted_folder(llmctl: Llmctl, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'rmdir "$PWD"; exec {sys.executable} -P -m llmctl job run -- echo ran'
    done = llmctl("job", "run", "--shell", "--", script, cwd=gone)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr


def test_program_whose_name_is_no_text_is_not_found(llmctl: Llmctl) -> None:
    done = llmctl("job", "run", "--", os.fsdecode(b"caf\xe9"))
    assert (done.returncode, "no program" in done.stderr) == (3, True)
    assert jobs(llmctl)[0]["name"] == "caf\ufffd"


def test_full_disk_does_not_end_the_command(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    llmctl("job", "run", "--", "true", check=True)
    script = "yes | head -c 2000000; ulimit -f unlimited; sleep 0.3; echo done > done"
    limit = (os.path.getsize(env["LLMCTL_DB"]) + 400_000) // 1024
    line = f"ulimit -S -f {limit}; exec {sys.executable} -P -m llmctl job run --shell -- '{script}'"
    done = subprocess.run(["bash", "-c", line], env=dict(env), cwd=tmp_path, capture_output=True, text=True)
    assert len(done.stdout) == 2_000_000
    assert (tmp_path / "done").exists()
    if done.returncode:  # the end did not fit either
        assert (done.returncode, "the command ended with exit status 0, but" in done.stderr) == (13, True)
    else:
        assert "part of its output was not logged" in jobs(llmctl)[0]["error"]
