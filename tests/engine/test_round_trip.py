"""What is exported, imported into an empty hub and exported again is byte-for-byte identical."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.stored_values import dumps
from llmctl.engine.transfer.export import ExportOptions
from llmctl.store.opening import MEMORY, open_hub
from llmctl.store.schema import custom_names, ddl
from llmctl.store.transfer.read import NOT_EXPORTED
from tests.engine.transfer_hubs import count_rows, export_hub, fill_hub, import_text, new_hub, round_trip
from tests.fakes.hub_builder import RENAMED, HubBuilder


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Any, ...]]:
    with closing(new_hub(tmp_path / "full.db")) as database:
        yield database, fill_hub(database)


@pytest.mark.parametrize("names", [{}, RENAMED], ids=["plain", "renamed"])
def test_a_whole_hub_comes_back_byte_for_byte(full: tuple[Any, ...], tmp_path: Path, names: Any) -> None:
    text = export_hub(full[0])
    assert round_trip(text, tmp_path / "other.db", names) == text
    tables = {json.loads(line)["table"] for line in text.splitlines()[1:]}
    assert tables == set(ddl.TABLES) - set(NOT_EXPORTED)


def test_nothing_of_a_hub_is_lost(full: tuple[Any, ...], tmp_path: Path) -> None:
    database, _ = full
    with closing(new_hub(tmp_path / "other.db")) as other:
        report = import_text(other, export_hub(database))
        assert not report.problem_count
        tables = [table for table in ddl.TABLES if table not in NOT_EXPORTED]
        assert count_rows(other, *tables) == count_rows(database, *tables)
        for sums in ("usage_hourly", "activity_daily"):
            every = f"SELECT * FROM {{{sums}}} ORDER BY 1, 2, 3"
            assert other.query(every) == database.query(every) != []
        assert other.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'gone'") == 1
        assert not list(other.connection.execute("PRAGMA foreign_key_check"))


@pytest.mark.parametrize("name", ["first", "fork"])
def test_a_conversation_comes_back_with_all_that_belongs_to_it(
    full: tuple[Any, ...], tmp_path: Path, name: str
) -> None:
    database, _ = full
    wish = ExportOptions(chats=[name])
    text = export_hub(database, wish)
    with closing(new_hub(tmp_path / "other.db")) as other:
        import_text(other, text)
        assert export_hub(other, wish) == text
        assert count_rows(other, "chats", "metrics") == [1, 0]
        tables = {json.loads(line)["table"] for line in text.splitlines()[1:]}
        wanted = {"tools", "jobs", "requests", "network_calls", "response_streams", "messages", "model_connections"}
        assert wanted - tables <= ({"tools"} if name == "first" else set())


def test_columns_come_in_one_order_whenever_they_were_added(full: tuple[Any, ...], tmp_path: Path) -> None:
    database, _ = full
    with closing(new_hub(tmp_path / "other.db")) as other:
        for hub, names in ((database, ("alpha", "zeta")), (other, ("zeta", "alpha"))):
            custom_names.add_fields(hub, [custom_names.parse_field(f"chats.{name}:text") for name in names])
        database.execute("UPDATE {chats} SET alpha = 'a', zeta = 'z'")
        import_text(other, export_hub(database))
        assert export_hub(other) == export_hub(database)


def test_an_export_is_of_one_moment(full: tuple[Any, ...]) -> None:
    from llmctl.engine.transfer import export

    database, chats = full
    wish = ExportOptions(everything=True)
    before = export_hub(database)
    with closing(open_hub(database.path, "read")) as reading:
        pieces = export.stream_export(reading, wish, export.select_rows(reading, wish))
        first = next(pieces)
        HubBuilder(database).message(chats["first"], "user", "said meanwhile")
        assert first + "".join(pieces) == before


_TEXTS = st.text(max_size=40) | st.sampled_from(["\0", "a\0b", "\ufeff", "\u2028\x85\r\n", "\U0010fffd", "'\"\\"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(_TEXTS, min_size=1, max_size=4), metadata=st.dictionaries(_TEXTS, _JSON, max_size=3))
def test_odd_content_comes_back(texts: Any, metadata: Any) -> None:
    with closing(open_hub(MEMORY, "create")) as database, closing(open_hub(MEMORY, "create")) as other:
        rows = HubBuilder(database)
        chat = rows.chat(None, metadata=dumps(metadata), description=texts[0])
        for text in texts:
            rows.message(chat, "user", text, content_raw=dumps([{"type": "text", "text": text}]))
        text = export_hub(database)
        import_text(other, text)
        assert export_hub(other) == text
        assert [row["content"] for row in other.query("SELECT content FROM {messages} ORDER BY seq")] == texts


@pytest.mark.parametrize(
    "document",
    [
        '{"a": 1}',
        '{"a":1e5}',
        '{"a":1,"a":2}',
        '{"base64":"aGk="}',
        '{"a":' + "[" * 89 + "]" * 89 + "}",
        '{"a":' * 400 + "1" + "}" * 400,
        '{"a":123456789012345678901234567890}',
        '{"a":"\\u00fc"}',
    ],
    ids=["spaces", "exponent", "twice", "bytes", "deep", "deeper", "long", "escape"],
)
def test_documents_come_back_as_they_were_written(document: str) -> None:
    with closing(open_hub(MEMORY, "create")) as database, closing(open_hub(MEMORY, "create")) as other:
        HubBuilder(database).chat("one", metadata=document)
        import_text(other, export_hub(database))
        assert other.value("SELECT metadata FROM {chats}") == document


def test_a_message_of_ten_megabytes_comes_back(tmp_path: Path) -> None:
    with closing(new_hub(tmp_path / "hub.db")) as database:
        rows = HubBuilder(database)
        rows.message(rows.chat("long"), "user", "0123456789" * 1_000_000)
        text = export_hub(database)
    assert round_trip(text, tmp_path / "other.db") == text
