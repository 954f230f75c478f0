"""Whether the process of a job is alive, on systems that have no /proc, such as macOS: ps tells."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from llmctl.engine.jobs import lease
from llmctl.store.records.types import JobRow
from llmctl.tools.process import ask_ps
from tests.harness import LLMCTL, Llmctl, query

#: A mount namespace in which /proc is empty.
HIDDEN = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]


def can_hide() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*HIDDEN, "true"], capture_output=True).returncode == 0


def add_ps(llmctl: Llmctl, tmp_path: Path, answer: str) -> Llmctl:
    """Put a ps first on PATH: that of Linux reads /proc."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "ps").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / "ps").chmod(0o755)
    return llmctl.with_env(PATH=f"{folder}:{llmctl.env['PATH']}")


@pytest.mark.slow
@pytest.mark.skipif(not can_hide(), reason="cannot hide /proc here")
@pytest.mark.parametrize(("answer", "code"), [("S 10-00:00:05", 9), ("Z 10-00:00:05", 0), ("S 00:00", 0)])
def test_lease_is_checked_without_proc(
    answer: str, code: int, llmctl: Llmctl, env: dict[str, str], tmp_path: Path
) -> None:
    """A process that lives holds the lock; a zombie, or a later one with its pid, does not."""
    own = add_ps(llmctl, tmp_path, answer)
    first = own.start("chat", "-m", "echo", "--name", "c", "-o", "delay=0.05", "a b " * 200, command=[*HIDDEN, *LLMCTL])
    with first:
        first.wait_for_output("a b")
        assert query(env, "SELECT process_started_at FROM jobs") == [(None,)]
        old = "2026-01-01T00:00:00.000+00:00" if answer.endswith("00:00") else None
        if old:  # the job began long before the process that has its pid now
            query(env, "UPDATE jobs SET started_at = ?, created_at = ?", old, old)
        other = own.start("chat", "--chat", "c", "--no-stdin", "next", command=[*HIDDEN, *LLMCTL])
        assert other.wait().returncode == code


def test_ps_tells_state_and_age() -> None:
    if not shutil.which("ps"):
        pytest.skip("needs ps")
    found = ask_ps(os.getpid())
    assert found is not None
    assert found[0][0] in "RS"
    assert 0 <= found[1] < 86_400
    assert ask_ps(2**22 + 1) is None


def test_own_process_is_known_by_more_than_its_pid() -> None:
    own = JobRow.from_row(
        {
            **dict.fromkeys(JobRow.__annotations__),
            "id": "j",
            "type": "map",
            "status": "running",
            **lease.process_identity().to_dict(),
        }
    )
    assert lease.is_own(own)
    assert not lease.is_own(own.replace(host="other/pid:[1]"))
    assert not lease.is_own(own.replace(process_started_at="1"))
