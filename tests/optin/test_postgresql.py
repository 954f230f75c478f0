"""The emitted SQL on a real PostgreSQL: it makes every table, and the rules hold there too."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmctl.store.emit import sql
from tests.optin.postgresql import PostgresServer
from tests.store.sample_hubs import ODD_NAMES, USER_SQL, make_hub, read_catalog


@pytest.mark.parametrize("kind", ["plain", "odd"])
def test_postgresql_takes_the_schema(postgresql: PostgresServer, tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "hub.db")
    catalogue, names = read_catalog(make_hub(path) if kind == "plain" else make_hub(path, ODD_NAMES, USER_SQL))
    postgresql.psql("postgres", f"CREATE DATABASE {kind};")
    postgresql.psql(kind, sql.emit(catalogue, names, dialect="postgresql"))
    made = postgresql.psql(kind, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public';")
    assert set(made.splitlines()) == {table.name for table in catalogue.tables}


def test_rules_hold_on_postgresql(postgresql: PostgresServer, tmp_path: Path) -> None:
    catalogue, names = read_catalog(make_hub(str(tmp_path / "hub.db")))
    postgresql.psql("postgres", "CREATE DATABASE rules;")
    postgresql.psql("rules", sql.emit(catalogue, names, dialect="postgresql"))
    postgresql.psql(
        "rules",
        "INSERT INTO chats (id) VALUES ('c'); INSERT INTO requests (id, chat_id, provider, model)"
        " VALUES ('r', 'c', 'openai', 'm'); DELETE FROM chats;",
    )
    assert postgresql.psql("rules", "SELECT id, chat_id IS NULL, refs, status FROM requests;") == "r|t|{}|completed\n"
    with pytest.raises(AssertionError, match="requests_status_check"):
        postgresql.psql("rules", "UPDATE requests SET status = 'lost';")
