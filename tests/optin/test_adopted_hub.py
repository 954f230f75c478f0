"""A database of the real ORM, adopted: the ORM and llmctl both continue to use it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import orm_hubs
from tests.fakes.openai_server import FakeServer, stream
from tests.harness import Llmctl
from tests.optin.node_llm import Project

OWN = ', "userId" TEXT NOT NULL DEFAULT \'u1\', "projectId" INTEGER'


@pytest.fixture(params=orm_hubs.VERSIONS)
def adopted(request: pytest.FixtureRequest, llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> str:
    """A hub that was the ORM's: texts as times in one, milliseconds in another; with columns of the user's own."""
    path = env["LLMCTL_DB"]
    orm_hubs.make_orm_hub(path, request.param, chat=OWN)
    orm_hubs.fill_orm_hub(path, request.param, times="ms" if request.param == "v02" else "text")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE _prisma_migrations")  # no model, so Prisma would offer to drop it
    llmctl("init", "--adopt", "--no-detect", check=True)
    return path


@pytest.fixture
def project(adopted: str, llmctl: Llmctl, tmp_path: Path) -> Any:
    schema = llmctl("schema", "emit", "prisma", "--nodellm", check=True).stdout
    config = llmctl("schema", "emit", "prisma", "--config", check=True).stdout
    return Project(tmp_path / "project", adopted, "nodellm", schema, config)


def test_prisma_sees_no_difference_in_an_adopted_hub(project: Any, adopted: str) -> None:
    with closing(sqlite3.connect(adopted)) as connection:
        names = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'message_search%'")
        ]
        tables = [name for name in names if name not in ("message_search_insert", "message_search_update")]
    assert project.drift(*tables) == "No difference detected."


def test_orm_and_llmctl_go_on_where_the_orm_stopped(
    project: Any, adopted: str, llmctl: Llmctl, env: dict[str, str]
) -> None:
    project.generate()
    with FakeServer() as server:
        listed, messages, asked, stats = project.run(
            server.url, ["list"], ["messages", "c1"], ["ask", "c1", "go on"], ["stats", "c1"]
        )
        assert {chat["id"] for chat in listed} == {"c1", "c2"}
        assert [chat["userId"] for chat in listed] == ["u1", "u1"]
        assert [message["content"] for message in messages] == ["what time is it?", "noon"]
        assert asked["content"] == "echo: go on"
        assert stats["input_tokens"] == 13 + 7
        server.answer(stream("and llmctl"))
        more = env | {"OPENAI_API_KEY": "key-of-nobody", "OPENAI_API_BASE": server.url}
        done = llmctl("chat", "--chat", "c1", "-m", "openai:gpt-4o", "and you?", "--json", env=more, check=True)
        assert json.loads(done.stdout)["content"] == "and llmctl"
        said = ("user", "assistant")  # calls of the ORM's chat and their results go along
        sent = [text for role, text in server.requests[-1].messages if role in said and text]
        assert sent == ["what time is it?", "noon", "go on", "echo: go on", "and you?"]
    assert json.loads(llmctl("stats", "--chat", "c1", "--json").stdout)["requests"] == 4
