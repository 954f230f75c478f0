"""What listings print into a pipe, byte for byte as version 0.1.0 did.

``pipe_output.txt`` was recorded before lists had titles, totals and pagers. A change of it breaks people's scripts:
``python -m tests.cli.test_pipe_bytes`` writes it anew, for a row that a new command adds.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest

from llmctl.engine.connections import trust
from llmctl.store.opening import open_hub
from tests.fakes.hub_builder import HubBuilder
from tests.harness import build_env, run_in_process

RECORDED = Path(__file__).with_name("pipe_output.txt")

COMMANDS = (
    "chats list",
    "chats list --limit 2",
    "chats list --columns id,name,preview,state",
    "chats list --tsv --limit 1",
    "chats list --since 2999-01-01",
    "chats list --csv --columns name,message_count,last_turn_at",
    "chats search weather",
    "chats search sourdough bread --tsv",
    "chats search nothingatall",
    "chats search weather --role user --csv",
    "chats search sunny --limit 1",
    "chats show sourdough",
    "chats show weather --all",
    "chats show weather --raw",
    "chats render weather",
    "chats render sourdough --format markdown",
    "stats",
    "stats --csv",
    "stats --jsonl",
    "stats --chat sourdough",
    "stats --group-by model",
    "stats --group-by day --csv",
    "stats --group-by chat,status",
    "stats --group-by tool --tsv",
    "stats --group-by tag --columns tag,requests,cost,messages",
    "stats --group-by folder --json --columns folder,requests",
    "stats --in 2026-10 --group-by model --plot",
    "stats --plot",
    "job list",
    "job list --status failed --columns id,type,error",
    "job list --by-name",
    "job show 5eed0000-0000-4000-8000-000000000003",
    "request list",
    "request list --status failed --csv --columns id,model,status,cost,error,duration",
    "request show 5eed0000-0000-4000-8000-000000000008",
    "tool pending",
    "tool invocations",
    "tool list",
    "connection list --columns name,provider,model,type",
    "agent list",
    "agent sessions",
    "thread list",
    "message list --chat weather",
    "log list",
    "metric list",
)


def build_hub(env: dict[str, str]) -> None:
    """Make a hub whose rows are the same in every run."""
    ids = (f"5eed0000-0000-4000-8000-{number:012}" for number in itertools.count(1))
    with (
        mock.patch("tests.fakes.hub_builder.new_id", side_effect=ids),
        closing(open_hub(env["LLMCTL_DB"], "create")) as database,
    ):
        trust.identify_hub(database, env)
        rows = HubBuilder(database)
        work = rows.connection("work")
        folder = {"last_turn_folder": "/src/bakery", "source_id": work}
        bread = rows.chat("sourdough", **folder, metadata='{"ticket":42}')
        costs = {"cost": 0.0123, "duration": 1450, "time_to_first_token": 310, "folder": "/src/bakery"}
        rows.turn(bread, "How do I feed a sourdough starter?", "Flour and water.\nEqual parts.", **costs, tag="bake")
        rows.turn(bread, "And sourdough bread?", "Bake at 240 °C.", **costs | {"cost": 1.5, "input_tokens": 1234567})
        weather = rows.chat("weather", **folder)
        rows.tool_turn(weather)
        failed = rows.chat(None, **folder)
        job = rows.insert("jobs", name="chat", type="turn", status="failed", error="429 from openai")
        user = rows.message(failed, "user", "tab\there \x1b[31mred\nsecond line", job_id=job)
        rows.insert(
            "requests", chat_id=failed["id"], thread_id=failed["thread_id"], message_id=user, provider="openai",
            model="gpt-5", status="failed", status_code=429, error="rate limit", origin="llmctl", connection="work",
        )  # fmt: skip
        rows.message(rows.chat(None, **folder, model="other"), "user", "unanswered weather question")
        rows.insert("metrics", name="latency", value=1.5, dimensions='{"host":"a"}')


def run_all(home: str) -> Iterator[str]:
    """Yield each command line with what it printed."""
    env = build_env(home, LLMCTL_DB=os.path.join(home, "hub.db"), PYTEST_CURRENT_TEST="")
    build_hub(env)
    for command in COMMANDS:
        result = run_in_process(*shlex.split(command), env=env)
        yield f"$ llmctl {command}\n{result.stdout}[exit {result.returncode}]\n"


def split_recorded() -> dict[str, str]:
    text = RECORDED.read_bytes().decode()
    blocks = re.findall(r"^\$ llmctl .*?^\[exit \d+\]\n", text, flags=re.MULTILINE | re.DOTALL)
    return {block.partition("\n")[0]: block for block in blocks}


def test_listings_in_a_pipe_are_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = split_recorded()
    assert len(recorded) == len(COMMANDS)
    for block in run_all(str(tmp_path)):
        assert block == recorded[block.partition("\n")[0]]


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        RECORDED.write_bytes("".join(run_all(folder)).encode())
    sys.stdout.write(f"wrote {RECORDED}\n")
