"""Prisma's own drift check finds nothing between a hub and the schema that is emitted of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.emit import prisma
from tests.optin.node_llm import Project
from tests.store.sample_hubs import ODD_NAMES, USER_SQL, make_hub, read_catalog

SAME = "No difference detected."


@pytest.fixture(params=["plain", "odd"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = str(tmp_path / "hub.db")
    return make_hub(path) if request.param == "plain" else make_hub(path, ODD_NAMES, USER_SQL)


@pytest.fixture(params=["hub", "nodellm"])
def project(request: pytest.FixtureRequest, hub: Any, tmp_path: Path) -> Any:
    catalogue, names = read_catalog(hub)
    schema = prisma.emit(catalogue, names, dress=request.param)
    return Project(tmp_path / "project", hub, request.param, schema, prisma.emit_config(catalogue, url=f"file:{hub}"))


def test_prisma_sees_no_difference(project: Any, hub: Any) -> None:
    assert project.drift(*read_catalog(hub)[0].search_tables) == SAME


def test_prisma_would_drop_the_search_tables_without_the_config(project: Any) -> None:
    assert "message_search_data" in project.drift()


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("ALTER TABLE message_threads ADD COLUMN mood TEXT", "Redefined table `message_threads`"),
        ("DROP INDEX message_threads_chat_id", "[+] Added index on columns (chat_id)"),
        ("CREATE TABLE another (id INTEGER PRIMARY KEY)", "- another"),
    ],
)
def test_prisma_sees_what_is_changed(project: Any, hub: Any, change: str, seen: str) -> None:
    with closing(sqlite3.connect(hub)) as connection:
        connection.execute(change)
        connection.commit()
    assert seen in project.drift(*read_catalog(hub)[0].search_tables)
