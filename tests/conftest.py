"""What every test shares: a hub of its own, no keys, no home but a temporary one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import zygote

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a gate in the background: what tests start would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
        cwd = str(more.pop("cwd", tmp_path))
        if not more and zygote.takes(env, arguments):
            given = None if input is None else input.encode()
            done = zygote.shared().run(arguments, input=given, env=env, cwd=cwd, timeout=60)
            found = subprocess.CompletedProcess(done.args, done.returncode, _text(done.stdout), _text(done.stderr))
            if check:
                found.check_returncode()
            return found
        return subprocess.run(
            [sys.executable, "-m", "llmctl", *arguments],
            input=input,
            env=dict(env),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
            **more,  # type: ignore[call-overload]
        )

    return run


def _text(data: bytes) -> str:
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8").read()
