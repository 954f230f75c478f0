"""The process dies of the signal that ended it, after everything is unwound, and says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

from tests.cli.sample_commands import SAMPLE_CLI
from tests.harness import LLMCTL, TIMEOUT_S


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_unwinds_and_kills(signum: Any) -> None:
    with subprocess.Popen([*SAMPLE_CLI, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signum)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, stderr) == (-signum, b"unwound\n")


def test_interrupted_loop_of_a_shell_stops() -> None:
    script = 'for i in 1 2 3; do "$@"; done; echo after'
    with subprocess.Popen(
        ["bash", "-c", script, "_", *SAMPLE_CLI, "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        os.killpg(process.pid, signal.SIGINT)
        stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, stdout) == (-signal.SIGINT, b"")


def test_second_signal_ends_at_once() -> None:
    with subprocess.Popen([*SAMPLE_CLI, "linger"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"unwinding\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGTERM


def test_signal_during_a_destructor_is_not_lost() -> None:
    with subprocess.Popen([*SAMPLE_CLI, "destroy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, stderr) == (-signal.SIGTERM, b"unwound\n")


@pytest.mark.parametrize(("name", "signum"), [("HUP", signal.SIGHUP), ("INT", signal.SIGINT)])
def test_signal_the_parent_ignores_stays_ignored(name: str, signum: Any) -> None:
    script = f"trap '' {name}; exec \"$@\""
    with subprocess.Popen(
        ["bash", "-c", script, "_", *SAMPLE_CLI, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signum)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, stderr) == (-signal.SIGTERM, b"unwound\n")


@pytest.mark.parametrize(
    "command", [[*SAMPLE_CLI, "flood"], [*LLMCTL, "--help"], [*LLMCTL, "help", "--all", "--quiet"]]
)
def test_reader_that_leaves_is_a_death_by_sigpipe(command: list[Any]) -> None:
    script = '"$@" | true; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(["bash", "-c", script, "_", *command], capture_output=True, text=True)
    assert done.stdout == "141\n"
    assert done.stderr in ("", "unwound\n")


def test_reader_of_stderr_that_leaves_is_no_failure() -> None:
    script = '{ "$@" 2>&3 3>&- | cat; } 3> >(true); sleep 0.2; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(["bash", "-c", script, "_", *SAMPLE_CLI, "make"], capture_output=True, text=True)
    assert done.stdout.endswith("000000001\n0\n")
    assert "Traceback" not in done.stderr
