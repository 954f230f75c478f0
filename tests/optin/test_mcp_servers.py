"""Third-party MCP servers from npm, called through a chat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes import npm
from tests.harness import Llmctl

pytest.importorskip("mcp")

FILESYSTEM = "@modelcontextprotocol/server-filesystem@2026.8.31"
EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"


def called(llmctl: Llmctl, *calls: str) -> list[tuple[str, str]]:
    tools = [flag for call in calls for flag in ("-T", f"{call.partition(' ')[0]}:auto")]
    options = "tool=" + "\n".join(calls)
    done = llmctl("chat", "-m", "echo", "-o", options, *tools, "--json", "hi")
    assert done.returncode == 0, done.stderr
    return [(call["status"], call["result"]) for call in json.loads(done.stdout)["tool_calls"]]


def test_the_filesystem_server_reads_inside_its_folder_only(llmctl: Llmctl, tmp_path: Path) -> None:
    folder = npm.packages(FILESYSTEM)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.txt").write_text("text of a")
    server = f"node {folder}/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js {inside}"
    made = llmctl("tool", "add", "fs", "--mcp", server, check=True)
    assert len(made.stdout.splitlines()) > 5
    good, bad = called(
        llmctl,
        "fs_read_text_file " + json.dumps({"path": f"{inside}/a.txt"}),
        "fs_read_text_file " + json.dumps({"path": "/etc/passwd"}),
    )
    assert good == ("completed", "text of a")
    assert bad[0] == "failed"
    assert "root:" not in bad[1]


def test_the_everything_server_says_all_it_can(llmctl: Llmctl) -> None:
    folder = npm.packages(EVERYTHING)
    server = f"node {folder}/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    llmctl("tool", "add", "all", "--mcp", server, check=True)
    found = called(
        llmctl, 'all_echo {"message": "hello"}', 'all_get-sum {"a": 2, "b": 3}', "all_get-tiny-image {}", "all_echo {}"
    )
    assert found[0] == ("completed", "Echo: hello")
    assert "5" in found[1][1]
    assert "[image, image/png, " in found[2][1]
    assert found[3][0] == "failed"
