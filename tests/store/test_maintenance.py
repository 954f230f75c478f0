"""Looking after the file: checks, copies, restoring, vacuum, striking a secret out."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core import clock
from llmctl.core.errors import LockedError, NotFoundError, StorageError, UsageError
from llmctl.core.stored_values import new_id
from llmctl.store.database import Database, Delete, Insert, empty_wal
from llmctl.store.maintenance import backup, delete, integrity, prune, scrub
from llmctl.store.opening import open_hub
from llmctl.store.schema import custom_names, ddl
from tests.fakes.hub_builder import HubBuilder

SECRET = 'sk-live/"0123456789abcdef'
ORIGIN = {"origin": "llmctl"}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "hub.db")


@pytest.fixture
def hub(path: str) -> Iterator[Database]:
    with closing(open_hub(path, "create")) as database:
        yield database


def say(database: Database, text: str | None, **more: Any) -> Any:
    id = new_id()
    if not database.value("SELECT 1 FROM {chats} WHERE id = 'c1'"):
        database.commit(Insert("chats", {"id": "c1", "origin": "llmctl"}))
        database.commit(Insert("message_threads", {"id": "t1", "chat_id": "c1"}))
    seq = database.value("SELECT 1 + coalesce(max(seq), 0) FROM {messages}")
    row = {"id": id, "chat_id": "c1", "thread_id": "t1", "seq": seq, "role": "user", "content": text}
    database.commit(Insert("messages", row | ORIGIN | more))
    return id


def problems(database: Database, **how: Any) -> dict[Any, Any]:
    return {finding.name: finding.problem for finding in integrity.run_checks(database, **how) if finding.problem}


def test_sound_hub_has_no_findings(hub: Database) -> None:
    say(hub, "hello")
    assert problems(hub) == {}
    with closing(open_hub(hub.path)) as reader:
        assert [finding.name for finding in integrity.run_checks(reader)][:3] == ["integrity", "references", "orphans"]


def test_check_finds_a_reference_to_nothing(hub: Database) -> None:
    hub.execute("PRAGMA foreign_keys=OFF")
    say(hub, "hello")
    hub.execute("DELETE FROM {chats}")
    assert "2 rows have dangling foreign keys" in problems(hub)["references"]


def test_check_finds_a_stale_search_index(hub: Database) -> None:
    say(hub, "hello")
    hub.execute("DROP TRIGGER message_search_insert")
    say(hub, "unheard")
    with closing(open_hub(hub.path)) as reader:
        assert "search" in problems(reader)
        assert reader.value("PRAGMA query_only") == 1
    integrity.vacuum(hub)
    assert "search" not in problems(hub)


def test_check_finds_abandoned_rows(hub: Database) -> None:
    say(hub, None, role="assistant", status="pending")
    request = {"id": "r1", "provider": "echo", "model": "echo", "status": "pending"}
    hub.commit(Insert("requests", request | ORIGIN))
    assert problems(hub)["stuck"] == "unfinished, with no job working on them: 1 messages, 1 requests"


def test_check_ignores_rows_of_running_jobs(hub: Database) -> None:
    hub.commit(Insert("jobs", {"id": "j1", "name": "turn", "type": "turn", "status": "running"}))
    say(hub, None, role="assistant", status="pending", job_id="j1")
    assert problems(hub) == {}


def test_check_gives_another_programs_placeholder_ten_minutes(hub: Database) -> None:
    say(hub, None, role="assistant", status="pending", origin="orm")
    assert problems(hub) == {}
    say(hub, None, role="assistant", status="pending", origin="orm", created_at=clock.add_seconds(clock.now(), -601))
    assert "1 messages" in problems(hub)["stuck"]


def test_check_finds_a_ledger_that_was_not_counted(hub: Database) -> None:
    hub.execute("DROP TRIGGER requests_usage_insert")
    hub.commit(Insert("requests", {"id": "r1", "provider": "echo", "model": "echo"} | ORIGIN))
    assert problems(hub)["usage"].startswith("1 requests are missing from the totals by hour")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE {usage_daily} SET cost = cost + 1", "the totals by day differ from those by hour"),
        ("UPDATE {usage_monthly} SET output_tokens = 0", "the totals by month are lower than those of the requests"),
        ("DELETE FROM {usage_hourly}", "2 requests are missing from the totals by hour"),
        ("UPDATE {activity_daily} SET messages = 1", "3 messages or tool calls are missing from the totals by day"),
    ],
)
def test_check_finds_stale_rollups(hub: Database, change: str, problem: str) -> None:
    rows = HubBuilder(hub)
    chat = rows.chat()
    for number in range(2):
        rows.turn(chat, "hello", "hi", cost=0.1 * number)
    assert problems(hub) == {}
    hub.execute(change)
    assert problem in problems(hub)["usage"]


def test_check_allows_rollups_of_deleted_rows(hub: Database) -> None:
    rows = HubBuilder(hub)
    chat = rows.chat()
    turn = rows.turn(chat, "hello", "hi")
    hub.execute("DELETE FROM {requests} WHERE id = ?", (turn["request"],))  # as --no-persist requests does
    delete.delete_chat(hub, chat["id"])
    assert problems(hub) == {}


def test_check_finds_files_that_no_message_has(hub: Database) -> None:
    rows = HubBuilder(hub)
    chat = rows.chat()
    rows.attach(rows.message(chat, "user", "look"), b"bytes")
    assert problems(hub) == {}
    hub.execute("DELETE FROM {chats} WHERE id = ?", (chat["id"],))  # as another program does
    assert problems(hub)["attachments"] == "1 unused attachment, 5 bytes"
    assert list(prune.prune_kind(hub, "attachments", clock.add_seconds(clock.now(), 1))) == [1]
    assert problems(hub) == {}


def test_check_finds_a_damaged_page(hub: Database, path: str) -> None:
    for number in range(200):
        say(hub, f"message {number} " + "x" * 500)
    empty_wal(hub.connection)
    hub.close()
    with open(path, "r+b") as file:
        for page in range(10, os.path.getsize(path) // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 8)
    assert damage(path)


def damage(path: str) -> Any:
    """Return what is found wrong with a file, whether it still opens or not."""
    try:
        with closing(open_hub(path)) as reader:
            return problems(reader, quick=True).get("integrity")
    except StorageError as error:
        return error.reason == "corrupt"


def test_copy_is_whole_closed_to_others_and_one_file(hub: Database, tmp_path: Path) -> None:
    say(hub, "hello")
    copy = str(tmp_path / "copy.db")
    seen = []
    backup.back_up(hub, copy, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    assert sorted(name for name in os.listdir(tmp_path) if name.startswith("copy")) == ["copy.db"]
    with closing(open_hub(copy)) as database:
        assert database.value("SELECT content FROM {messages}") == "hello"
        assert problems(database) == {}


def test_copy_is_made_while_another_process_writes(hub: Database, path: str, tmp_path: Path) -> None:
    say(hub, "hello")
    with closing(open_hub(path, "write")) as writer:
        writer.connection.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE {chats} SET description = 'half'")
        backup.back_up(hub, str(tmp_path / "copy.db"))
        writer.connection.execute("ROLLBACK")
    with closing(open_hub(str(tmp_path / "copy.db"))) as copy:
        assert copy.value("SELECT description FROM {chats}") is None


def test_copy_needs_force_to_overwrite(hub: Database, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    with pytest.raises(UsageError, match="already exists"):
        backup.back_up(hub, str(copy))
    assert copy.read_text() == "precious"
    backup.back_up(hub, str(copy), force=True)
    with closing(open_hub(str(copy))):
        pass


def test_copy_onto_the_hub_itself_is_refused(hub: Database, path: str) -> None:
    for target in (path, os.path.join(os.path.dirname(path), ".", "hub.db")):
        with pytest.raises(UsageError, match="is the hub itself"):
            backup.back_up(hub, target, force=True)


def test_copy_into_no_folder_leaves_nothing(hub: Database, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file or directory"):
        backup.back_up(hub, str(tmp_path / "gone" / "copy.db"))
    with pytest.raises(UsageError, match="is a folder"):
        backup.back_up(hub, str(tmp_path))


def test_restore_brings_the_copy_back_and_keeps_the_old_hub(hub: Database, path: str, tmp_path: Path) -> None:
    say(hub, "first")
    backup.back_up(hub, str(tmp_path / "copy.db"))
    say(hub, "second")
    with closing(open_hub(path)) as reader:
        kept = backup.restore(path, str(tmp_path / "copy.db"))
        assert reader.query("SELECT content FROM {messages}") == [{"content": "first"}]
    assert hub.query("SELECT content FROM {messages}") == [{"content": "first"}]
    say(hub, "third")
    assert kept
    with closing(open_hub(kept)) as old:
        assert old.query("SELECT content FROM {messages}") == [{"content": "first"}, {"content": "second"}]
    with closing(open_hub(path)) as database:
        assert problems(database) == {}
        assert database.value("PRAGMA journal_mode") == "wal"


def test_restore_leaves_a_reader_its_view_until_it_is_done(hub: Database, path: str, tmp_path: Path) -> None:
    say(hub, "first")
    backup.back_up(hub, str(tmp_path / "copy.db"))
    say(hub, "second")
    with closing(open_hub(path)) as reader:
        reader.connection.execute("BEGIN")
        assert reader.value("SELECT count(*) FROM {messages}") == 2
        backup.restore(path, str(tmp_path / "copy.db"))
        assert reader.value("SELECT count(*) FROM {messages}") == 2
        reader.connection.execute("COMMIT")
        assert reader.value("SELECT count(*) FROM {messages}") == 1


def test_restore_of_another_page_size_works(hub: Database, path: str, tmp_path: Path) -> None:
    say(hub, "first")
    copy = str(tmp_path / "copy.db")
    backup.back_up(hub, copy)
    hub.close()
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size=8192")
        connection.execute("VACUUM")
    backup.restore(path, copy)
    with closing(open_hub(path)) as database:
        assert database.value("PRAGMA page_size") == 8192
        assert database.value("PRAGMA journal_mode") == "wal"
        assert database.value("SELECT content FROM {messages}") == "first"


def test_restore_where_there_is_no_hub_makes_one(hub: Database, tmp_path: Path) -> None:
    say(hub, "first")
    backup.back_up(hub, str(tmp_path / "copy.db"))
    place = str(tmp_path / "other.db")
    assert backup.restore(place, str(tmp_path / "copy.db")) is None
    with closing(open_hub(place, "write")) as database:
        assert database.value("PRAGMA journal_mode") == "wal"
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o600


def test_restore_over_a_damaged_hub_keeps_what_was_there(hub: Database, tmp_path: Path) -> None:
    say(hub, "first")
    backup.back_up(hub, str(tmp_path / "copy.db"))
    place = tmp_path / "other.db"
    place.write_bytes(b"this is no database at all, but it may be precious" * 100)
    kept = backup.restore(str(place), str(tmp_path / "copy.db"))
    assert kept
    assert "damaged" in kept
    with open(kept, "rb") as file:
        assert file.read().startswith(b"this is no database")
    with closing(open_hub(str(place))) as database:
        assert database.value("SELECT content FROM {messages}") == "first"


def test_restore_refuses_what_is_no_hub_and_changes_nothing(hub: Database, path: str, tmp_path: Path) -> None:
    say(hub, "first")
    (tmp_path / "text").write_text("no database" * 100)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    for name, error in (("text", StorageError), ("other.db", StorageError), ("gone", NotFoundError)):
        with pytest.raises(error):
            backup.restore(path, str(tmp_path / name))
    assert backup.list_backups(path) == []
    assert hub.value("SELECT content FROM {messages}") == "first"


def test_restore_refuses_a_copy_of_a_newer_program(hub: Database, path: str, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    backup.back_up(hub, copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(f"PRAGMA user_version={ddl.VERSION + 1}")
    with pytest.raises(StorageError, match="newer llmctl"):
        backup.restore(path, copy)


def test_vacuum_gives_space_back_and_search_still_finds(hub: Database) -> None:
    for number in range(300):
        say(hub, f"word{number} " + "x" * 3000)
    hub.execute("DELETE FROM {messages} WHERE seq < 290")
    done = integrity.vacuum(hub)
    assert done.after < done.before / 5
    found = hub.query(
        "SELECT m.content FROM message_search s JOIN {messages} m ON m.rowid = s.rowid"
        " WHERE message_search MATCH 'word295'"
    )
    assert [row["content"][:7] for row in found] == ["word295"]
    assert problems(hub) == {}
    assert os.path.getsize(f"{hub.path}-wal") == 0


def test_status_counts_rows(hub: Database, path: str) -> None:
    say(hub, "hello")
    found = integrity.hub_status(hub)
    assert found["path"] == path
    assert (found["chats"], found["messages"], found["connections"], found["running_jobs"]) == (1, 1, 1, 0)
    assert (found["schema_version"], found["mode"], found["journal"]) == (ddl.VERSION, "0600", "wal")


def fill_with(database: Database, secret: Any) -> None:
    """Put a secret into every kind of place; return nothing."""
    escaped, url = json.dumps(secret)[1:-1], "sk-live%2F%220123456789abcdef"
    custom_names.add_fields(database, [custom_names.parse_field("chats.note:text")])
    first = say(database, f"my key is {secret}, keep it")
    say(database, None, role="assistant", status="completed", content_raw=json.dumps([{"text": secret}]))
    chat = {"id": "c2", "name": f"about {secret}", "note": secret, "metadata": json.dumps({"k": secret})}
    request = {"id": "r1", "provider": "echo", "model": "echo", "tag": secret, "error": f"bad key {secret}"}
    body = json.dumps({"content": json.dumps({"inner": secret})})
    call = {"id": "n1", "request_id": "r1", "endpoint": f"https://x/?key={url}", "method": "POST", "body": body}
    stream = {"id": "s1", "request_id": "r1", "status": "completed", "raw_output": events(secret)}
    content = b"\xff" + secret.encode()
    database.commit(
        Insert("chats", chat | ORIGIN),
        Insert("message_threads", {"id": "t2", "chat_id": "c2"}),
        Insert("requests", request | ORIGIN),
        Insert("network_calls", call),
        Insert("response_streams", stream),
        Insert("response_streams", {"id": "s2", "status": "pending"}),
        Insert("attachments", {"id": "a1", "media_type": "text/plain", "content_hash": "h", "content": content}),
        Insert("message_attachments", {"id": "m1", "message_id": first, "attachment_id": "a1"}),
        Insert("text_logs", {"id": "l1", "text": f"begin {secret[:9]}"}),
        Insert("text_logs", {"id": "l2", "series_id": "l1", "position": 1, "text": f"{secret[9:]} end"}),
        Insert("tool_invocations", {"id": "i1", "tool_call_id": "x", "name": "t", "arguments": f'{{"a":"{escaped}"}}'}),
    )
    data = events(secret).encode()
    for number, start in enumerate(range(0, len(data), 7)):
        row = {"stream_id": "s2", "seq": number, "elapsed": 1, "data": data[start : start + 7]}
        database.commit(Insert("stream_chunks", row))
    database.execute("CREATE TABLE mine (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
    database.execute("INSERT INTO mine VALUES ('a', ?)", (secret,))


def events(text: str) -> str:
    """Return a stream that brings a text in pieces of three characters."""
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
    lines = ["data: " + json.dumps({"choices": [{"delta": {"content": piece}}]}) for piece in ["my key: ", *pieces]]
    return "\n\n".join([*lines, "data: [DONE]", ""])


def forms_in(path: str, secret: Any) -> list[Any]:
    """Return the forms of a secret that the hub's files hold, and its pieces as events have them."""
    encoded = b64encode(b"\0" + secret.encode())[2:-4]
    forms = [secret.encode(), json.dumps(secret)[1:-1].encode(), b"0123456789abcdef", encoded]
    found = []
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            with open(path + end, "rb") as file:
                data = file.read()
            found += [(end, form) for form in forms if form in data]
    return found


