"""Long texts of the ledger take fewer bytes than they have; whoever reads them sees them whole."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.stored_values import dumps
from llmctl.engine.inspect import replay
from llmctl.store import compact
from llmctl.store.database import Database, Delete, Insert, Update
from llmctl.store.maintenance import compaction, delete, prune, scrub
from llmctl.store.opening import open_hub
from llmctl.store.records import requests
from tests.engine.transfer_hubs import export_hub, import_text
from tests.fakes.hub_builder import RENAMED, HubBuilder

LONG = "You are a patient assistant. " * 100
TOOLS = [{"name": f"tool_{number}", "description": "does something useful " * 3} for number in range(9)]
BODIES = {
    "anthropic": {"model": "m", "system": LONG, "messages": [{"role": "user", "content": "hi"}], "tools": TOOLS},
    "openai-chat": {"messages": [{"role": "system", "content": LONG}, {"role": "user", "content": "hi"}], "n": 1.5},
    "openai-responses": {"instructions": LONG, "input": [{"role": "user", "content": [{"text": "hi"}]}]},
    "gemini": {"contents": [{"parts": [{"text": "hi"}]}], "systemInstruction": {"parts": [{"text": LONG}]}},
    "odd keys": {"a/b": LONG, "": LONG, "null": None, "system": LONG, "messages": {"role": "user"}},
}


@pytest.fixture(params=[{}, RENAMED], ids=["plain", "renamed"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    from llmctl.store.opening import create

    create(str(tmp_path / "hub.db"), request.param)
    with closing(open_hub(str(tmp_path / "hub.db"), "write")) as database:
        yield HubBuilder(database)


def call(hub: HubBuilder, body: Any, request_id: str | None = None) -> str:
    """Store an HTTP attempt as the recorder does."""
    request_id = request_id or hub.insert("requests", provider="openai", model="m", origin="llmctl")
    text = body if isinstance(body, str) else dumps(body)
    row = {"request_id": request_id, "endpoint": "https://x", "method": "POST", "body": text}
    hub.insert("network_calls", **row, body_hash=sha256(text.encode()).hexdigest())
    return request_id


def stored_bytes(database: Database, table: str, *columns: str) -> int:
    sums = " + ".join(f"coalesce(sum(length({column})), 0)" for column in columns)
    return int(database.value(f"SELECT {sums} FROM {{{table}}}"))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_body_parts_come_back_byte_for_byte(body: Any) -> None:
    text = dumps(body)
    rest, shared = compact.split_body(text)
    assert shared
    assert len(rest) < len(text) / 2
    assert compact.join_body(rest, shared) == text


@pytest.mark.parametrize(
    "text",
    ["", "not JSON" * 200, "[1, 2]", dumps({"messages": [LONG]}), json.dumps({"system": LONG}), '{"a":' * 5000],
    ids=["empty", "no JSON", "list", "nothing repeats", "written with spaces", "deeply nested"],
)
def test_a_body_that_cannot_be_split_stays_as_it_is(text: str) -> None:
    assert compact.split_body(text) == (text, None)


def test_a_repeated_part_of_bodies_is_stored_once(hub: HubBuilder) -> None:
    long = "".join(chr(33 + hash_byte % 90) for n in range(2000) for hash_byte in sha256(str(n).encode()).digest())
    bodies = [{"system": long, "messages": [{"role": "user", "content": f"question {n}"}]} for n in range(20)]
    ids = [call(hub, body) for body in bodies]
    database = hub.database
    assert database.value("SELECT count(*) FROM {bodies}") == 1
    parts = stored_bytes(database, "bodies", "text", "text_gz")
    assert stored_bytes(database, "network_calls", "body") + parts < 1.1 * len(long)
    for id, body in zip(ids, bodies, strict=True):
        (row,) = requests.list_attempts(database, id)
        assert row["body"] == dumps(body)
        assert "shared_body_id" not in row


def test_parts_go_with_the_last_call_that_has_them(hub: HubBuilder) -> None:
    database = hub.database
    chats = [hub.chat() for _ in range(2)]
    for chat in chats:
        call(hub, BODIES["anthropic"], hub.turn(chat, "hi", "hello")["request"])
    delete.delete_chat(database, chats[0]["id"])
    assert database.value("SELECT count(*) FROM {bodies}") == 1
    delete.delete_chat(database, chats[1]["id"])
    assert database.value("SELECT count(*) FROM {bodies}") == 0
    row = call(hub, BODIES["anthropic"])
    database.commit(Delete("network_calls", {"request_id": row}))
    assert database.value("SELECT count(*) FROM {bodies}") == 0
    call(hub, BODIES["anthropic"])
    database.execute("UPDATE {network_calls} SET status = 'success'")
    assert sum(prune.prune_kind(database, "http", "2999-01-01T00:00:00.000+00:00")) > 0
    assert database.value("SELECT count(*) FROM {bodies}") == 0


def test_a_long_stream_is_compressed_and_a_short_one_is_text(hub: HubBuilder) -> None:
    database, chat = hub.database, hub.chat()
    short, long = hub.turn(chat, "a", "short"), hub.turn(chat, "b", "word " * 400)
    rows = {row["id"]: row for row in database.rows("SELECT * FROM {response_streams}")}
    assert "short" in rows[short["stream"]]["raw_output"]
    assert rows[short["stream"]]["raw_output_gz"] is None
    assert rows[long["stream"]]["raw_output"] is None
    whole = gzip.decompress(rows[long["stream"]]["raw_output_gz"])
    for ids in (short, long):
        row = requests.find_request_stream(database, ids["request"])
        assert row
        assert requests.find_message_stream(database, ids["message"]) == row
        assert "raw_output_gz" not in row
        assert requests.read_stream(database, row)[0] == row["raw_output"].encode()
        assert requests.stream_bytes(database, row) in (whole, gunzip(rows[short["stream"]]).encode())
    texts = database.query("SELECT gunzip(coalesce(raw_output_gz, raw_output)) AS text FROM {response_streams}")
    assert [text["text"] for text in texts] == [gunzip(rows[ids["stream"]]) for ids in (short, long)]
    assert database.value("SELECT gunzip(NULL)") is None
    database.commit(Update("response_streams", long["stream"], {"raw_output": "x" * 2000, "status": "completed"}))
    again = requests.find_request_stream(database, long["request"])
    assert again
    assert again["raw_output"] == "x" * 2000


def gunzip(row: Any) -> str:
    return str(row["raw_output"] or gzip.decompress(row["raw_output_gz"]).decode())


def test_an_export_has_whole_texts_and_an_import_compacts_them(hub: HubBuilder, tmp_path: Path) -> None:
    chat = hub.chat("one")
    call(hub, BODIES["anthropic"], hub.turn(chat, "b", "word " * 400)["request"])
    text = export_hub(hub.database)
    assert "raw_output_gz" not in text
    assert "shared_body_id" not in text
    assert any(
        row.get("row", {}).get("body") == dumps(BODIES["anthropic"]) for row in map(json.loads, text.splitlines())
    )
    forged = text.replace('"body":', '"shared_body_id":7,"body":')
    with closing(open_hub(str(tmp_path / "other.db"), "create")) as other:
        import_text(other, forged)
        assert export_hub(other) == text
        assert other.value("SELECT count(*) FROM {bodies}") == 1
        assert other.value("SELECT count(raw_output_gz) FROM {response_streams}") == 1
        later = text.replace("2026-10-05T12", "2026-10-05T13").replace("word word ", "")
        import_text(other, later)
        assert other.value("SELECT count(*) FROM {response_streams}") == 1


def test_a_secret_is_scrubbed_from_compressed_text(hub: HubBuilder) -> None:
    database, chat = hub.database, hub.chat("one")
    secret = "zanzibar-0123456789"
    turn = hub.turn(chat, "b", f"word {secret} " * 200)
    body = {"system": f"{LONG} {secret}", "messages": [{"role": "user", "content": "hi"}]}
    call(hub, body, turn["request"])
    call(hub, body | {"system": f"{LONG} [scrubbed]"})
    found = scrub.scrub(database, secret)
    assert {"response_streams.raw_output_gz", "bodies.text_gz"} <= found.places.keys()
    text = export_hub(database)
    assert secret not in text
    assert text.count("[scrubbed]") > 200


def test_a_request_is_rebuilt_from_its_compacted_rows(hub: HubBuilder) -> None:
    database = hub.database
    request = call(hub, dumps({"input": ["a", "b"], "model": "m", "options": {"text": LONG}}))
    database.commit(Update("requests", request, {"type": "embedding"}))
    rebuilt = replay.rebuild_request(database, requests.get(database, request))
    assert not rebuilt.differs
    assert LONG in rebuilt.body.decode()


def test_an_insert_keeps_the_row_of_the_caller(hub: HubBuilder) -> None:
    row = {"id": "n1", "endpoint": "x", "method": "POST", "body": dumps(BODIES["anthropic"])}
    before = dict(row)
    hub.database.commit(Insert("network_calls", row))
    assert row == before


def fill_earlier(hub: HubBuilder, number: int) -> str:
    """Store rows as an earlier version did; return the export of the hub."""
    database, chat = hub.database, hub.chat("old")
    for place in range(number):
        turn = hub.turn(chat, f"question {place}", "word " * 300)
        call(hub, {"system": LONG, "messages": [{"role": "user", "content": f"{place}"}]}, turn["request"])
    for row in database.query("SELECT * FROM {response_streams}"):
        text = compact.restore_stream(row)["raw_output"]
        database.execute(
            "UPDATE {response_streams} SET raw_output = ?, raw_output_gz = NULL WHERE id = ?", (text, row["id"])
        )
    for row in database.query("SELECT * FROM {network_calls}"):
        shared = database.value(
            "SELECT gunzip(coalesce(text_gz, text)) FROM {bodies} WHERE id = ?", (row["shared_body_id"],)
        )
        body = compact.whole_body(row["body"], shared)
        database.execute("UPDATE {network_calls} SET body = ?, shared_body_id = NULL WHERE id = ?", (body, row["id"]))
    assert database.value("SELECT count(*) FROM {bodies}") == 0
    return export_hub(database)


def test_rows_of_an_earlier_version_are_compacted(hub: HubBuilder) -> None:
    database = hub.database
    before = fill_earlier(hub, 5)
    seen: list[tuple[int, int]] = []
    compaction.compact_rows(database, lambda done, total: seen.append((done, total)))
    assert seen
    assert all(done <= total for done, total in seen)
    assert database.value("SELECT count(*) FROM {response_streams} WHERE raw_output IS NOT NULL") == 0
    assert database.value("SELECT count(*) FROM {bodies}") == 1
    assert export_hub(database) == before
    changes = database.connection.total_changes
    compaction.compact_rows(database, lambda done, total: None)
    assert database.connection.total_changes == changes


def test_compacting_goes_on_where_it_was_stopped(hub: HubBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    database = hub.database
    before = fill_earlier(hub, 6)
    monkeypatch.setattr(compaction, "_GROUP_ROWS", 2)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compaction.compact_rows(database, stop)
    assert database.value("SELECT count(raw_output_gz) FROM {response_streams}") == 2
    assert export_hub(database) == before
    compaction.compact_rows(database, lambda done, total: None)
    assert database.value("SELECT count(raw_output_gz) FROM {response_streams}") == 6
    assert export_hub(database) == before


def test_text_that_changes_while_it_is_compressed_is_left_alone(
    hub: HubBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = hub.database
    fill_earlier(hub, 1)
    compress, split = compact.compress, compact.split_body

    def scrub_meanwhile(text: str) -> bytes:
        database.execute("UPDATE {response_streams} SET raw_output = 'clean'")
        return compress(text)

    def delete_meanwhile(text: str) -> tuple[str, str | None]:
        database.execute("UPDATE {network_calls} SET body = NULL")
        return split(text)

    monkeypatch.setattr(compaction, "compress", scrub_meanwhile)
    monkeypatch.setattr(compaction, "split_body", delete_meanwhile)
    compaction.compact_rows(database, lambda done, total: None)
    assert database.query("SELECT raw_output, raw_output_gz FROM {response_streams}") == [
        {"raw_output": "clean", "raw_output_gz": None}
    ]
    assert database.value("SELECT count(*) FROM {network_calls} WHERE body IS NOT NULL") == 0
    assert database.value("SELECT count(*) FROM {bodies}") == 0
