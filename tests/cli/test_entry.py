"""The short way answers exactly what the long way would, and what is generated is up to date."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from llmctl._fastpath import STATIC_ANSWERS
from tests.harness import LLMCTL, PYTHON, ROOT, run_python

LONG_WAY = [PYTHON, "-c", f"import sys; sys.path.insert(0, {ROOT!r}); from llmctl.cli.main import main; main()"]


@pytest.mark.parametrize("arguments", STATIC_ANSWERS, ids=" ".join)
def test_fast_path_prints_the_same_as_the_full_program(arguments: Any) -> None:
    short = subprocess.run([*LLMCTL, *arguments], capture_output=True)
    long = subprocess.run([*LONG_WAY, *arguments], capture_output=True)
    assert (short.returncode, short.stdout, short.stderr) == (long.returncode, long.stdout, long.stderr)
    assert short.returncode == 0
    assert len(short.stdout) > 10


@pytest.mark.parametrize(
    "arguments", [["help", "chats"], ["--version", "x"], ["--help", "--version"], ["completion", "bash", "x"]]
)
def test_unknown_arguments_take_the_full_program(arguments: list[str]) -> None:
    short = subprocess.run([*LLMCTL, *arguments], capture_output=True)
    long = subprocess.run([*LONG_WAY, *arguments], capture_output=True)
    assert (short.returncode, short.stdout, short.stderr) == (long.returncode, long.stdout, long.stderr)


def test_help_is_ascii_in_80_columns() -> None:
    for name in ("help", "help-all"):
        with open(f"{ROOT}/llmctl/cli/static/{name}.txt", encoding="ascii") as file:
            assert max(len(line.rstrip("\n")) for line in file) <= 80


def test_full_disk_is_reported_on_the_short_way_too() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*LLMCTL, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "llmctl: cannot write to standard output: No space left on device\n",
    )


def test_module_runs_like_the_program() -> None:
    done = subprocess.run([PYTHON, "-m", "llmctl", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "llmctl 0.1.0\n")


def test_generated_files_are_up_to_date() -> None:
    script = (
        "import os; from scripts.generate import generated_files;"
        "print(*(name for name, text in generated_files().items()"
        " if not os.path.exists(name) or open(name, encoding='utf-8').read() != text))"
    )
    done = subprocess.run([PYTHON, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), f"run: python -m scripts.generate ({done.stderr})"


#: What Python is like on Windows.
WINDOWS = """
import signal, sys
sys.platform = "win32"
for name in ("fcntl", "pty", "termios", "resource", "pwd"):
    sys.modules[name] = None
for name in ("SIGPIPE", "SIGHUP"):
    delattr(signal, name)
sys.argv = ["llmctl", "chat", "hi"]
"""


def test_start_on_windows_is_one_clear_error() -> None:
    done = run_python(WINDOWS + "from llmctl._fastpath import main; main()")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llmctl runs on POSIX systems such as Linux and macOS, not on Windows")
    assert done.stderr.count("\n") == 2


def test_import_on_windows_is_one_clear_error() -> None:
    done = run_python(WINDOWS + "from llmctl import Hub")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: llmctl runs on POSIX systems")
