"""Streaming: tokens a second from the socket to stdout and into the hub, compared with llm where it is installed.

    python -m tests.benchmarks.streaming [--tokens 20000] [--rounds 7] [--llm PATH]

The rate is marginal: the time of N tokens less that of one, so that start-up does not count.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.server import Server
from tests.benchmarks.timing import Case, clean_env, measure, script

#: How many times the rate of llm is wanted.
WANTED = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--llm", default=shutil.which("llm"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Server(1) as one, Server(options.tokens) as many:
        cases: list[Case] = []
        for name, server in (("one", one), ("many", many)):
            place = Path(folder) / name
            place.mkdir()
            cases += cases_for(name, place, server, options.llm)
        measure(cases, options.rounds)
    return report({case.name: case for case in cases}, options.tokens)


def cases_for(name: str, folder: Path, server: Server, llm: str | None) -> list[Case]:
    """Return the same question for each program."""
    env = clean_env(folder)
    server.connect(env["LLMCTL_DB"], env)
    cases = [Case(f"llmctl {name}", [script("llmctl"), "chat", "-m", "bench", "hi"], None, env)]
    if shutil.which("curl"):
        cases.append(Case(f"curl {name}", ["curl", "-sN", server.url, "-d", server.body], None, env))
    if llm:
        server.describe_to_llm(folder / "llm")
        env = env | {"OPENAI_API_KEY": "sk-none", "LLM_USER_PATH": str(folder / "llm")}
        cases.append(Case(f"llm {name}", [llm, "-m", "bench", "hi"], None, env))
    return cases


def report(cases: dict[str, Case], tokens: int) -> int:
    """Print the rates; return 1 if llm is installed and the target against it is missed."""
    rates = {}
    for program in ("llmctl", "curl", "llm"):
        if f"{program} one" in cases:
            one, many = cases[f"{program} one"].median_ms, cases[f"{program} many"].median_ms
            rates[program] = tokens / max(many - one, 0.001) * 1000
            print(
                f"{program:8} 1 token {one:8.1f} ms   {tokens} tokens {many:8.1f} ms   {rates[program]:12,.0f} tokens/s"
            )
    if "llm" not in rates:
        print("llm is not installed: nothing to compare with")
        return 0
    ratio = rates["llmctl"] / rates["llm"]
    print(f"llmctl is at {ratio:.1f} times the rate of llm (wanted: {WANTED:g})")
    return 0 if ratio >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