@pytest.mark.parametrize("names", [{}, {"messages": 'their "messages"', "response_streams": "Streams"}])
def test_scrubbed_secret_is_gone_from_every_byte_of_the_file(hub: Database, path: str, names: dict[str, Any]) -> None:
    custom_names.rename_tables(hub, names)
    fill_with(hub, SECRET)
    assert hub.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'live'") == 1
    done = scrub.scrub(hub, SECRET + "")
    assert set(done.places) == {
        *("messages.content", "messages.content_raw", "chats.name", "chats.note", "chats.metadata", "mine.v"),
        *("requests.tag", "requests.error", "network_calls.endpoint", "network_calls.body", "attachments.content"),
        *("response_streams.raw_output", "stream_chunks.data", "text_logs.text", "tool_invocations.arguments"),
    }
    assert hub.value("SELECT content FROM {messages} WHERE seq = 1") == "my key is [scrubbed], keep it"
    assert hub.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'live'") == 0
    assert hub.value("SELECT count(*) FROM message_search WHERE message_search MATCH 'scrubbed'") == 1
    assert hub.value("SELECT json_extract(metadata, '$.k') FROM {chats} WHERE id = 'c2'") == "[scrubbed]"
    assert hub.value("SELECT content FROM {attachments}") == b"\xff[scrubbed]"
    assert (
        hub.value("SELECT group_concat(text, '') FROM {text_logs} WHERE id <> 'l9' AND text LIKE 'begin%'")[:16]
        == "begin [scrubbed]"
    )
    assert hub.value("SELECT tag FROM {usage_hourly}") == "[scrubbed]"
    assert hub.meta("scrubbing") is None
    assert problems(hub) == {}
    assert os.path.getsize(f"{path}-wal") == 0
    hub.close()
    assert forms_in(path, SECRET) == []
    assert scrub.find_files_containing(path, SECRET) == []


