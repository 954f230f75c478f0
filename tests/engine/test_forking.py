"""Forks: a new chat with a shared beginning, and nothing of it paid twice."""

from __future__ import annotations

import pytest

from llmctl.core.errors import LockedError, UsageError
from llmctl.core.stored_json import loads
from llmctl.engine.chats import fork as chats_fork
from llmctl.engine.chats import rewind
from llmctl.engine.jobs import lease, unlock
from llmctl.engine.turn import history
from llmctl.engine.turn.options import Origin
from llmctl.store.records import chats, messages
from llmctl.store.schema import custom_fields
from llmctl.store.stats import query
from llmctl.store.stats.scope import Scope
from tests.store.rows import Rows, event, hub  # noqa: F401


@pytest.fixture
def rows(hub):  # noqa: F811
    return Rows(hub)


def forked(rows, chat, **more):
    return chats_fork.fork(rows.database, chats.one(rows.database, chat["id"]), **more)


def said(rows, chat):
    found = messages.conversation(rows.database, chat["thread_id"], steps=True)
    return [(row["seq"], row["role"], row["content"]) for row in found]


def test_a_fork_is_a_new_chat_that_names_its_parent(rows):
    custom_fields.add(rows.database, [custom_fields.parse("chats.user_id:text")])
    chat = rows.chat("fix", user_id="u_1", metadata='{"k":1}', settings='{"options":{"temperature":0}}')
    rows.turn(chat, "one", "two")
    before = said(rows, chat)
    fork = forked(rows, chat, name="other", origin=Origin(terminal=True, folder="/srv"))
    assert said(rows, fork) == before == said(rows, chat)
    thread = rows.database.one("SELECT * FROM {message_threads} WHERE id = ?", (fork["thread_id"],))
    assert (thread["parent_id"], thread["parent_seq"]) == (chat["thread_id"], 2)
    assert loads(fork["refs"])["forked_from"] == chat["id"]
    kept = ("name", "user_id", "metadata", "settings", "last_turn_folder", "last_turn_terminal", "model")
    assert [fork[name] for name in kept] == [
        "other",
        "u_1",
        '{"k":1}',
        '{"options":{"temperature":0}}',
        "/srv",
        1,
        "gpt-5",
    ]
    ids = {row["id"] for row in rows.database.rows("SELECT id FROM {messages}")}
    assert len(ids) == 4


def test_a_fork_ends_where_it_was_asked_to(rows):
    chat = rows.chat()
    rows.turn(chat, "one", "two")
    rows.turn(chat, "three", "four")
    fork = forked(rows, chat, upto_seq=3)
    assert [content for _, _, content in said(rows, fork)] == ["one", "two", "three"]
    assert [entry.message.text for entry in history.load(rows.database, fork["thread_id"])] == ["one", "two", "three"]
    assert said(rows, forked(rows, chat, upto_seq=0)) == []


def test_requests_are_not_copied_and_what_was_paid_stays_paid_once(rows):
    chat = rows.chat()
    rows.tool_turn(chat)
    before = query.total(rows.database, Scope())
    fork = forked(rows, chat)
    after = query.total(rows.database, Scope())
    assert after == before | {"messages": 4, "tool_calls": 2}
    assert query.chat_stats(rows.database, fork["id"])["requests"] == 0


def test_files_are_linked_not_copied(rows):
    chat = rows.chat()
    attachment = rows.attach(rows.message(chat, "user", "look"), b"bytes")
    fork = forked(rows, chat)
    (message,) = messages.conversation(rows.database, fork["thread_id"])
    assert [file["id"] for file in message["attachments"]] == [attachment]


def test_a_fork_does_not_part_a_call_from_its_result(rows):
    chat = rows.chat()
    rows.tool_turn(chat)  # user, call, result, answer
    with pytest.raises(UsageError, match="between the tool call") as caught:
        forked(rows, chat, upto_seq=2)
    assert "fork at 1, or at 3" in caught.value.hint
    assert rows.database.value("SELECT count(*) FROM {chats}") == 1
    for seq in (1, 3, 4):
        forked(rows, chat, upto_seq=seq)
    assert len(said(rows, forked(rows, chat))) == 4


def test_calls_of_a_fork_have_their_results(rows):
    chat = rows.chat()
    rows.tool_turn(chat)
    fork = forked(rows, chat)
    seen = messages.conversation(rows.database, fork["thread_id"])
    assert seen[-1]["tool_calls"][0]["result"] == "sunny"


