"""What the MCP server tells a program, and which rows its calls leave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.errors import LlmctlError, StorageError, UsageError
from llmctl.engine.mcp_service import ServiceScope, build_service
from llmctl.store.database import Database
from llmctl.tools.mcp_server import McpService
from tests.fakes.hub_builder import HubBuilder

KEY = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"


def answer(model: str | None, prompt: str) -> Mapping[str, Any]:
    if prompt == "crash":
        raise RuntimeError("boom")
    return {"answer": prompt}


def serve(database: Database, root: str | None = None) -> McpService:
    return build_service(database, database, ServiceScope(root=root, allowed=("ask",)), {}, "1", answer)


def call(service: McpService, name: str, **arguments: Any) -> Any:
    return next(tool for tool in service.tools if tool.name == name).call(arguments, "client")


def test_usage_is_that_of_the_project(hub: HubBuilder) -> None:
    for folder, tag in (("/p/one/sub", "mine"), ("/p/two", "theirs")):
        hub.insert("requests", folder=folder, tag=tag, provider="echo", model="m", input_tokens=5)
    own = serve(hub.database, "/p/one")
    assert call(own, "usage")["requests"] == 1
    found = call(own, "usage", group_by="tag")
    assert ([group["tag"] for group in found["groups"]], found["total"]["requests"]) == (["mine"], 1)
    assert call(serve(hub.database), "usage")["requests"] == 2
    for key in ("chat", "folder", "script", "host"):
        with pytest.raises(UsageError, match="group_by must be"):
            call(own, "usage", group_by=key)


def test_rows_of_calls_have_no_keys_and_no_prompts(hub: HubBuilder) -> None:
    service = serve(hub.database)
    call(service, "ask_model", prompt=f"my words {KEY}")
    call(service, "search_history", words=KEY)
    with pytest.raises(LlmctlError):
        call(service, "usage", group_by=KEY)
    rows = hub.database.query("SELECT arguments, parameters, error FROM {tool_invocations} ORDER BY rowid")
    assert rows[0]["arguments"] == rows[0]["parameters"] == f'{{"prompt":{{"length":{len(KEY) + 9}}}}}'
    assert "[redacted]" in rows[1]["arguments"]
    assert KEY not in str(rows)


def test_a_crash_is_a_failure_and_a_lost_row_is_none(hub: HubBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(hub.database)
    with pytest.raises(RuntimeError):
        call(service, "ask_model", prompt="crash")
    rows = hub.database.query("SELECT status, error FROM {tool_invocations}")
    assert [tuple(row.values()) for row in rows] == [("failed", "RuntimeError: boom")]

    def fill_disk(*_: Any, **__: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Database, "commit", fill_disk)
    assert call(service, "ask_model", prompt="hi") == {"answer": "hi"}


def test_a_prompt_file_with_a_mistake_hides_only_itself(hub: HubBuilder, tmp_path: Path) -> None:
    folder = tmp_path / ".llmctl" / "prompts"
    folder.mkdir(parents=True)
    (folder / "bad.toml").write_text('prompt = "{{ broken"\n')
    (folder / "good.toml").write_text('prompt = "{{ fine }}"\n')
    service = serve(hub.database, str(tmp_path))
    assert [prompt.name for prompt in service.list_prompts()] == ["good"]
