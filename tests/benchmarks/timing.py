"""Commands timed side by side (interleaved rounds, medians, ratios to the first of them), and what one command uses."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Used(NamedTuple):
    """What a process took: by the clock, of the processors, and the most memory it had."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def used(command: Sequence[str], env: Mapping[str, str]) -> Used:
    """Run a command that must succeed, and return what it used. Its output goes nowhere."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f'exit code {process.returncode} of "{" ".join(command)}"')
    megabytes = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    return Used(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, megabytes)


def load() -> str:
    """Return how busy the machine is, for the first line of a report."""
    return f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"


@dataclass
class Case:
    """A command line with a name; ``limit`` is the ratio it should stay below, None where it is only looked at."""

    name: str
    command: Sequence[str]
    limit: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.seconds) * 1000


def measure(cases: Sequence[Case], rounds: int) -> None:
    """Run every case once a round, after one round that warms the caches and is not counted."""
    for turn in range(rounds + 1):
        for case in cases:
            began = time.perf_counter()
            subprocess.run(case.command, env=case.env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
            if turn:
                case.seconds.append(time.perf_counter() - began)


def report(cases: Sequence[Case]) -> bool:
    """Print medians and ratios to the first case; return whether every limit holds."""
    base = cases[0].median_ms
    good = True
    print(f"{'':44} {'median':>10} {'ratio':>8} {'limit':>8}")
    for case in cases:
        ratio = case.median_ms / base
        over = case.limit is not None and ratio > case.limit
        good = good and not over
        limit = f"{case.limit:g}" if case.limit else ""
        print(f"{case.name:44} {case.median_ms:7.1f} ms {ratio:7.2f}x {limit:>8}{'  over' if over else ''}")
    return good


def clean_env(folder: Path) -> dict[str, str]:
    """Return an environment with a home of its own, and with compiled modules kept, as on a user's machine."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(folder), "LLMCTL_DB": str(folder / "hub.db"), "PYTHONPYCACHEPREFIX": ""}


def script(name: str) -> str:
    """Return the installed command of that name next to this Python."""
    return str(Path(sys.executable).with_name(name))
