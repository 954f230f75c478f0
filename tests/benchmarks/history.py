"""A long history: what 1,000 turns cost to load from the hub and to build into a request, on each wire.

    python -m tests.benchmarks.history [--turns 1000] [--rounds 9]

Start-up does not count: the hub is open, and each wire is loaded. Every tenth turn has a tool call and its result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from llmctl.core.chat import ChatRequest
from llmctl.core.http import Endpoint
from llmctl.engine.chats import attachments
from llmctl.engine.turn import history
from llmctl.providers import PROVIDERS, Provider
from llmctl.store.database import Database
from llmctl.store.opening import open_hub
from llmctl.wire import WIRES
from tests.fakes.hub_builder import HubBuilder

#: Milliseconds for a thousand turns.
LIMIT = 50.0

_PROVIDERS = {
    "openai-chat": "compatible",
    "openai-responses": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = open_hub(str(Path(folder) / "hub.db"), "create")
        thread = fill(HubBuilder(database), options.turns)
        good = [report(database, thread, wire, name, options) for wire, name in _PROVIDERS.items()]
        database.close()
    return 0 if all(good) else 1


def fill(rows: HubBuilder, turns: int) -> str:
    """Make a chat of so many turns; return the id of its thread."""
    with rows.database.transaction():
        chat = rows.chat("long")
        for number in range(turns):
            if number % 10:
                rows.turn(chat, f"question {number}? " + "why " * 20, "because " * 60)
            else:
                rows.tool_turn(chat)
    return chat["thread_id"]


def report(database: Database, thread: str, wire: str, name: str, options: argparse.Namespace) -> bool:
    """Print the best of some rounds for one wire; return whether it is quick enough."""
    provider = PROVIDERS.load(name)
    endpoint = Endpoint(provider.base_url or "http://localhost/v1", dialect=provider.dialect)
    build = WIRES.load(wire).build_request
    loading: list[float] = []
    building: list[float] = []
    for _ in range(options.rounds):
        entries = timed(
            partial(history.load_history, database, thread, reader=history.Origin(provider.name, "m")), loading
        )
        body = timed(lambda sent: build(endpoint, request_of(sent, wire, provider)).body, building, entries)
    best = min(map(sum, zip(loading, building, strict=True)))
    good = best <= LIMIT * options.turns / 1000
    print(
        f"{wire:18} {options.turns} turns, {len(body):,} bytes: load {min(loading):6.1f} ms, "
        f"build {min(building):6.1f} ms, both {best:6.1f} ms{'' if good else '  over'}"
    )
    return good


def request_of(entries: list[history.HistoryEntry], wire: str, provider: Provider) -> ChatRequest:
    messages = (entry.message for entry in entries)
    return ChatRequest("bench", attachments.drop_unsupported_files_for(messages, WIRES.load(wire), provider.dialect)[0])


def timed(run: Callable[..., Any], spent: list[float], *arguments: Any) -> Any:
    began = time.perf_counter()
    found = run(*arguments)
    spent.append((time.perf_counter() - began) * 1000)
    return found


if __name__ == "__main__":
    sys.exit(main())
