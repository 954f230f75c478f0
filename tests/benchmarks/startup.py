"""Start-up: llmctl compared with bare Python, curl and, where it is installed, llm.

    python -m tests.benchmarks.startup [--rounds 21] [--llm PATH]

``--llm`` names the command to compare with (by default the one on PATH).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.server import Server
from tests.benchmarks.timing import Case, clean_env, measure, report, script


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--llm", default=shutil.which("llm"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Server(tokens=1) as server:
        cases = cases_for(Path(folder), server, options.llm)
        measure(cases, options.rounds)
    return 0 if report(cases) else 1


def cases_for(folder: Path, server: Server, llm: str | None) -> list[Case]:
    """Return what is measured, the bare interpreter first."""
    env = clean_env(folder)
    llmctl = script("llmctl")
    server.connect(env["LLMCTL_DB"], env)
    subprocess.run([llmctl, "chat", "-m", "echo", "hi"], env=env, check=True, capture_output=True)
    cases = [
        Case("python -c pass", [sys.executable, "-c", "pass"], None, env),
        Case("llmctl --version", [llmctl, "--version"], 1.5, env),
        Case("llmctl --help", [llmctl, "--help"], 1.5, env),
        Case("llmctl stats --json", [llmctl, "stats", "--json"], 8, env),
        Case("llmctl chats list", [llmctl, "chats", "list"], 8, env),
        Case("llmctl chats show last", [llmctl, "chats", "show", "last"], 8, env),
        Case("llmctl chat -m echo hi", [llmctl, "chat", "-m", "echo", "hi"], 25, env),
        Case("llmctl chat, one token over HTTP", [llmctl, "chat", "-m", "bench", "hi"], 25, env),
    ]
    if shutil.which("curl"):
        cases.append(Case("curl, the same request", ["curl", "-sN", server.url, "-d", server.body], None, env))
    if llm:
        env = env | {"OPENAI_API_KEY": "sk-none", "LLM_USER_PATH": str(folder / "llm")}
        server.describe_to_llm(folder / "llm")
        cases.append(Case("llm, the same request", [llm, "-m", "bench", "hi"], None, env))
        cases.append(Case("llm --version", [llm, "--version"], None, env))
    return cases


if __name__ == "__main__":
    sys.exit(main())
