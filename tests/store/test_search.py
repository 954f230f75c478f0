"""Search: what people type finds what it says, and is never a syntax error."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmctl.core.errors import UsageError
from llmctl.store import search
from llmctl.store.search import FtsQuery, SearchFilter
from tests.fakes.hub_builder import HubBuilder

UUID = "3f2a9c1e-1111-4222-8333-444455556666"


def add_messages(hub: HubBuilder, *texts: str, **more: Any) -> Any:
    chat = hub.chat(**more)
    for text in texts:
        hub.message(chat, "user", text)
    return chat


def hits(hub: HubBuilder, text: str, limit: int = 50, raw: bool = False, **wanted: Any) -> list[str]:
    """Return what was found as plain texts, in order."""
    found = search.search(hub.database, text, SearchFilter(**wanted), limit, raw=raw)
    return [row["snippet"].replace("\x02", "").replace("\x03", "") for row in found]


@pytest.mark.parametrize(
    ("query", "text", "decoy"),
    [
        ("c++", "I like c++ best", "vitamin c is best"),
        ("C++", "I like c++ best", "C is best"),
        ("foo-bar", "the foo-bar option", "a bar called foo"),
        ("what's", "so what's new", "what is new"),
        ("what's", "so what’s new", "what some say"),
        ("a@b.com", "mail a@b.com please", "a b or com"),
        (UUID, f"request {UUID} failed", "request 3f2a9c1e failed"),
        ("3f2a9c1e-11", f"request {UUID} failed", "3f2a9c1e and 11"),
        ('"', 'she said "no"', "she said no"),
        ("++", "i++;", "i is two"),
        (".net", "the .net runtime", "the net runtime"),
        ("#42", "fixes #42", "fixes 42"),
        ("--flag", "pass --flag to it", "the flag to pass"),
        ("__init__", "in __init__ of it", "the init of it"),
        ("50%", "at 50% off", "at 50 off"),
        ("a_b", "the a_b column", "the a b column"),
        ("wizard", "two wizards met", "a lizard"),
        ("naive", "a naïve idea", "a native idea"),
        ("NAÏVE", "a naïve idea", "a native idea"),
        ("ärger-amt", "das ÄRGER-Amt", "amt und Ärger"),
        ("東京", "私は東京に行く", "私は京都に行く"),
        ("東京 hotel", "東京の hotel", "hotel 京都"),
        ("🎉", "shipped 🎉", "shipped"),
        ("hello, world?", "hello there world", "hello there"),
        ('"red apple"', "a red apple", "a red, ripe apple"),
        ('"c++ code"', "some c++ code", "some c code"),
        ("NOT", "it is not so", "so it is"),
        ("a AND b", "a and b", "a b"),
        ("NEAR(a b)", "near(a b)", "near a b"),
        ("col:x", "the col:x thing", "the col x thing"),
        ("x*", "2 x* 3", "2 xy 3"),
        ("(why)", "because (why) not", "why not"),
        ("\\d+", "match \\d+ here", "match d here"),
        ("^start", "the ^start anchor", "the start anchor"),
    ],
)
def test_search_terms_match_literally(any_hub: HubBuilder, query: Any, text: str, decoy: str) -> None:
    add_messages(any_hub, text, decoy)
    assert hits(any_hub, query) == [text]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from(string.punctuation + "ab1 é’東🎉\u0301\u200d"), min_size=1, max_size=12))
def test_no_query_is_a_syntax_error(any_hub: HubBuilder, query: Any) -> None:
    if query.strip():
        search.search(any_hub.database, query, SearchFilter(), 5)


@pytest.mark.parametrize("query", ["", "  ", "\t\n"])
def test_nothing_to_search_for_is_a_usage_error(any_hub: HubBuilder, query: str) -> None:
    with pytest.raises(UsageError, match="the search text is empty"):
        search.search(any_hub.database, query, SearchFilter(), 5)


def test_only_the_last_word_may_go_on(any_hub: HubBuilder) -> None:
    add_messages(any_hub, "wizards met here")
    assert hits(any_hub, "met wiz") == ["wizards met here"]
    assert hits(any_hub, "wiz met") == []
    assert hits(any_hub, '"wiz"') == []


def test_the_raw_language_is_there_when_asked_for(any_hub: HubBuilder) -> None:
    add_messages(any_hub, "monads in haskell", "monads in scala")
    assert hits(any_hub, "monad* NOT haskell", raw=True) == ["monads in scala"]


@pytest.mark.parametrize("query", ["c++", '"', "AND", "foo-bar", "nosuch:x", "NEAR(", "*"])
def test_a_wrong_raw_query_is_a_usage_error_that_says_why(any_hub: HubBuilder, query: str) -> None:
    with pytest.raises(UsageError, match="invalid full-text query") as caught:
        search.search(any_hub.database, query, SearchFilter(), 5, raw=True)
    assert caught.value.hint


def test_filters_all_have_to_hold(any_hub: HubBuilder) -> None:
    a = add_messages(any_hub, "apple one", model="gpt-5")
    b = any_hub.chat("second", model="sonnet")
    any_hub.message(b, "user", "apple two")
    later = any_hub.tick(60)
    any_hub.message(b, "assistant", "apple three", model_id="opus")
    assert hits(any_hub, "apple", chat_id=a["id"]) == ["apple one"]
    assert hits(any_hub, "apple", role="assistant") == ["apple three"]
    assert hits(any_hub, "apple", model="sonnet") == ["apple two"]
    assert hits(any_hub, "apple", model="opus") == ["apple three"]
    assert hits(any_hub, "apple", since=later) == ["apple three"]
    assert hits(any_hub, "apple", since=later, chat_id=a["id"]) == []
    assert len(hits(any_hub, "apple", limit=2)) == 2
    assert len(hits(any_hub, '"', limit=2)) == 0


def test_filters_hold_for_signs_too(any_hub: HubBuilder) -> None:
    a = add_messages(any_hub, "one ->", "two ->")
    add_messages(any_hub, "three ->")
    assert hits(any_hub, "->", chat_id=a["id"]) == ["two ->", "one ->"]
    assert hits(any_hub, "->", limit=1) == ["three ->"]


def test_a_hit_names_chat_thread_place_and_role(any_hub: HubBuilder) -> None:
    chat = add_messages(any_hub, "an apple", name="fruit")
    (row,) = search.search(any_hub.database, "apple", SearchFilter(), 5)
    found = {name: row[name] for name in ("chat", "chat_id", "thread_id", "seq", "role", "snippet")}
    assert found == {
        "chat": "fruit",
        "chat_id": chat["id"],
        "thread_id": chat["thread_id"],
        "seq": 1,
        "role": "user",
        "snippet": "an \x02apple\x03",
    }


def test_a_step_in_between_is_found_and_names_its_chat(any_hub: HubBuilder) -> None:
    chat = any_hub.chat("fruit")
    any_hub.message(chat, "assistant", "thinking of an apple", chat_id=None)
    (row,) = search.search(any_hub.database, "apple", SearchFilter(), 5)
    assert (row["chat"], row["chat_id"]) == ("fruit", chat["id"])


def test_a_snippet_is_the_part_around_the_hit(any_hub: HubBuilder) -> None:
    add_messages(any_hub, "x " * 300 + "needle" + " y" * 300, "a " * 300 + "->" + " b" * 300)
    for query, marked in (("needle", "\x02needle\x03"), ("->", "\x02->\x03")):
        (row,) = search.search(any_hub.database, query, SearchFilter(), 5)
        assert marked in row["snippet"]
        assert len(row["snippet"]) < 250
        assert row["snippet"].startswith("…")
        assert row["snippet"].endswith("…")


def test_the_best_come_first_and_of_very_many_the_newest(any_hub: HubBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    add_messages(any_hub, "apple apple apple", "apple and many other things " + "filler " * 40)
    assert hits(any_hub, "apple")[0] == "apple apple apple"
    monkeypatch.setattr(search, "RANKED_HITS", 1)
    assert hits(any_hub, "apple")[-1] == "apple apple apple"


def test_deleted_messages_are_not_found(any_hub: HubBuilder) -> None:
    chat = add_messages(any_hub, "an apple")
    any_hub.database.execute("DELETE FROM {chats} WHERE id = ?", (chat["id"],))
    assert hits(any_hub, "apple") == []


def test_plain_text_becomes_phrases_and_literals() -> None:
    assert search.parse_query("foo bar") == FtsQuery('"foo" "bar"*', ())
    assert search.parse_query('say "hi there') == FtsQuery('"say" """hi" "there"*', ('"hi',))
    assert search.parse_query("c++") == FtsQuery('"c++"', ("c++",))
    assert search.parse_query("->") == FtsQuery(None, ("->",))