def streamed_text(raw: Any) -> str:
    lines = [line for line in raw.split("\n") if line.startswith("data: {")]
    return "".join(json.loads(line[6:])["choices"][0]["delta"]["content"] for line in lines)


def test_secret_in_pieces_of_a_stream_is_replaced_and_the_stream_stays_readable(hub: Database) -> None:
    fill_with(hub, SECRET)
    scrub.scrub(hub, SECRET)
    assert streamed_text(hub.value("SELECT raw_output FROM {response_streams} WHERE id = 's1'")) == "my key: [scrubbed]"
    chunks = [row["data"] for row in hub.query("SELECT data FROM {stream_chunks} ORDER BY seq")]
    assert streamed_text(b"".join(chunks).decode()) == "my key: [scrubbed]"


def test_scrubbing_is_logged_without_the_secret(hub: Database) -> None:
    say(hub, SECRET)
    scrub.scrub(hub, SECRET)
    assert hub.query("SELECT text FROM {text_logs}") == [
        {"text": "a secret was scrubbed; values changed: messages.content 1"}
    ]


def test_dry_run_counts_and_changes_nothing(hub: Database) -> None:
    fill_with(hub, SECRET)
    before = hub.query("SELECT * FROM {messages}") + hub.query("SELECT * FROM {stream_chunks}")
    counted = scrub.scrub(hub, SECRET, dry_run=True)
    assert hub.query("SELECT * FROM {messages}") + hub.query("SELECT * FROM {stream_chunks}") == before
    assert hub.value("SELECT count(*) FROM {text_logs}") == 2
    assert counted.places == scrub.scrub(hub, SECRET).places


