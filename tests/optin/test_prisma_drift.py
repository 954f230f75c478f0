"""Prisma's own drift check finds nothing between a hub and the schema that is emitted of it."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from node_llm import Project

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))

from hubs_of_all_kinds import ODD_NAMES, OWN, look, make

from llmctl.store.emit import prisma, prisma_config

SAME = "No difference detected."


@pytest.fixture(params=["plain", "odd"])
def hub(request, tmp_path):
    path = str(tmp_path / "hub.db")
    return make(path) if request.param == "plain" else make(path, ODD_NAMES, OWN)


@pytest.fixture(params=["hub", "nodellm"])
def project(request, hub, tmp_path):
    catalogue, names = look(hub)
    schema = prisma.emit(catalogue, names, dress=request.param)
    return Project(tmp_path / "project", hub, request.param, schema, prisma_config.emit(catalogue, url=f"file:{hub}"))


def test_prisma_sees_no_difference(project, hub):
    assert project.drift(*look(hub)[0].search_tables) == SAME


def test_prisma_would_drop_the_search_tables_without_the_config(project):
    assert "message_search_data" in project.drift()


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("ALTER TABLE message_threads ADD COLUMN mood TEXT", "Redefined table `message_threads`"),
        ("DROP INDEX message_threads_chat_id", "[+] Added index on columns (chat_id)"),
        ("CREATE TABLE another (id INTEGER PRIMARY KEY)", "- another"),
    ],
)
def test_prisma_sees_what_is_changed(project, hub, change, seen):
    with closing(sqlite3.connect(hub)) as connection:
        connection.execute(change)
        connection.commit()
    assert seen in project.drift(*look(hub)[0].search_tables)
