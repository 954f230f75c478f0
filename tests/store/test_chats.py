"""Chats: the newest first, by what people look for, made and changed."""

import pytest

from llmctl.core.errors import LlmctlError, UsageError
from llmctl.engine.inspect import reparse
from llmctl.store.records import chats, messages
from llmctl.store.records.chats import Filter
from llmctl.store.schema import custom_fields
from tests.store.rows import START, Rows, event, hub  # noqa: F401


@pytest.fixture
def rows(hub):  # noqa: F811
    return Rows(hub)


def names(database, limit=None, **wanted):
    return [row["name"] for row in chats.listed(database, Filter(**wanted), limit)]


def test_the_newest_turn_comes_first_whoever_made_the_chat(rows):
    rows.chat("old turn", last_turn_at=rows.tick())
    rows.chat("never a turn", last_turn_at=None)
    rows.chat("made by the orm", last_turn_at=None, origin="orm")
    rows.chat("new turn")
    rows.chat("old but just used", created_at="2020-01-01T00:00:00.000+00:00", last_turn_at=rows.tick())
    expected = ["old but just used", "new turn", "made by the orm", "never a turn", "old turn"]
    assert names(rows.database) == expected
    for limit in range(1, 6):
        assert names(rows.database, limit) == expected[:limit]


def test_the_first_page_needs_no_scan_and_no_sort(rows):
    sql = chats._NEWEST % {"where": "true"}
    plan = rows.database.query(f"EXPLAIN QUERY PLAN {sql}", {"limit": 50})
    details = " / ".join(row["detail"] for row in plan)
    for half in (">?", "=?"):  # each in the order of the index, cut to a page before the two are put together
        assert f"USING INDEX chats_last_turn_at (last_turn_at{half}) / SCAN (subquery" in details


def test_a_chat_is_listed_with_its_numbers(rows):
    chat = rows.chat("fix", source_id=rows.connection("work"))
    rows.turn(chat, "the first thing said", "yes")
    rows.turn(chat, "the second", "no")
    row = next(chats.listed(rows.database, Filter(), 1))
    assert (row["message_count"], row["preview"], row["connection"]) == (4, "the first thing said", "work")
    assert row["thread_id"] == chat["thread_id"]


def test_filters_all_have_to_hold(rows):
    work = rows.connection("work")
    rows.chat("a", model="gpt-5", source_id=work, last_turn_folder="/srv", last_turn_at="2026-10-01T00:00:00.000+00:00")
    rows.chat("b", model="gpt-5", last_turn_folder="/srv")
    rows.chat("c", model="sonnet", source_id=work)
    assert names(rows.database, model="gpt-5") == ["b", "a"]
    assert names(rows.database, connection_id=work) == ["c", "a"]
    assert names(rows.database, model="gpt-5", connection_id=work, folder="/srv") == ["a"]
    assert names(rows.database, since=START) == ["c", "b"]
    assert names(rows.database, agent_id=work) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [("42", ["number", "text"]), ("true", ["bool"]), ("1", []), ("x", []), ("null", ["null"]), ("[1]", ["list"])],
)
def test_where_compares_metadata_as_people_type_it(rows, value, expected):
    for name, json in {"text": '"42"', "number": "42", "bool": "true", "null": "null", "list": "[1]"}.items():
        rows.chat(name, metadata=f'{{"ticket":{json},"other":"x"}}')
    rows.chat("none")
    assert sorted(names(rows.database, where=[("ticket", value)])) == expected


@pytest.mark.parametrize("key", ['a"b', "a.b", "a b", "$", "größe", "a\\b", "[0]"])
def test_where_takes_any_key(rows, key):
    from llmctl.core.stored_json import dumps

    rows.chat("it", metadata=dumps({key: "v"}))
    assert names(rows.database, where=[(key, "v")]) == ["it"]
    assert chats.knows_field(rows.database, key)
    assert not chats.knows_field(rows.database, f"{key}x")


def test_where_finds_custom_fields_by_their_type(rows):
    wanted = ("chats.user_id:text", "chats.score:integer", "chats.done:boolean")
    custom_fields.add(rows.database, map(custom_fields.parse, wanted))
    rows.chat("it", user_id="u_1", score=7, done=1)
    rows.chat("other", user_id="u_2", score=8, done=0, metadata='{"user_id":"u_1"}')
    assert names(rows.database, where=[("user_id", "u_1")]) == ["it"]
    assert names(rows.database, where=[("score", "7"), ("done", "true")]) == ["it"]


def test_names_are_unique_and_never_empty(rows):
    chat = rows.chat("fix")
    other = chats.one(rows.database, rows.chat()["id"])
    with pytest.raises(UsageError, match='a chat "fix" already'):
        chats.edit(rows.database, other, {"name": "fix"})
    with pytest.raises(UsageError, match="cannot be empty"):
        chats.create(rows.database, {"name": " "})
    chats.edit(rows.database, chats.one(rows.database, chat["id"]), {"name": "fix"})


