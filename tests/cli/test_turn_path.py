"""How much code one turn touches: a reader follows every file that runs, and every module that loads costs start-up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.harness import TIMEOUT_S, Llmctl

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_FILES_RUN = 45
MAX_MODULES_LOADED = 80

#: Runs a command line and prints the files of llmctl in which a function ran, and its modules that were loaded.
_TRACER = """
import inspect, json, os, sys
files = set()
def note(frame, event, argument):
    code = frame.f_code
    is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    if event == "call" and is_function and "/llmctl/" in code.co_filename:
        files.add(code.co_filename.rpartition("/llmctl/")[2])
from llmctl.cli.console.console import process_streams
from llmctl.cli.main import run
sys.setprofile(note)
code = run(sys.argv[1:], os.environ, process_streams())
sys.setprofile(None)
loaded = [name for name in sys.modules if name.partition(".")[0] == "llmctl"]
print(json.dumps({"code": code, "files": sorted(files), "modules": sorted(loaded)}))
"""


def trace_command(env: Mapping[str, str], *argv: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", _TRACER, *argv],
        env=dict(env),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    traced = json.loads(done.stdout.splitlines()[-1])
    assert traced.pop("code") == 0, done.stderr
    return dict(traced)


def test_a_turn_runs_through_few_files(env: dict[str, str], llmctl: Llmctl) -> None:
    assert llmctl("chat", "-m", "echo", "hi", cwd=ROOT).returncode == 0
    traced = trace_command(env, "chat", "-c", "--no-stdin", "again")
    assert "engine/turn/turn.py" in traced["files"]
    assert len(traced["files"]) <= MAX_FILES_RUN, traced["files"]


def test_a_turn_loads_few_modules(env: dict[str, str], llmctl: Llmctl) -> None:
    assert llmctl("chat", "-m", "echo", "hi", cwd=ROOT).returncode == 0
    traced = trace_command(env, "chat", "-c", "--no-stdin", "again")
    assert "llmctl.engine.turn.turn" in traced["modules"]
    assert len(traced["modules"]) <= MAX_MODULES_LOADED, traced["modules"]
