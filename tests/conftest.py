"""What every test shares: a hub of its own, no keys, no home but a temporary one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has nothing yet."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTEST_CURRENT_TEST") if name in os.environ}
    return kept | {"HOME": str(home), "LLMCTL_DB": str(tmp_path / "hub.db"), "NO_COLOR": "1"}


@pytest.fixture
def llmctl(env: Mapping[str, str], tmp_path: Path) -> Run:
    """Run llmctl as a process: ``llmctl("chat", "-m", "echo", "hi", input="...", env={...})``."""

    def run(
        *arguments: str, input: str | None = "", env: Mapping[str, str] = env, check: bool = False, **more: object
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llmctl", *arguments],
            input=input,
            env=dict(env),
            cwd=more.pop("cwd", tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
            **more,  # type: ignore[call-overload]
        )

    return run
