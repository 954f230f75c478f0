"""Questions reach the person at the terminal, and nobody else."""

from __future__ import annotations

import os
import pty
import signal
import subprocess

import pytest

from tests.cli.cli_stage import STAGE


def answered(*typed: bytes) -> tuple[int, str]:
    """Run with a controlling terminal at which a person types; return the exit code and the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-c", '"$@" </dev/null', "_", *STAGE, "ponder"])
    screen = b""
    for line in typed:
        while not screen.rstrip().endswith((b"]", b"Key:")):
            screen += os.read(terminal, 1000)
        os.write(terminal, line)
        screen += b"|"
    try:
        while piece := os.read(terminal, 1000):
            screen += piece
    except OSError:
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode().replace("\r\n", "\n")


def test_yes_goes_on_and_a_secret_is_not_shown():
    code, screen = answered(b"y\n", b"sk-1\n")
    assert code == 0
    assert screen == 'Delete chat "x"? [y/N] |y\nKey: |\nsecret sk-1\n'


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04"])
def test_anything_but_yes_changes_nothing(answer):
    code, screen = answered(answer)
    assert code == 10
    assert screen.endswith("llmctl: nothing was changed\n")


def test_ctrl_c_at_a_question_is_a_death_by_sigint():
    code, screen = answered(b"\x03")
    assert code == -signal.SIGINT
    assert "Traceback" not in screen


def test_nobody_is_asked_without_a_terminal():
    done = subprocess.run([*STAGE, "ponder"], capture_output=True, text=True, input="y\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'llmctl: not without a word from you: delete chat "x"\nhint: say --yes, there is no terminal to ask on\n'
    )
    done = subprocess.run([*STAGE, "ponder", "--yes"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "secret None\n")
