"""The interactive chat on a terminal: how soon it asks for the first message, and how soon a long paste is shown.

    python -m tests.benchmarks.interactive [--rounds 11]

Prints the median of each in milliseconds and its limit; exits with 1 above a limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.timing import clean_env, script
from tests.terminal import Terminal, paste

FIRST_PROMPT_LIMIT_MS, PASTE_LIMIT_MS = 250, 100
PASTE = paste("\n".join(f"line {number} of a file that somebody pastes" for number in range(5000)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = clean_env(Path(folder))
        rounds = [measure_round(env) for _ in range(options.rounds + 1)][1:]  # the first one makes the hub
    is_within = True
    limits = (("first prompt", FIRST_PROMPT_LIMIT_MS), ("5,000 pasted lines", PASTE_LIMIT_MS))
    for (name, limit_ms), values in zip(limits, zip(*rounds, strict=True), strict=True):
        median_ms = statistics.median(values) * 1000
        is_within = is_within and median_ms <= limit_ms
        print(f"{name:20} {median_ms:8.0f} ms   limit {limit_ms} ms")
    return 0 if is_within else 1


def measure_round(env: dict[str, str]) -> tuple[float, float]:
    """Return the seconds until the first prompt, and from a paste until it is shown."""
    started = time.perf_counter()
    with Terminal([script("llmctl"), "chat", "-m", "echo"], env) as terminal:
        terminal.wait_for_prompt()
        prompted = time.perf_counter()
        terminal.send(PASTE)
        terminal.wait_for("[5,000 lines]")
        pasted = time.perf_counter()
        terminal.send("\x03\x04")
        terminal.finish()
    return prompted - started, pasted - prompted


if __name__ == "__main__":
    sys.exit(main())
