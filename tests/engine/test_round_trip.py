"""What is exported, imported into an empty hub and exported again is the same to the byte."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.stored_json import dumps
from llmctl.engine.transfer.export import Wish
from llmctl.store.opening import MEMORY, open_hub
from llmctl.store.schema import custom_fields, ddl
from llmctl.store.transfer.plan import DERIVED
from tests.engine.transfer_stage import counts, exported, fill, imported, new_hub, through
from tests.store.rows import RENAMED, Rows


@pytest.fixture
def full(tmp_path):
    with closing(new_hub(tmp_path / "full.db")) as database:
        yield database, fill(database)


@pytest.mark.parametrize("names", [{}, RENAMED], ids=["plain", "renamed"])
def test_a_whole_hub_comes_back_byte_for_byte(full, tmp_path, names):
    text = exported(full[0])
    assert through(text, tmp_path / "other.db", names) == text
    tables = {json.loads(line)["table"] for line in text.splitlines()[1:]}
    assert tables == set(ddl.TABLES) - set(DERIVED)


def test_nothing_of_a_hub_is_lost(full, tmp_path):
    database, _ = full
    with closing(new_hub(tmp_path / "other.db")) as other:
        report = imported(other, exported(database))
        assert not report.problem_count
        tables = [table for table in ddl.TABLES if table not in DERIVED]
        assert counts(other, *tables) == counts(database, *tables)
        for sums in ("usage_hourly", "activity_daily"):
            every = f"SELECT * FROM {{{sums}}} ORDER BY 1, 2, 3"
            assert other.query(every) == database.query(every) != []
        assert other.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'gone'") == 1
        assert not list(other.connection.execute("PRAGMA foreign_key_check"))


@pytest.mark.parametrize("name", ["first", "fork"])
def test_a_conversation_comes_back_with_all_that_belongs_to_it(full, tmp_path, name):
    database, _ = full
    wish = Wish(chats=[name])
    text = exported(database, wish)
    with closing(new_hub(tmp_path / "other.db")) as other:
        imported(other, text)
        assert exported(other, wish) == text
        assert counts(other, "chats", "metrics") == [1, 0]
        tables = {json.loads(line)["table"] for line in text.splitlines()[1:]}
        wanted = {"tools", "jobs", "requests", "network_calls", "response_streams", "messages", "model_connections"}
        assert wanted - tables <= ({"tools"} if name == "first" else set())


def test_columns_come_in_one_order_whenever_they_were_added(full, tmp_path):
    database, _ = full
    with closing(new_hub(tmp_path / "other.db")) as other:
        for hub, names in ((database, ("alpha", "zeta")), (other, ("zeta", "alpha"))):
            custom_fields.add(hub, [custom_fields.parse(f"chats.{name}:text") for name in names])
        database.execute("UPDATE {chats} SET alpha = 'a', zeta = 'z'")
        imported(other, exported(database))
        assert exported(other) == exported(database)


def test_an_export_is_of_one_moment(full):
    from llmctl.engine.transfer import export

    database, chats = full
    wish = Wish(everything=True)
    before = exported(database)
    with closing(open_hub(database.path, "read")) as reading:
        pieces = export.pieces(reading, wish, export.chosen(reading, wish))
        first = next(pieces)
        Rows(database).message(chats["first"], "user", "said meanwhile")
        assert first + "".join(pieces) == before


_TEXTS = st.text(max_size=40) | st.sampled_from(["\0", "a\0b", "\ufeff", "\u2028\x85\r\n", "\U0010fffd", "'\"\\"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(_TEXTS, min_size=1, max_size=4), metadata=st.dictionaries(_TEXTS, _JSON, max_size=3))
def test_odd_content_comes_back(texts, metadata):
    with closing(open_hub(MEMORY, "create")) as database, closing(open_hub(MEMORY, "create")) as other:
        rows = Rows(database)
        chat = rows.chat(None, metadata=dumps(metadata), description=texts[0])
        for text in texts:
            rows.message(chat, "user", text, content_raw=dumps([{"type": "text", "text": text}]))
        text = exported(database)
        imported(other, text)
        assert exported(other) == text
        assert [row["content"] for row in other.query("SELECT content FROM {messages} ORDER BY seq")] == texts


@pytest.mark.parametrize(
    "document",
    [
        '{"a": 1}',
        '{"a":1e5}',
        '{"a":1,"a":2}',
        '{"base64":"aGk="}',
        "[" * 90 + "]" * 90,
        '{"a":' * 400 + "1" + "}" * 400,
        '{"a":123456789012345678901234567890}',
        '{"a":"\\u00fc"}',
    ],
    ids=["spaces", "exponent", "twice", "bytes", "deep", "deeper", "long", "escape"],
)
def test_documents_come_back_as_they_were_written(document):
    with closing(open_hub(MEMORY, "create")) as database, closing(open_hub(MEMORY, "create")) as other:
        Rows(database).chat("one", metadata=document)
        imported(other, exported(database))
        assert other.value("SELECT metadata FROM {chats}") == document


def test_a_message_of_ten_megabytes_comes_back(tmp_path):
    with closing(new_hub(tmp_path / "hub.db")) as database:
        rows = Rows(database)
        rows.message(rows.chat("long"), "user", "0123456789" * 1_000_000)
        text = exported(database)
    assert through(text, tmp_path / "other.db") == text
