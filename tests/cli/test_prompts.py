"""Questions reach the person at the terminal, and nobody else."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cli.sample_commands import SAMPLE_CLI
from tests.harness import run_command, run_on_terminal


def answered(*typed: bytes) -> tuple[int, str]:
    """Run with a controlling terminal at which a person types; return the exit code and the screen."""
    command = ["bash", "-c", '"$@" </dev/null', "_", *SAMPLE_CLI, "ponder"]
    return run_on_terminal(command, os.environ, list(zip(("[y/N]", "Key:"), typed, strict=False)))


def test_yes_continues_and_a_secret_is_not_shown() -> None:
    code, screen = answered(b"y\n", b"sk-1\n")
    assert code == 0
    assert screen == 'Delete chat "x"? [y/N] |y\nKey: |\nsecret sk-1\n'


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04"])
def test_anything_but_yes_changes_nothing(answer: bytes) -> None:
    code, screen = answered(answer)
    assert code == 10
    assert screen.endswith("llmctl: cancelled\n")


def test_ctrl_c_at_a_question_is_a_death_by_sigint() -> None:
    code, screen = answered(b"\x03")
    assert code == -signal.SIGINT
    assert "Traceback" not in screen


def test_no_prompt_without_a_terminal() -> None:
    done = run_command([*SAMPLE_CLI, "ponder"], input="y\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'llmctl: refusing to delete chat "x" without confirmation\nhint: pass --yes to run without a terminal\n'
    )
    done = run_command([*SAMPLE_CLI, "ponder", "--yes"])
    assert (done.returncode, done.stdout) == (0, "secret None\n")
