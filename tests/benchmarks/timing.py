"""Commands timed side by side: interleaved rounds, medians, and ratios to the first of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


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
    """Return the installed command of that name beside this Python."""
    return str(Path(sys.executable).with_name(name))
