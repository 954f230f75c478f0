"""Chats: the newest first, by what people look for, made and changed."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.errors import LlmctlError, UsageError
from llmctl.engine.inspect import transcript
from llmctl.store.database import Database
from llmctl.store.records import chat_summaries, chats, messages
from llmctl.store.records.chat_summaries import ChatFilter
from llmctl.store.schema import custom_names
from tests.fakes.hub_builder import START, HubBuilder, event


def names(database: Database, limit: Any = None, **wanted: Any) -> list[Any]:
    return [row["name"] for row in chat_summaries.list_(database, ChatFilter(**wanted), limit)]


def test_the_newest_turn_comes_first_whoever_made_the_chat(any_hub: HubBuilder) -> None:
    any_hub.chat("old turn", last_turn_at=any_hub.tick())
    any_hub.chat("never a turn", last_turn_at=None)
    any_hub.chat("made by the orm", last_turn_at=None, origin="orm")
    any_hub.chat("new turn")
    any_hub.chat("old but just used", created_at="2020-01-01T00:00:00.000+00:00", last_turn_at=any_hub.tick())
    expected = ["old but just used", "new turn", "made by the orm", "never a turn", "old turn"]
    assert names(any_hub.database) == expected
    for limit in range(1, 6):
        assert names(any_hub.database, limit) == expected[:limit]


def test_the_first_page_needs_no_scan_and_no_sort(any_hub: HubBuilder) -> None:
    sql = chat_summaries._NEWEST % {"where": "true"}
    plan = any_hub.database.query(f"EXPLAIN QUERY PLAN {sql}", {"limit": 50})
    details = " / ".join(row["detail"] for row in plan)
    for half in (">?", "=?"):  # each in the order of the index, cut to a page before the two are put together
        assert f"USING INDEX chats_last_turn_at (last_turn_at{half}) / SCAN (subquery" in details


def test_a_chat_is_listed_with_its_numbers(any_hub: HubBuilder) -> None:
    chat = any_hub.chat("fix", source_id=any_hub.connection("work"))
    any_hub.turn(chat, "the first thing said", "yes")
    any_hub.turn(chat, "the second", "no")
    row = next(chat_summaries.list_(any_hub.database, ChatFilter(), 1))
    assert (row["message_count"], row["preview"], row["connection"]) == (4, "the first thing said", "work")
    assert row["thread_id"] == chat["thread_id"]


def test_filters_all_have_to_hold(any_hub: HubBuilder) -> None:
    work = any_hub.connection("work")
    any_hub.chat(
        "a", model="gpt-5", source_id=work, last_turn_folder="/srv", last_turn_at="2026-10-01T00:00:00.000+00:00"
    )
    any_hub.chat("b", model="gpt-5", last_turn_folder="/srv")
    any_hub.chat("c", model="sonnet", source_id=work)
    assert names(any_hub.database, model="gpt-5") == ["b", "a"]
    assert names(any_hub.database, connection_id=work) == ["c", "a"]
    assert names(any_hub.database, model="gpt-5", connection_id=work, folder="/srv") == ["a"]
    assert names(any_hub.database, since=START) == ["c", "b"]
    assert names(any_hub.database, agent_id=work) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [("42", ["number", "text"]), ("true", ["bool"]), ("1", ["list"]), ("x", []), ("null", ["null"]), ("[1]", ["list"])],
)
def test_where_compares_metadata_as_people_type_it(any_hub: HubBuilder, value: str, expected: list[Any]) -> None:
    for name, json in {"text": '"42"', "number": "42", "bool": "true", "null": "null", "list": "[1]"}.items():
        any_hub.chat(name, metadata=f'{{"ticket":{json},"other":"x"}}')
    any_hub.chat("none")
    assert sorted(names(any_hub.database, where=[("ticket", value)])) == expected


@pytest.mark.parametrize("key", ['a"b', "a.b", "a b", "$", "größe", "a\\b", "[0]"])
def test_where_takes_any_key(any_hub: HubBuilder, key: str) -> None:
    from llmctl.core.stored_values import dumps

    any_hub.chat("it", metadata=dumps({key: "v"}))
    assert names(any_hub.database, where=[(key, "v")]) == ["it"]
    assert chat_summaries.has_field(any_hub.database, key)
    assert not chat_summaries.has_field(any_hub.database, f"{key}x")


def test_where_finds_custom_fields_by_their_type(any_hub: HubBuilder) -> None:
    wanted = ("chats.user_id:text", "chats.score:integer", "chats.done:boolean")
    custom_names.add_fields(any_hub.database, map(custom_names.parse_field, wanted))
    any_hub.chat("it", user_id="u_1", score=7, done=1)
    any_hub.chat("other", user_id="u_2", score=8, done=0, metadata='{"user_id":"u_1"}')
    assert names(any_hub.database, where=[("user_id", "u_1")]) == ["it"]
    assert names(any_hub.database, where=[("score", "7"), ("done", "true")]) == ["it"]


def test_names_are_unique_and_never_empty(any_hub: HubBuilder) -> None:
    chat = any_hub.chat("fix")
    other = chats.get(any_hub.database, any_hub.chat()["id"])
    with pytest.raises(UsageError, match='chat "fix" already exists'):
        chats.update(any_hub.database, other, {"name": "fix"})
    with pytest.raises(UsageError, match="must not be empty"):
        chats.add(any_hub.database, {"name": " "})
    chats.update(any_hub.database, chats.get(any_hub.database, chat["id"]), {"name": "fix"})


def test_a_new_system_prompt_is_a_new_row(any_hub: HubBuilder) -> None:
    chat_id = chats.add(any_hub.database, {"name": "x", "model": "m"}, system="be terse")
    chat = chat_summaries.get(any_hub.database, chat_id)
    chats.update(any_hub.database, chats.get(any_hub.database, chat_id), {}, system="be kind")
    found = messages.conversation(any_hub.database, chat["thread_id"])
    assert [(row["seq"], row["role"], row["content"]) for row in found] == [
        (1, "system", "be terse"),
        (2, "system", "be kind"),
    ]
    assert found[0]["created_at"] < found[1]["created_at"]
    assert chat_summaries.get(any_hub.database, chat_id)["instructions"] == "be kind"


def test_what_people_see_has_the_calls_of_the_turn_with_its_answer(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.tool_turn(chat)
    any_hub.turn(chat, "thanks", "welcome")
    seen = messages.conversation(any_hub.database, chat["thread_id"])
    assert [(row["role"], row["content"]) for row in seen] == [
        ("user", "weather?"),
        ("assistant", "It is sunny."),
        ("user", "thanks"),
        ("assistant", "welcome"),
    ]
    (call,) = seen[1]["tool_calls"]
    assert (call["id"], call["name"], call["arguments"]) == ("call_1", "weather", {"city": "Paris"})
    assert (call["result"], call["status"], call["duration_ms"]) == ("sunny", "completed", 7)
    assert [row["tool_calls"] for row in (seen[0], *seen[2:])] == [[], [], []]


def test_calls_of_a_turn_that_broke_off_do_not_stand_with_the_next_answer(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.message(chat, "user", "weather?")
    any_hub.step(chat, "", parts=[{"type": "tool_call", "id": "c1", "name": "weather", "arguments": "{}"}])
    any_hub.turn(chat, "hello", "hi")
    seen = messages.conversation(any_hub.database, chat["thread_id"])
    assert [(row["content"], len(row["tool_calls"])) for row in seen] == [("weather?", 0), ("hello", 0), ("hi", 0)]


def test_the_steps_in_between_have_their_own_calls(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.tool_turn(chat)
    every = messages.conversation(any_hub.database, chat["thread_id"], steps=True)
    assert [row["role"] for row in every] == ["user", "assistant", "tool", "assistant"]
    assert [len(row["tool_calls"]) for row in every] == [0, 1, 0, 0]
    assert every[2]["content_raw"][0]["content"] == "sunny"


@pytest.mark.parametrize("text", ['{"a":1}', '"{\\"a\\":1}"', '"\\"{\\\\\\"a\\\\\\":1}\\""'])
def test_arguments_are_decoded_until_they_are_no_string(any_hub: HubBuilder, text: str) -> None:
    chat = any_hub.chat()
    any_hub.tool_turn(chat, arguments=text)
    seen = messages.conversation(any_hub.database, chat["thread_id"])
    assert seen[-1]["tool_calls"][0]["arguments"] == {"a": 1}


def test_a_call_that_nobody_ran_is_shown_as_pending(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    part = {"type": "tool_call", "id": "c9", "name": "rm", "arguments": "not json"}
    any_hub.step(chat, "", parts=[part])
    (row,) = messages.conversation(any_hub.database, chat["thread_id"], steps=True)
    (call,) = row["tool_calls"]
    assert (call["status"], call["result"], call["arguments"]) == ("pending", None, "not json")


def test_files_are_shown_without_their_content(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.attach(any_hub.message(chat, "user", "look"), b"secret bytes")
    (row,) = messages.conversation(any_hub.database, chat["thread_id"])
    (file,) = row["attachments"]
    assert (file["name"], file["size"], file["media_type"]) == ("note.txt", 12, "text/plain")
    assert "content" not in file


def test_running_answer_is_shown_so_far_and_nothing_is_written(any_hub: HubBuilder) -> None:
    chat = any_hub.chat()
    any_hub.message(chat, "user", "go")
    whole = event("Hel") + event("lo, wörld") + event("! cut")
    any_hub.running(chat, [whole[:70], whole[70:131], whole[131:-10]])
    before = any_hub.database.connection.total_changes
    seen = transcript.conversation(any_hub.database, chat["thread_id"], steps=False)
    assert [(row["role"], row["status"], row["content"]) for row in seen] == [
        ("user", "completed", "go"),
        ("assistant", "pending", "Hello, wörld"),
    ]
    assert any_hub.database.connection.total_changes == before


def test_a_place_in_a_thread_is_a_number_or_a_message(any_hub: HubBuilder) -> None:
    chat, other = any_hub.chat(), any_hub.chat()
    first = any_hub.message(chat, "user", "one")
    second = any_hub.message(chat, "user", "two")
    elsewhere = any_hub.message(other, "user", "three")
    assert messages.get_at(any_hub.database, chat["thread_id"], "1").id == first
    assert messages.get_at(any_hub.database, chat["thread_id"], second).seq == 2
    assert messages.get_at(any_hub.database, chat["thread_id"], second[:8]).seq == 2
    for point in ("3", "0", elsewhere, "zzzz"):
        with pytest.raises(LlmctlError) as caught:
            messages.get_at(any_hub.database, chat["thread_id"], point)
        assert caught.value.exit_code == 3
