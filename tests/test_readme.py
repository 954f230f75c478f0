"""The README is executed: its recipes on echo, in order, in one home."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness import TIMEOUT_S

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^(?:<!-- (?P<mark>\w+) -->\n)?```sh\n(?P<script>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> Iterator[tuple[str | None, str]]:
    for found in _BLOCK.finditer((ROOT / "README.md").read_text()):
        yield found["mark"], found["script"]


RECIPES = [script for mark, script in blocks() if mark is None]


@pytest.fixture
def shell_env(env: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment in which ``llmctl`` is this checkout's."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    command = binaries / "llmctl"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llmctl "$@"\n')
    command.chmod(0o755)
    path = f"{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**env, "PATH": path, "PYTHONPATH": str(ROOT), "LLMCTL_MODEL": "echo"}


def test_readme_has_ten_recipes() -> None:
    assert len(RECIPES) == 10


def test_recipes_run_in_order_in_one_home(shell_env: Mapping[str, str], tmp_path: Path) -> None:
    for script in RECIPES:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=dict(shell_env),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        assert done.stdout, script


@pytest.mark.parametrize(
    ("number", "output"),
    [
        (0, "What is the capital of France?\nAnd of Italy?1\n"),
        (1, "What is the capital of France?\nAnd of Italy? ['completed', 'completed']\n"),
    ],
    ids=["threads", "asyncio"],
)
def test_program_runs_as_it_stands(shell_env: Mapping[str, str], tmp_path: Path, number: int, output: str) -> None:
    programs = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(programs) == 2
    program = programs[number]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(shell_env),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == output


def test_every_file_the_map_names_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"`((?:core|wire|engine|cli|providers|store)/[a-z_/]+(?:\.py|/))`", text)
    assert len(named) >= 7
    assert [name for name in named if not (ROOT / "llmctl" / name).exists()] == []