def test_history_is_frozen_again_after_scrubbing(hub: Database) -> None:
    say(hub, SECRET)
    scrub.scrub(hub, SECRET)
    with pytest.raises(sqlite3.IntegrityError, match="a finished message cannot be changed"):
        hub.execute("UPDATE {messages} SET content = 'other'")


def test_two_chats_named_after_the_secret_stay_two(hub: Database) -> None:
    hub.commit(
        Insert("chats", {"id": "c2", "name": SECRET}),
        Insert("model_aliases", {"id": "a", "name": "x", "target": SECRET}),
    )
    hub.commit(Insert("tools", {"id": "t1", "name": SECRET, "type": "command"}))
    hub.commit(Insert("chats", {"id": "c3", "name": "[scrubbed]"}))
    scrub.scrub(hub, SECRET)
    assert [row["name"] for row in hub.query("SELECT name FROM {chats} ORDER BY id")] == ["[scrubbed 2]", "[scrubbed]"]


def test_id_that_holds_the_secret_changes_with_what_points_at_it(hub: Database) -> None:
    hub.commit(
        Insert("chats", {"id": "key-1234567890"}), Insert("message_threads", {"id": "t", "chat_id": "key-1234567890"})
    )
    # Without a rule of its own, as another program's table may point at ours.
    hub.execute("CREATE TABLE theirs (chat TEXT REFERENCES chats (id))")
    hub.execute("INSERT INTO theirs VALUES ('key-1234567890')")
    scrub.scrub(hub, "key-1234567890")
    assert hub.value("SELECT chat FROM theirs") == "[scrubbed]"
    assert hub.value("SELECT chat_id FROM {message_threads}") == hub.value("SELECT id FROM {chats}") == "[scrubbed]"
    assert problems(hub) == {}


