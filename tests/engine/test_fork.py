"""Forks: a new chat with a shared beginning, and nothing of it paid twice."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.errors import LockedError, UsageError
from llmctl.core.stored_values import loads
from llmctl.engine import recovery
from llmctl.engine.chats.fork import fork_chat, rewind_chat
from llmctl.engine.jobs import lease
from llmctl.engine.runtime import CallerInfo
from llmctl.engine.turn import history
from llmctl.store.records import chat_summaries, chats, messages
from llmctl.store.schema import custom_names
from llmctl.store.stats import query
from llmctl.store.stats.group_by import Scope
from tests.fakes.hub_builder import HubBuilder, event


def forked(hub: HubBuilder, chat: Any, **more: Any) -> Any:
    fork = fork_chat(hub.database, chats.get(hub.database, chat["id"]), **more)
    return chat_summaries.get(hub.database, fork.id)


def list_messages(hub: HubBuilder, chat: Any) -> list[tuple[Any, ...]]:
    found = messages.conversation(hub.database, chat["thread_id"], steps=True)
    return [(row["seq"], row["role"], row["content"]) for row in found]


def test_a_fork_is_a_new_chat_that_names_its_parent(any_hub: HubBuilder) -> None:
    custom_names.add_fields(any_hub.database, [custom_names.parse_field("chats.user_id:text")])
    chat = any_hub.chat("fix", user_id="u_1", metadata='{"k":1}', settings='{"options":{"temperature":0}}')
    any_hub.turn(chat, "one", "two")
    before = list_messages(any_hub, chat)
    fork = forked(any_hub, chat, name="other", caller=CallerInfo(terminal=True, folder="/srv"))
    assert list_messages(any_hub, fork) == before == list_messages(any_hub, chat)
    thread = any_hub.database.one("SELECT * FROM {message_threads} WHERE id = ?", (fork["thread_id"],))
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
    ids = {row["id"] for row in any_hub.database.rows("SELECT id FROM {messages}")}
    assert len(ids) == 4


def test_a_fork_ends_where_it_was_asked_to(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.turn(chat, "one", "two")
    any_hub.turn(chat, "three", "four")
    fork = forked(any_hub, chat, upto_seq=3)
    assert [content for _, _, content in list_messages(any_hub, fork)] == ["one", "two", "three"]
    assert [entry.message.text for entry in history.load_history(any_hub.database, fork["thread_id"])] == [
        "one",
        "two",
        "three",
    ]
    assert list_messages(any_hub, forked(any_hub, chat, upto_seq=0)) == []


def test_requests_are_not_copied_and_what_was_paid_stays_paid_once(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.tool_turn(chat)
    before = query.get_total(any_hub.database, Scope())
    fork = forked(any_hub, chat)
    after = query.get_total(any_hub.database, Scope())
    assert after == before | {"messages": 4, "tool_calls": 2}
    assert query.chat_stats(any_hub.database, fork["id"])["requests"] == 0


def test_files_are_linked_not_copied(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    attachment = any_hub.attach(any_hub.message(chat, "user", "look"), b"bytes")
    fork = forked(any_hub, chat)
    (message,) = messages.conversation(any_hub.database, fork["thread_id"])
    assert [file["id"] for file in message["attachments"]] == [attachment]


def test_a_fork_does_not_part_a_call_from_its_result(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.tool_turn(chat)  # user, call, result, answer
    with pytest.raises(UsageError, match="between the tool call") as caught:
        forked(any_hub, chat, upto_seq=2)
    assert "fork at 1, or at 3" in caught.value.hint
    assert any_hub.database.value("SELECT count(*) FROM {chats}") == 1
    for seq in (1, 3, 4):
        forked(any_hub, chat, upto_seq=seq)
    assert len(list_messages(any_hub, forked(any_hub, chat))) == 4


def test_calls_of_a_fork_have_their_results(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.tool_turn(chat)
    fork = forked(any_hub, chat)
    seen = messages.conversation(any_hub.database, fork["thread_id"])
    assert seen[-1]["tool_calls"][0]["result"] == "sunny"


def test_what_is_still_being_written_stays_behind(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.message(chat, "user", "go")
    any_hub.running(chat, [event("Hel")])
    assert list_messages(any_hub, forked(any_hub, chat)) == [(1, "user", "go")]


def test_the_system_prompt_is_that_of_the_place(any_hub: HubBuilder) -> None:
    chat = any_hub.chat(instructions="second")
    any_hub.message(chat, "system", "first")
    any_hub.turn(chat, "a", "b")
    any_hub.message(chat, "system", "second")
    any_hub.turn(chat, "c", "d")
    assert forked(any_hub, chat, upto_seq=3)["instructions"] == "first"
    assert forked(any_hub, chat)["instructions"] == "second"
    assert forked(any_hub, chat, upto_seq=0)["instructions"] is None
    told = any_hub.chat(instructions="kept in the chat alone", origin="orm")
    assert forked(any_hub, told)["instructions"] == "kept in the chat alone"


def test_a_name_that_is_taken_is_refused(any_hub: HubBuilder) -> None:
    chat = any_hub.chat("fix")
    with pytest.raises(UsageError, match="already"):
        forked(any_hub, chat, name="fix")


def test_going_back_leaves_the_old_chat_whole_and_takes_its_name_along(any_hub: HubBuilder) -> None:
    chat = any_hub.chat("fix")
    any_hub.turn(chat, "one", "two")
    any_hub.turn(chat, "three", "four")
    fork, prompt = rewind_chat(any_hub.database, chats.get(any_hub.database, chat["id"]), CallerInfo())
    assert (fork.name, prompt.text) == ("fix", "three")
    assert [text for _, _, text in list_messages(any_hub, chat_summaries.get(any_hub.database, fork.id))] == [
        "one",
        "two",
    ]
    assert [text for _, _, text in list_messages(any_hub, chat)] == ["one", "two", "three", "four"]
    again, _ = rewind_chat(any_hub.database, fork, CallerInfo())
    assert list_messages(any_hub, chat_summaries.get(any_hub.database, again.id)) == []
    assert [chats.get(any_hub.database, id).name for id in (chat["id"], fork.id)] == ["fix~1", "fix~2"]
    with pytest.raises(UsageError, match="nothing to rewind"):
        rewind_chat(any_hub.database, again, CallerInfo())


def test_a_fork_is_the_newest_chat(any_hub: HubBuilder) -> None:
    chat = any_hub.chat("old")
    any_hub.chat("newer")
    fork = forked(any_hub, chat)
    assert next(chat_summaries.list_(any_hub.database, chat_summaries.ChatFilter(), 1))["id"] == fork["id"]


def test_messages_of_another_program_are_forked_too(any_hub: HubBuilder) -> None:
    any_hub.insert("chats", id="c1", model="m")
    any_hub.insert("messages", chat_id="c1", role="user", content="hi", content_raw='[{"kind":"theirs"}]')
    any_hub.insert("messages", chat_id="c1", role="assistant", content="ho")
    fork = forked(any_hub, {"id": "c1"})
    assert list_messages(any_hub, fork) == [(1, "user", "hi"), (2, "assistant", "ho")]
    assert [entry.message.text for entry in history.load_history(any_hub.database, fork["thread_id"])] == ["hi", "ho"]


def hold(hub: HubBuilder, chat: Any, **job: Any) -> Any:
    job_id = hub.insert("jobs", name="chat", type="turn", status="running", **job)
    sql = "UPDATE {message_threads} SET locking_job_id = ? WHERE id = ?"
    hub.database.execute(sql, (job_id, chat["thread_id"]))
    return job_id


def test_a_dead_holder_is_recovered_and_what_came_is_kept(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.message(chat, "user", "go")
    job_id = hold(any_hub, chat, host="elsewhere", pid=1)
    payload = f'{{"chat_id":"{chat["id"]}"}}'
    any_hub.database.execute("UPDATE {jobs} SET payload = ? WHERE id = ?", (payload, job_id))
    any_hub.running(chat, [event("Hel"), event("lo")], job_id=job_id)
    assert recovery.unlock_thread(any_hub.database, chat["thread_id"]) == "recovered"
    assert recovery.unlock_thread(any_hub.database, chat["thread_id"]) == "free"
    seen = messages.conversation(any_hub.database, chat["thread_id"])
    assert [(row["content"], row["status"]) for row in seen] == [("go", "completed"), ("Hello", "interrupted")]


def test_a_live_holder_is_respected_unless_forced(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    hold(any_hub, chat, **lease.process_identity().to_dict(), lease_expires_at=lease.lease_expiry())
    with pytest.raises(LockedError, match="in use by process"):
        recovery.unlock_thread(any_hub.database, chat["thread_id"])
    assert recovery.unlock_thread(any_hub.database, chat["thread_id"], force=True) == "forced"
    assert recovery.unlock_thread(any_hub.database, chat["thread_id"]) == "free"
