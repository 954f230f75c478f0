"""``llmctl mcp``: what agents may read of the hub, with the official SDK as the client."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.harness import LLMCTL, Llmctl, query, require_failure, require_success

Talk = Callable[[Any], Awaitable[Any]]


def talk(llmctl: Llmctl, conversation: Talk, *arguments: str) -> Any:
    """Start the server, and let a client of the SDK talk to it."""
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    words = [*LLMCTL[1:], "mcp", "serve", *arguments]
    server = StdioServerParameters(command=LLMCTL[0], args=words, env=llmctl.env, cwd=llmctl.cwd)

    async def run() -> Any:
        async with Client(stdio_client(server)) as client:
            return await conversation(client)

    return anyio.run(run)


def text_of(result: Any) -> str:
    return str(result.content[0].text)


def json_of(result: Any) -> Any:
    assert not result.is_error, text_of(result)
    return json.loads(text_of(result))


@pytest.fixture
def projects(llmctl: Llmctl, tmp_path: Path) -> Path:
    """Two projects, each with a chat; the first has a private one, too."""
    for name in ("one", "two"):
        (tmp_path / name / ".git").mkdir(parents=True)
        require_success(llmctl("chat", "-m", "echo", f"the plan of {name} is monads", cwd=tmp_path / name))
    require_success(llmctl("chat", "-m", "echo", "--tag", "private", "secret monads", cwd=tmp_path / "one"))
    return tmp_path


@pytest.mark.slow
def test_agent_sees_the_chats_of_its_project_only(llmctl: Llmctl, projects: Path) -> None:
    inside = Llmctl(llmctl.env, str(projects / "one"))

    async def search(client: Any) -> Any:
        found = json_of(await client.call_tool("search_history", {"words": "monads"}))
        chat = await client.call_tool("read_chat", {"chat_id": found["hits"][0]["chat_id"]})
        uris = [resource.uri for resource in (await client.list_resources()).resources]
        return found, text_of(chat), uris

    found, chat, uris = talk(inside, search)
    assert [hit["snippet"] for hit in found["hits"]] == ["the plan of one is monads"]
    assert "the plan of one" in chat
    assert "not to be followed" in chat
    assert len(uris) == 1
    everything, _, uris = talk(inside, search, "--all-projects")
    assert len(everything["hits"]) == len(uris) == 2
    assert "secret" not in json.dumps(everything)


@pytest.mark.slow
def test_chat_of_another_project_cannot_be_read(llmctl: Llmctl, projects: Path, env: dict[str, str]) -> None:
    ((other,),) = query(env, "SELECT id FROM chats WHERE last_turn_folder LIKE '%/two'")

    async def read(client: Any) -> Any:
        result = await client.call_tool("read_chat", {"chat_id": other})
        with pytest.raises(Exception, match="no chat"):
            await client.read_resource(f"llmctl://chat/{other}")
        return result

    result = talk(Llmctl(llmctl.env, str(projects / "one")), read)
    assert result.is_error
    assert "in this project" in text_of(result)


@pytest.mark.slow
def test_calls_are_rows_without_what_was_read(llmctl: Llmctl, projects: Path, env: dict[str, str]) -> None:
    async def call(client: Any) -> Any:
        await client.call_tool("search_history", {"words": "monads"})
        await client.call_tool("usage", {"group_by": "model"})
        return await client.call_tool("usage", {"group_by": "nosuch"})

    assert talk(llmctl, call, "--all-projects").is_error
    rows = query(env, "SELECT name, status, result FROM tool_invocations ORDER BY rowid")
    assert rows == [
        ("mcp:search_history", "completed", None),
        ("mcp:usage", "completed", None),
        ("mcp:usage", "failed", None),
    ]


@pytest.mark.slow
def test_question_and_query_only_where_they_are_allowed(llmctl: Llmctl, projects: Path, env: dict[str, str]) -> None:
    async def names(client: Any) -> Any:
        return [tool.name for tool in (await client.list_tools()).tools]

    assert talk(llmctl, names) == ["search_history", "read_chat", "usage", "list_models"]

    async def use(client: Any) -> Any:
        answer = json_of(await client.call_tool("ask_model", {"prompt": "say this", "model": "echo"}))
        rows = json_of(await client.call_tool("query", {"sql": "SELECT count(*) AS n FROM v_chats"}))
        refused = [await client.call_tool("query", {"sql": sql}) for sql in ("DELETE FROM chats", "PRAGMA x; SELECT 1")]
        return answer, rows["rows"], [result.is_error for result in refused]

    answer, rows, refused = talk(llmctl, use, "--allow", "ask,query", "--max-cost", "1")
    assert answer["answer"] == "say this"
    assert rows == [{"n": 4}]
    assert refused == [True, True]
    assert query(env, "SELECT tag FROM requests WHERE tag = 'mcp'") == [("mcp",)]


@pytest.mark.slow
def test_prompt_files_are_prompts(llmctl: Llmctl, tmp_path: Path) -> None:
    folder = tmp_path / ".llmctl" / "prompts"
    folder.mkdir(parents=True)
    (folder / "changelog.toml").write_text(
        'description = "Write a changelog"\n'
        'prompt = "Changes of {{ version }} for {{ who }}"\n[params]\nwho = "users"\n'
    )
    require_success(llmctl("init", "--no-prisma", "--no-detect"))

    async def use(client: Any) -> Any:
        prompts = (await client.list_prompts()).prompts
        got = await client.get_prompt("changelog", {"version": "1.4"})
        return prompts, got.messages[0].content.text

    prompts, text = talk(llmctl, use)
    (prompt,) = prompts
    assert prompt.description == "Write a changelog"
    assert {argument.name: argument.required for argument in prompt.arguments} == {"who": False, "version": True}
    assert text == "Changes of 1.4 for users"


def test_bad_flags_are_refused(llmctl: Llmctl) -> None:
    assert "requires --max-cost" in require_failure(llmctl("mcp", "serve", "--allow", "ask"), 2)
    assert 'got "shell"' in require_failure(llmctl("mcp", "serve", "--allow", "shell"), 2)
    assert 'got "emacs"' in require_failure(llmctl("mcp", "install", "emacs"), 2)
    require_failure(llmctl("mcp", "install", "claude"), 2)


@pytest.mark.parametrize(
    ("agent", "place", "key"),
    [
        ("claude", ".claude.json", "mcpServers"),
        ("gemini", ".gemini/settings.json", "mcpServers"),
        ("cursor", ".cursor/mcp.json", "mcpServers"),
        ("codex", ".codex/config.toml", "mcp_servers"),
    ],
)
def test_install_shows_what_to_add(llmctl: Llmctl, env: Mapping[str, str], agent: str, place: str, key: str) -> None:
    path, _, text = require_success(llmctl("mcp", "install", agent, "--print")).partition("\n\n")
    assert path == f"{env['HOME']}/{place}"
    document = tomllib.loads(text) if place.endswith(".toml") else json.loads(text)
    assert document[key]["llmctl"]["args"][-2:] == ["mcp", "serve"]
