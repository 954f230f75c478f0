"""Recorded exchanges of real providers and the server that replays them: what the tests of all wires share."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, ChatResponse, Message, ResponseBuilder
from llmctl.core.errors import LlmctlError
from llmctl.core.http import Dialect, Endpoint
from llmctl.transport import client
from llmctl.transport.sse import parse_ndjson, parse_sse
from llmctl.wire import Wire

FOLDER = os.environ.get("LLMCTL_RECORDINGS", "")
#: Bytes of a write, or "nasty": inside characters, inside "data:", between CR and LF.
CHUNKINGS = ("1", "7", "4096", "nasty")

needs_recordings = pytest.mark.skipif(
    not os.path.isfile(os.path.join(FOLDER, "index.jsonl")),
    reason="RECORDED TRAFFIC IS NOT TESTED: set LLMCTL_RECORDINGS to the folder of recordings (with index.jsonl)",
)

Exchange = dict[str, Any]


def load_exchanges(api: str) -> list[Exchange]:
    """Return the recorded exchanges of one api, those of a group in their order; nothing without recordings."""
    if not os.path.isfile(os.path.join(FOLDER, "index.jsonl")):
        return []
    lines = Path(FOLDER, "index.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [entry for entry in map(json.loads, lines) if entry["api"] == api]
    return [json.loads(Path(FOLDER, entry["path"]).read_text(encoding="utf-8")) for entry in entries]


def group_exchanges(found: list[Exchange]) -> dict[str, list[Exchange]]:
    """Return the exchanges by group, each in the order in which it was recorded."""
    by_name: dict[str, list[Exchange]] = {}
    for exchange in sorted(found, key=lambda exchange: int(exchange["sequence"]["index"])):
        by_name.setdefault(exchange["sequence"]["group"], []).append(exchange)
    return by_name


def is_stream(exchange: Exchange) -> bool:
    return "event-stream" in exchange["response"]["headers"].get("content-type", "")


def list_providers(found: list[Exchange]) -> list[str]:
    """Return the names to parametrise with; one that matches nothing where there are no recordings."""
    return sorted({exchange["provider"] for exchange in found}) or ["none"]


def parse_documents(exchange: Exchange) -> list[Any]:
    """Return the JSON documents of the recorded body: one, or one an event."""
    body = exchange["response"]["body"]
    if not is_stream(exchange):
        return [json.loads(body)]
    return [json.loads(data) for data in re.findall(r"^data: ?(\{.*\})\r?$", body, re.MULTILINE)]


@contextmanager
def run_replay_server(chunk: str) -> Iterator[str]:
    """Run the replay server, which cuts bodies as ``chunk`` says; give its base URL."""
    script = os.environ.get("LLMCTL_REPLAY_SERVER") or os.path.join(FOLDER, "..", "tools", "replay_server.py")
    command = [sys.executable, script, "--corpus", FOLDER, "--port", "0", "--chunk", chunk, "--chunk-json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+?:\d+", process.stdout.readline())
        assert address is not None
        yield address[0]
        process.terminate()


def send_recorded_request(
    wire: Wire,
    server: str,
    exchange: Exchange,
    dialect: Dialect,
    *,
    fault: str | None = None,
    timeouts: client.Timeouts | None = None,
) -> tuple[ChatResponse, LlmctlError | None]:
    """Ask the recorded question's stand-in through the real transport; return what came and what went wrong."""
    endpoint = Endpoint(
        base_url=f"{server}/id/{exchange['id']}",
        headers={"x-replay-fault": fault} if fault else {},
        dialect=dialect,
    )
    asked = ChatRequest("some-model", (Message.from_text("user", "hello"),), stream=is_stream(exchange))
    total = ResponseBuilder()
    try:
        with client.send_request(wire.build_request(endpoint, asked), timeouts, loopback_only=True) as answer:
            if answer.status >= 400:
                return total.build(), wire.parse_error(answer.status, answer.headers, answer.read())
            if asked.stream:
                frames = (parse_sse if wire.framing == "sse" else parse_ndjson)(answer.chunks)
                events = wire.parse_stream(frames, dialect)
            else:
                events = wire.parse_response(answer.read(), dialect)
            for event in events:
                total.add(event)
    except LlmctlError as error:
        return total.build(), error
    return total.build(), None
