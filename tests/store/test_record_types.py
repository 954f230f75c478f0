"""The row types: generated from ``schema/``, immutable, tolerant of older and extended tables."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.values import TypedRow
from llmctl.store.database import Database
from llmctl.store.opening import MEMORY, open_hub
from llmctl.store.records import types
from llmctl.store.records.types import AgentRow, ChatRow

ROOT = Path(__file__).parent.parent.parent
GENERATOR: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "generate_records.py"))


def test_committed_file_matches_the_generator() -> None:
    committed = (ROOT / "llmctl" / "store" / "records" / "types.py").read_text(encoding="utf-8")
    assert committed == GENERATOR["render"](), "run: python scripts/generate_records.py"


def test_committed_trigger_of_the_rollups_matches_the_generator() -> None:
    generator = runpy.run_path(str(ROOT / "scripts" / "generate_rollups.py"))
    committed = (ROOT / "schema" / "860_rollups.sql").read_text(encoding="utf-8")
    assert committed == generator["render"](), "run: python -m scripts.generate_rollups"


@pytest.mark.parametrize("table", GENERATOR["CLASSES"])
def test_fields_are_the_columns_of_the_table(table: str) -> None:
    row_type: type[TypedRow] = getattr(types, GENERATOR["CLASSES"][table])
    with_columns = open_hub(MEMORY, "create").query(f"PRAGMA table_info({{{table}}})")
    columns = {column["name"]: dict.fromkeys(("x",)) for column in with_columns}
    assert columns
    assert list(row_type.from_row(columns).to_dict()) == list(columns)


@pytest.fixture
def hub() -> Database:
    return open_hub(MEMORY, "create")


def test_values_are_those_of_the_row(hub: Database) -> None:
    hub.execute("INSERT INTO {chats} (id, name, metadata) VALUES ('c', 'n', '{\"a\":1}')")
    row = hub.one("SELECT * FROM {chats}")
    assert row is not None
    chat = ChatRow.from_row(row)
    assert (chat.id, chat.name, chat.metadata, chat.last_turn_terminal) == ("c", "n", '{"a":1}', 0)
    assert chat.to_dict() == row
    assert "name='n'" in repr(chat)


def test_custom_columns_are_ignored(hub: Database) -> None:
    hub.execute("INSERT INTO {chats} (id) VALUES ('c')")
    row = hub.one("SELECT *, 7 AS priority FROM {chats}")
    assert row is not None
    assert "priority" not in ChatRow.from_row(row).to_dict()


def test_row_cannot_be_changed(hub: Database) -> None:
    hub.execute("INSERT INTO {chats} (id) VALUES ('c')")
    chat = ChatRow.find_row(hub.one("SELECT * FROM {chats}"))
    assert chat is not None
    with pytest.raises(AttributeError):
        chat.name = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        chat.priority = 1


def test_missing_column_has_its_default(hub: Database) -> None:
    hub.execute("INSERT INTO {agents} (id, name) VALUES ('a', 'n')")
    row = hub.one("SELECT * FROM {agents}")
    assert row is not None
    del row["settings"]
    assert AgentRow.from_row(row).settings == "{}"
    del row["name"]
    with pytest.raises(KeyError):
        AgentRow.from_row(row)


def test_no_row_is_none() -> None:
    assert ChatRow.find_row(None) is None