def test_what_is_still_being_written_stays_behind(rows):
    chat = rows.chat()
    rows.message(chat, "user", "go")
    rows.running(chat, [event("Hel")])
    assert said(rows, forked(rows, chat)) == [(1, "user", "go")]


def test_the_system_prompt_is_that_of_the_place(rows):
    chat = rows.chat(instructions="second")
    rows.message(chat, "system", "first")
    rows.turn(chat, "a", "b")
    rows.message(chat, "system", "second")
    rows.turn(chat, "c", "d")
    assert forked(rows, chat, upto_seq=3)["instructions"] == "first"
    assert forked(rows, chat)["instructions"] == "second"
    assert forked(rows, chat, upto_seq=0)["instructions"] is None
    told = rows.chat(instructions="kept in the chat alone", origin="orm")
    assert forked(rows, told)["instructions"] == "kept in the chat alone"


def test_a_name_that_is_taken_is_refused(rows):
    chat = rows.chat("fix")
    with pytest.raises(UsageError, match="already"):
        forked(rows, chat, name="fix")


def test_going_back_leaves_the_old_chat_whole_and_takes_its_name_along(rows):
    chat = rows.chat("fix")
    rows.turn(chat, "one", "two")
    rows.turn(chat, "three", "four")
    fork, prompt = rewind.rewind(rows.database, chats.one(rows.database, chat["id"]), Origin())
    assert (fork["name"], prompt) == ("fix", "three")
    assert [text for _, _, text in said(rows, fork)] == ["one", "two"]
    assert [text for _, _, text in said(rows, chat)] == ["one", "two", "three", "four"]
    again, _ = rewind.rewind(rows.database, fork, Origin())
    assert said(rows, again) == []
    assert [chats.one(rows.database, old["id"])["name"] for old in (chat, fork)] == ["fix~1", "fix~2"]
    with pytest.raises(UsageError, match="nothing to go back over"):
        rewind.rewind(rows.database, again, Origin())


def test_a_fork_is_the_newest_chat(rows):
    chat = rows.chat("old")
    rows.chat("newer")
    fork = forked(rows, chat)
    assert next(chats.listed(rows.database, chats.Filter(), 1))["id"] == fork["id"]


def test_messages_of_another_program_are_forked_too(rows):
    rows.insert("chats", id="c1", model="m")
    rows.insert("messages", chat_id="c1", role="user", content="hi", content_raw='[{"kind":"theirs"}]')
    rows.insert("messages", chat_id="c1", role="assistant", content="ho")
    fork = forked(rows, {"id": "c1"})
    assert said(rows, fork) == [(1, "user", "hi"), (2, "assistant", "ho")]
    assert [entry.message.text for entry in history.load(rows.database, fork["thread_id"])] == ["hi", "ho"]


def hold(rows, chat, **job):
    job_id = rows.insert("jobs", name="chat", type="turn", status="running", **job)
    sql = "UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?"
    rows.database.execute(sql, (job_id, chat["thread_id"]))
    return job_id


def test_a_dead_holder_is_recovered_and_what_came_is_kept(rows):
    chat = rows.chat()
    rows.message(chat, "user", "go")
    job_id = hold(rows, chat, host="elsewhere", pid=1)
    payload = f'{{"chat_id":"{chat["id"]}"}}'
    rows.database.execute("UPDATE {jobs} SET payload = ? WHERE id = ?", (payload, job_id))
    rows.running(chat, [event("Hel"), event("lo")], job_id=job_id)
    assert unlock.free(rows.database, chat["thread_id"]) == "recovered"
    assert unlock.free(rows.database, chat["thread_id"]) == "free"
    seen = messages.conversation(rows.database, chat["thread_id"])
    assert [(row["content"], row["status"]) for row in seen] == [("go", "completed"), ("Hello", "interrupted")]


def test_a_live_holder_is_respected_unless_forced(rows):
    chat = rows.chat()
    hold(rows, chat, **lease.current()._asdict(), lease_expires_at=lease.lease())
    with pytest.raises(LockedError, match="in use by process"):
        unlock.free(rows.database, chat["thread_id"])
    assert unlock.free(rows.database, chat["thread_id"], force=True) == "forced"
    assert unlock.free(rows.database, chat["thread_id"]) == "free"
