"""What every test shares: a hub of its own, no keys, no home but a temporary one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.zygote import Zygote

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has nothing yet."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTEST_CURRENT_TEST") if name in os.environ}
    return kept | {"HOME": str(home), "LLMCTL_DB": str(tmp_path / "hub.db"), "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Where processes of llmctl come from without the half second that its modules take under load."""
    with tempfile.TemporaryDirectory(prefix="llmctl-") as folder:  # short: a socket's path has to be
        running = Zygote(folder)
        yield running
        running.stop()


@pytest.fixture
def llmctl(env: Mapping[str, str], tmp_path: Path, zygote: Zygote) -> Run:
    """Run llmctl as a process: ``llmctl("chat", "-m", "echo", "hi", input="...", env={...})``."""

    def run(
        *arguments: str, input: str | None = "", env: Mapping[str, str] = env, check: bool = False, **more: object
    ) -> subprocess.CompletedProcess[str]:
        cwd = str(more.pop("cwd", tmp_path))
        if not more and not _starts_anew(env):
            done = zygote.run(arguments, input=input, env=env, cwd=cwd, timeout=60)
            if check:
                done.check_returncode()
            return done
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


def _starts_anew(env: Mapping[str, str]) -> bool:
    """Tell whether an environment says something that Python reads when it starts."""
    own = {name for name in env if name.startswith(("PYTHON", "LC_", "LANG"))}
    return any(env[name] != os.environ.get(name) for name in own)
