"""Long output on a terminal goes through the user's pager, as in git; nothing else does."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.sample_commands import SAMPLE_CLI
from tests.harness import LLMCTL, run_command
from tests.terminal import Terminal

ROWS = ["rows", "--columns", "id", "--count", "60"]


@pytest.fixture
def paged(env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment whose pager shows where it begins and ends."""
    script = tmp_path / "mark"
    script.write_text("#!/bin/sh\necho '<<'\ncat\necho '>>'\n")
    script.chmod(0o755)
    return env | {"LLMCTL_PAGER": str(script)}


def show(env: dict[str, str], *words: str, term: str = "xterm", columns: int = 80) -> list[str]:
    with Terminal([*SAMPLE_CLI, *words], env, term=term, columns=columns) as terminal:
        assert terminal.finish() == 0
        return terminal.text()


def test_pager_of_the_user_gets_the_output_and_notes_come_after_it(paged: dict[str, str]) -> None:
    lines = show(paged, *ROWS, columns=40)
    assert (lines[0], lines[1], len(lines)) == ("<<", "ID", 63)
    assert lines[-1] == ">>"
    narrow = show(paged, "named", columns=44)
    assert narrow[-2].startswith("llmctl: not wide enough for 2 columns")


@pytest.mark.parametrize(
    ("variables", "words"),
    [({}, ["--no-pager"]), ({"LLMCTL_PAGER": ""}, []), ({"LLMCTL_PAGER": "cat"}, []), ({"PAGER": "x"}, ["--no-pager"])],
)
def test_no_pager_where_none_is_wanted(paged: dict[str, str], variables: dict[str, str], words: list[str]) -> None:
    lines = show(paged | variables, *ROWS, *words)
    assert (lines[0], len(lines)) == ("ID", 61)


def test_no_pager_on_a_dumb_terminal_or_in_a_pipe(paged: dict[str, str]) -> None:
    assert show(paged, *ROWS, term="dumb")[0] == "ID"
    assert run_command([*SAMPLE_CLI, *ROWS], env=paged).stdout.startswith("00000000-0000\n")


@pytest.mark.parametrize("pager", ["no-such-pager -x", "A=1 no-such-pager"])
def test_missing_pager_loses_nothing(env: dict[str, str], pager: str) -> None:
    lines = show(env | {"LLMCTL_PAGER": pager}, *ROWS)
    assert sum(line.startswith("000000") for line in lines) == 60


def test_less_shows_a_screen_and_leaving_it_early_is_success(env: dict[str, str]) -> None:
    default = {name: value for name, value in env.items() if name != "LLMCTL_PAGER"}
    with Terminal([*SAMPLE_CLI, "rows", "--columns", "id", "--count", "20000"], default, rows=12) as terminal:
        screen = terminal.wait_for(":")
        assert screen[0] == "ID"
        terminal.send("q")
        assert terminal.finish() == 0


def test_ctrl_c_is_for_the_pager(env: dict[str, str]) -> None:
    default = {name: value for name, value in env.items() if name != "LLMCTL_PAGER"}
    with Terminal([*SAMPLE_CLI, *ROWS], default, rows=12) as terminal:
        terminal.wait_for(":")
        terminal.signal(signal.SIGINT)
        terminal.send(" ")
        terminal.wait_for("00000015")
        terminal.send("q")
        assert terminal.finish() == 0


def test_short_output_needs_no_pager(env: dict[str, str]) -> None:
    default = {name: value for name, value in env.items() if name != "LLMCTL_PAGER"}
    assert show(default, "rows", "--count", "5")[0].startswith("ID")
    with Terminal([*SAMPLE_CLI, "rows", "--count", "5"], default | {"NO_COLOR": "1"}) as terminal:
        assert terminal.finish() == 0
        assert b"\x1b" not in terminal.raw


@pytest.mark.slow
def test_help_is_paged(paged: dict[str, str]) -> None:
    for words in (["help", "--all"], ["chats", "list", "--help"], ["help", "exit-codes"], ["chats"]):
        with Terminal([*LLMCTL, *words], paged) as terminal:
            assert terminal.finish() == 0
            assert terminal.text()[0] == "<<", words