def test_scrubbing_says_so_where_another_process_still_reads_the_old_text(hub: Database, path: str) -> None:
    say(hub, SECRET)
    with closing(open_hub(path)) as reader:
        reader.connection.execute("BEGIN")
        reader.value("SELECT count(*) FROM {messages}")
        with pytest.raises(LockedError, match="another process reads the hub"):
            scrub.scrub(hub, SECRET)
    assert hub.value("SELECT content FROM {messages}") == "[scrubbed]"


def test_short_secret_is_refused(hub: Database) -> None:
    with pytest.raises(UsageError, match="too short"):
        scrub.scrub(hub, "hello")


def test_word_the_hub_needs_is_refused_and_nothing_changes(hub: Database) -> None:
    say(hub, "it is completed")
    with pytest.raises(UsageError, match="cannot remove the secret"):
        scrub.scrub(hub, "completed")
    assert hub.value("SELECT content FROM {messages}") == "it is completed"
    hub.commit(Delete("messages", {"role": "user"}))


def test_copies_beside_the_hub_that_hold_the_secret_are_named(hub: Database, path: str) -> None:
    say(hub, SECRET)
    copy = backup.back_up_beside(path, "before-test")
    scrub.scrub(hub, SECRET)
    hub.close()
    assert scrub.find_files_containing(path, SECRET) == [copy]
