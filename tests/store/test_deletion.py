"""Deleting a chat: every copy of its text goes, its numbers stay, everything else is as it was."""

import os
import random
import re
from contextlib import closing

import pytest

from llmctl.core.errors import LockedError
from llmctl.core.stored_json import dumps
from llmctl.engine.chats import fork as chats_fork
from llmctl.engine.jobs import lease
from llmctl.engine.maintenance import delete
from llmctl.store.maintenance import delete as maintenance_delete
from llmctl.store.maintenance import wal
from llmctl.store.opening import open_hub
from llmctl.store.records import chats, snapshots
from llmctl.store.schema import ddl
from llmctl.store.stats import query
from llmctl.store.stats.scope import Scope
from tests.store.rows import Rows, hub  # noqa: F401

SECRET = "zanzibar"


@pytest.fixture
def rows(hub):  # noqa: F811
    return Rows(hub)


def secretive(rows):
    """A chat that says the secret in every column that can hold it."""
    chat = rows.chat(f"{SECRET} chat", description=SECRET, instructions=SECRET, metadata=dumps({"k": SECRET}))
    rows.message(chat, "system", f"you are {SECRET}")
    turn = rows.turn(
        chat,
        f"tell me of {SECRET} " + f"{SECRET} " * 2000,
        f"of {SECRET}, gladly",
        error=f"not {SECRET}",
        parameters=dumps({"options": {"stop": SECRET}}),
        status="failed",
    )
    rows.database.execute(
        "UPDATE {network_calls} SET response = ?, error = ? WHERE id = ?", (SECRET, f"no {SECRET}", turn["call"])
    )
    rows.database.execute("UPDATE {jobs} SET error = ?, name = ? WHERE id = ?", (SECRET, SECRET, turn["job"]))
    rows.tool_turn(chat, result=SECRET, arguments=dumps({"city": SECRET}))
    rows.attach(rows.message(chat, "user", "see file"), f"file of {SECRET}".encode(), f"{SECRET}.txt")
    rows.running(chat, [f"data: {SECRET}".encode(), b"more"])
    # what was rolled back: a stream without its message
    lost = rows.step(chat, f"lost {SECRET}")
    rows.database.execute("DELETE FROM {messages} WHERE id = ?", (lost["message"],))
    # what another program wrote, and what --no-persist requests leaves
    rows.insert("messages", chat_id=chat["id"], role="user", content=f"loose {SECRET}", origin="import")
    rows.insert("response_streams", message_id=turn["message"], raw_output=f"loose {SECRET}")
    loose = rows.insert("requests", chat_id=chat["id"], provider="openai", model="m", error=f"loose {SECRET}")
    rows.insert("network_calls", request_id=loose, endpoint="x", method="POST", body=f"loose {SECRET}")
    snapshots.keep(rows.database, chat["thread_id"], [{"type": "user", "content": SECRET}], upto_seq=1, reason=SECRET)
    return chat


def other(rows):
    """A chat that stays, with a file that both have."""
    chat = rows.chat("other")
    turn = rows.turn(chat, "the hub of barbados", "yes, barbados")
    rows.attach(turn["user"], b"shared file")
    return chat