def test_a_new_system_prompt_is_a_new_row(rows):
    chat_id = chats.create(rows.database, {"name": "x", "model": "m"}, system="be terse")
    chat = chats.one(rows.database, chat_id)
    chats.edit(rows.database, chat, {}, system="be kind")
    found = messages.conversation(rows.database, chat["thread_id"])
    assert [(row["seq"], row["role"], row["content"]) for row in found] == [
        (1, "system", "be terse"),
        (2, "system", "be kind"),
    ]
    assert found[0]["created_at"] < found[1]["created_at"]
    assert chats.one(rows.database, chat_id)["instructions"] == "be kind"


def test_what_people_see_has_the_calls_of_the_turn_with_its_answer(rows):
    chat = rows.chat()
    rows.tool_turn(chat)
    rows.turn(chat, "thanks", "welcome")
    seen = messages.conversation(rows.database, chat["thread_id"])
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


def test_calls_of_a_turn_that_broke_off_do_not_stand_with_the_next_answer(rows):
    chat = rows.chat()
    rows.message(chat, "user", "weather?")
    rows.step(chat, "", parts=[{"type": "tool_call", "id": "c1", "name": "weather", "arguments": "{}"}])
    rows.turn(chat, "hello", "hi")
    seen = messages.conversation(rows.database, chat["thread_id"])
    assert [(row["content"], len(row["tool_calls"])) for row in seen] == [("weather?", 0), ("hello", 0), ("hi", 0)]


def test_the_steps_in_between_have_their_own_calls(rows):
    chat = rows.chat()
    rows.tool_turn(chat)
    every = messages.conversation(rows.database, chat["thread_id"], steps=True)
    assert [row["role"] for row in every] == ["user", "assistant", "tool", "assistant"]
    assert [len(row["tool_calls"]) for row in every] == [0, 1, 0, 0]
    assert every[2]["content_raw"][0]["content"] == "sunny"


@pytest.mark.parametrize("text", ['{"a":1}', '"{\\"a\\":1}"', '"\\"{\\\\\\"a\\\\\\":1}\\""'])
def test_arguments_are_decoded_until_they_are_no_string(rows, text):
    chat = rows.chat()
    rows.tool_turn(chat, arguments=text)
    seen = messages.conversation(rows.database, chat["thread_id"])
    assert seen[-1]["tool_calls"][0]["arguments"] == {"a": 1}


def test_a_call_that_nobody_ran_is_shown_as_pending(rows):
    chat = rows.chat()
    part = {"type": "tool_call", "id": "c9", "name": "rm", "arguments": "not json"}
    rows.step(chat, "", parts=[part])
    (row,) = messages.conversation(rows.database, chat["thread_id"], steps=True)
    (call,) = row["tool_calls"]
    assert (call["status"], call["result"], call["arguments"]) == ("pending", None, "not json")


def test_files_are_shown_without_their_content(rows):
    chat = rows.chat()
    rows.attach(rows.message(chat, "user", "look"), b"secret bytes")
    (row,) = messages.conversation(rows.database, chat["thread_id"])
    (file,) = row["attachments"]
    assert (file["name"], file["size"], file["media_type"]) == ("note.txt", 12, "text/plain")
    assert "content" not in file


def test_an_answer_that_is_being_written_is_shown_as_far_as_it_came_and_nothing_is_written(rows):
    chat = rows.chat()
    rows.message(chat, "user", "go")
    whole = event("Hel") + event("lo, wörld") + event("! cut")
    rows.running(chat, [whole[:70], whole[70:131], whole[131:-10]])
    before = rows.database.connection.total_changes
    seen = reparse.complete(rows.database, messages.conversation(rows.database, chat["thread_id"]))
    assert [(row["role"], row["status"], row["content"]) for row in seen] == [
        ("user", "completed", "go"),
        ("assistant", "pending", "Hello, wörld"),
    ]
    assert rows.database.connection.total_changes == before


def test_a_place_in_a_thread_is_a_number_or_a_message(rows):
    chat, other = rows.chat(), rows.chat()
    first = rows.message(chat, "user", "one")
    second = rows.message(chat, "user", "two")
    elsewhere = rows.message(other, "user", "three")
    assert messages.at(rows.database, chat["thread_id"], "1")["id"] == first
    assert messages.at(rows.database, chat["thread_id"], second)["seq"] == 2
    assert messages.at(rows.database, chat["thread_id"], second[:8])["seq"] == 2
    for point in ("3", "0", elsewhere, "zzzz"):
        with pytest.raises(LlmctlError) as caught:
            messages.at(rows.database, chat["thread_id"], point)
        assert caught.value.exit_code == 3
