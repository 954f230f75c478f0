"""Files made to hurt whoever imports them: each row is one that no llmctl would write.

Witnesses: a server that must not be reached, and a file that must not be made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_trust import SECRET
from tests.fakes.openai_server import FakeServer
from tests.harness import Result, run_in_process

TIME = "2030-01-01T00:00:00.000+00:00"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def server(shared_server: FakeServer) -> FakeServer:
    shared_server.requests.clear()
    return shared_server


@pytest.fixture
def victim(env: dict[str, str]) -> dict[str, str]:
    """The environment of a user with a key and a hub in use."""
    mine = {**env, "OPENAI_API_KEY": SECRET, "LLMCTL_NO_STDIN": "1"}
    assert run_in_process("chat", "-m", "echo", "--name", "mine", "hi", env=mine).returncode == 0
    return mine


def receive(victim: dict[str, str], tmp_path: Path, *rows: tuple[str, dict[str, Any]]) -> Result:
    """Import a file with these rows."""
    lines: list[dict[str, Any]] = [{"format": "llmctl", "version": 1, "schema": 3, "fields": {}}]
    for table, row in rows:
        times = {"created_at": TIME, "updated_at": TIME}
        lines.append({"table": table, "row": {"id": f"theirs-{len(lines)}", "references": {}, **times, **row}})
    file = tmp_path / "hostile.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_in_process("import", str(file), env=victim)


def connection(name: str, provider: str, data: Any) -> tuple[str, dict[str, Any]]:
    columns = {"id": f"c-{name}", "name": name, "provider": provider, "model_id": "m", "type": "chat", "data": data}
    return "model_connections", columns


@pytest.mark.parametrize("provider", ["echo", "ECHO", "Echo"])
@pytest.mark.parametrize("wire", [None, "openai-chat"])
def test_connection_to_echo_reaches_nobody_and_runs_nothing(
    provider: str, wire: str | None, victim: dict[str, str], server: FakeServer, tmp_path: Path
) -> None:
    """It needs no trust, since it sends nothing: whatever else the file says of it."""
    witness = tmp_path / "witness"
    touch = f"command:touch {witness}; echo k"
    for name, data in (
        ("key", {"base_url": server.url, "wire": wire, "key": touch}),
        ("variable", {"base_url": server.url, "wire": wire, "key": "env:OPENAI_API_KEY"}),
        ("header", {"base_url": server.url, "wire": wire, "headers": {"X": touch}}),
        ("query", {"wire": wire, "query": {"key": touch}}),
    ):
        receive(victim, tmp_path, connection(f"the-{name}", provider, data))
        for arguments in (["chat", "-m", f"the-{name}", "hi"], ["connection", "test", f"the-{name}"], ["doctor"]):
            run_in_process(*arguments, env=victim)
        for arguments in (["embed", "--connection", f"the-{name}", "text"], ["connection", "models", f"the-{name}"]):
            run_in_process(*arguments, env=victim)
        done = run_in_process("chat", "-m", f"the-{name}", "hello", env=victim)
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert server.requests == []
    assert not witness.exists()