def contents(database):
    """Every row of every table, but for those that the test deletes."""
    tables = [row["name"] for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    # The roll-ups have tests of their own; their ranges and buckets remember more than their sums.
    ours = ("message_search", "sqlite_")
    plain = [
        name
        for name in tables
        if not name.startswith(ours) and not {"usage", "activity"} & set(re.findall("[a-z]+", name))
    ]
    quoted = ['"' + name.replace('"', '""') + '"' for name in plain]
    return {name: database.connection.execute(f"SELECT * FROM {name}").fetchall() for name in quoted}


def files(database):
    ends = [end for end in ("", "-wal", "-shm") if os.path.exists(database.path + end)]
    blobs = []
    for end in ends:
        with open(database.path + end, "rb") as file:
            blobs.append(file.read())
    return b"".join(blobs)


def test_no_file_of_the_hub_holds_the_text_any_more(rows):
    other(rows)
    chat = secretive(rows)
    other_id = rows.chat("with the same file")
    rows.attach(rows.message(other_id, "user", "x"), b"shared file")
    wal.empty(rows.database.connection)
    rows.message(rows.chat("later"), "user", "barbados again")
    assert SECRET.encode() in files(rows.database)
    maintenance_delete.delete(rows.database, chat["id"])
    assert maintenance_delete.purge(rows.database)
    left = files(rows.database)
    assert SECRET.encode() not in left
    assert b"barbados" in left
    rows.database.connection.execute("INSERT INTO message_search (message_search) VALUES ('integrity-check')")


def test_what_belongs_to_others_is_untouched(rows):
    other(rows)
    before = contents(rows.database)
    chat = secretive(rows)
    maintenance_delete.delete(rows.database, chat["id"], with_usage=True)
    after = contents(rows.database)
    jobs = next(name for name in after if "jobs" in name)
    after[jobs] = [row for row in after[jobs] if row in before[jobs]]  # emptied ones stay
    assert after == before


def test_the_ledger_keeps_its_numbers(rows):
    chat = secretive(rows)
    before = query.total(rows.database, Scope())
    requests = rows.database.value("SELECT count(*) FROM {requests}")
    calls = rows.database.value("SELECT count(*) FROM {network_calls}")
    maintenance_delete.delete(rows.database, chat["id"])
    after = query.total(rows.database, Scope())
    assert after == before
    assert rows.database.value("SELECT count(*) FROM {requests} WHERE chat_id IS NULL") == requests
    assert rows.database.value("SELECT count(*) FROM {network_calls} WHERE body IS NULL AND endpoint <> ''") == calls


def test_with_usage_the_roll_up_counts_what_is_left(rows):
    stays = rows.chat()
    rows.turn(stays, "a", "b", duration=1234, time_to_first_token=77, cost=0.5)
    rows.turn(stays, "a", "b", status="failed", duration=5)
    before = query.total(rows.database, Scope()), query.total(rows.database, Scope(chat_id=stays["id"]))
    goes = rows.chat()
    rows.turn(goes, "a", "b", duration=1234, time_to_first_token=99, cost=0.25)
    rows.turn(goes, "a", "b", model="other", status="incomplete")
    rows.running(goes, [b"x"])
    maintenance_delete.delete(rows.database, goes["id"], with_usage=True)
    after = query.total(rows.database, Scope()), query.total(rows.database, Scope(chat_id=stays["id"]))
    later = {"last_at": after[0]["last_at"]}  # the hour's range does not shrink
    assert after[0] == before[0] | later
    assert after[1] == before[1]
    for table in ddl.ROLL_UPS.values():
        assert rows.database.value(f"SELECT sum(requests) FROM {{{table}}}") == 2
    assert rows.database.value("SELECT count(*) FROM {requests}") == 2
    assert rows.database.value("SELECT count(*) FROM {network_calls}") == 2


def test_a_file_that_another_chat_has_stays(rows):
    stays, goes = rows.chat(), rows.chat()
    shared = rows.attach(rows.message(stays, "user", "x"), b"shared")
    assert rows.attach(rows.message(goes, "user", "x"), b"shared") == shared
    rows.attach(rows.message(goes, "user", "x"), b"alone")
    maintenance_delete.delete(rows.database, goes["id"])
    assert [row["id"] for row in rows.database.rows("SELECT id FROM {attachments}")] == [shared]


def test_a_log_that_a_fork_has_stays_until_the_fork_goes(rows):
    chat = rows.chat()
    rows.tool_turn(chat)
    fork = chats_fork.fork(rows.database, chats.one(rows.database, chat["id"]))
    assert maintenance_delete.delete(rows.database, chat["id"]) == (fork["id"],)
    assert rows.database.value("SELECT count(*) FROM {text_logs}") == 2
    maintenance_delete.delete(rows.database, fork["id"])
    assert rows.database.value("SELECT count(*) FROM {text_logs}") == 0


def test_a_chat_that_a_live_job_holds_is_not_deleted(rows):
    free, held = rows.chat(), rows.chat()
    job_id = rows.insert(
        "jobs", name="chat", type="turn", status="running", **lease.current()._asdict(),
        lease_expires_at=lease.lease(),
    )  # fmt: skip
    rows.database.execute("UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?", (job_id, held["thread_id"]))
    with pytest.raises(LockedError):
        delete.erase(rows.database, [free["id"], held["id"]])
    assert rows.database.value("SELECT count(*) FROM {chats}") == 2


def test_a_chat_that_a_dead_job_holds_is_counted_then_deleted(rows):
    chat = rows.chat()
    job_id = rows.insert("jobs", name="chat", type="turn", status="running", host="elsewhere", pid=1)
    rows.database.execute("UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?", (job_id, chat["thread_id"]))
    rows.running(chat, [b"data: x"], job_id=job_id)
    delete.erase(rows.database, [chat["id"]])
    assert query.total(rows.database, Scope())["requests"] == 1
    assert rows.database.value("SELECT count(*) FROM {chats}") == 0


def test_rows_that_grew_side_by_side_leave_nothing_behind(rows):
    """Growing rows push their neighbours to other pages, and SQLite never overwrites the copies they leave there."""
    for seed in (6, 12, 15):  # these do, without the file being written anew
        rng = random.Random(seed)
        talk = {f"word{seed}n{index}x": rows.chat() for index in range(6)}
        for _ in range(40):
            pending = []
            for word in rng.sample(list(talk), 3):
                rows.message(talk[word], "user", f"{word} " * rng.choice([3, 30, 100]))
                pending.append((word, rows.message(talk[word], "assistant", None, status="pending")))
            for word, answer in pending:
                text = f"{word} " * rng.choice([3, 30, 100, 300])
                sql = "UPDATE {messages} SET content = ?, status = 'completed' WHERE id = ?"
                rows.database.execute(sql, (text, answer))
        for word, chat in list(talk.items())[:4]:
            assert word.encode() in files(rows.database)
            erased = delete.erase(rows.database, [chat["id"]])
            assert not erased.in_log
            assert word.encode() not in files(rows.database)


def test_a_large_hub_is_not_rewritten_and_says_so(rows, monkeypatch):
    chat = secretive(rows)
    monkeypatch.setattr(delete, "REWRITTEN_BYTES", 1)
    assert delete.erase(rows.database, [chat["id"]]).in_gaps


def test_a_reader_of_the_log_is_reported(rows, monkeypatch):
    monkeypatch.setattr(wal, "_PATIENCE_MS", 1)
    chat = secretive(rows)
    with closing(open_hub(rows.database.path)) as reader:
        reader.connection.execute("BEGIN")
        reader.value("SELECT count(*) FROM {chats}")
        assert delete.erase(rows.database, [chat["id"]]).in_log
