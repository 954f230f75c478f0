"""Answers of Responses, whole and event by event: hand-written, each showing one thing that some host does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.chat import (
    ChatResponse,
    Finish,
    ResponseBuilder,
    ResponseStart,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    Usage,
    collect_response,
)
from llmctl.core.errors import LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.wire import WIRES

WIRE = WIRES.load("openai-responses")
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 17,
}


def response(*output: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "model": "m1", "status": status, "output": list(output), "usage": USAGE, **more}


def text_item(*texts: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": content, **more}


def call_item(id: str = "c1", arguments: str = '{"a":1}') -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": id, "name": "f", "arguments": arguments}


def frames(*events: dict[str, Any] | str) -> list[ServerEvent]:
    return [ServerEvent(event if isinstance(event, str) else json.dumps(event)) for event in events]


def read(*events: dict[str, Any] | str) -> ChatResponse:
    return collect_response(WIRE.parse_stream(frames(*events), Dialect()))


def whole(document: Any) -> ChatResponse:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return collect_response(WIRE.parse_response(body, Dialect()))


def piece(kind: str, text: str, place: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": place, "item_id": f"i{place}", "delta": text, **more}


def done(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def added(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def ended(*output: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": response(*output, status=status, **more)}


# ---------------------------------------------------------------- text, thinking, calls


def test_text_in_pieces_is_emitted_once() -> None:
    item = text_item("hello there")
    events = frames(
        {"type": "response.created", "response": {"id": "resp_1", "model": "m1"}},
        added({"type": "message", "content": []}),
        piece("output_text", "hello"),
        piece("output_text", " there"),
        done(item),
        ended(item),
    )
    found = list(WIRE.parse_stream(events, Dialect()))
    assert found[:3] == [ResponseStart("m1", "resp_1"), TextDelta("hello"), TextDelta(" there")]
    assert found[-1] == Finish("stop", "completed")
    assert collect_response(found).message.parts == (Text("hello there"),)


def test_what_the_pieces_left_out_is_told_by_the_finished_item() -> None:
    item = text_item("hello", " there")
    assert read(piece("output_text", "hel"), done(item), ended(item)).message.text == "hello there"
    assert read(done(item), ended(item)).message.text == "hello there"
    assert read(ended(item)).message.text == "hello there"


def test_a_stream_resumed_in_the_middle_repeats_nothing() -> None:
    assert read(piece("output_text", "there"), ended(text_item("hello there"))).message.text == "there"


def test_summaries_are_paragraphs_of_one_thought() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("one", "two")]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gAAA"}
    streamed = read(
        added({"type": "reasoning", "summary": [], "encrypted_content": "unfinished"}),
        piece("reasoning_summary_text", "one", summary_index=0),
        piece("reasoning_summary_text", "tw", summary_index=1),
        piece("reasoning_summary_text", "o", summary_index=1),
        done(item),
        ended(item),
    )
    (thought,) = streamed.message.parts
    assert isinstance(thought, Thinking)
    assert (thought.text, thought.signature) == ("one\n\ntwo", "gAAA")
    assert whole(response(item)).message.parts == streamed.message.parts


def test_reasoning_that_a_host_shows_is_thinking() -> None:
    item = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm, 4"}]}
    streamed = read(piece("reasoning_text", "hm,", content_index=0), done(item), ended(item))
    assert streamed.message.thinking == whole(response(item)).message.thinking == "hm, 4"


def test_calls_are_matched_by_position_not_id() -> None:
    first, second = call_item("c1"), call_item("c2", '{"b":2}')
    found = read(
        added(call_item("c1", "")),
        added(call_item("c2", ""), 1),
        piece("function_call_arguments", '{"a"', 0),
        piece("function_call_arguments", '{"b":2}', 1),
        piece("function_call_arguments", ":1}", 0),
        {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'},
        done(first),
        done(second, 1),
        ended(first, second),
    )
    calls = [(call.id, call.name, call.arguments) for call in found.message.tool_calls]
    assert calls == [("c1", "f", '{"a":1}'), ("c2", "f", '{"b":2}')]
    assert found.finish_reason == "tool_calls"
    assert whole(response(first, second)).message.tool_calls == found.message.tool_calls


def test_call_whose_beginning_was_missed_is_whole_at_its_end() -> None:
    found = read(piece("function_call_arguments", '{"a"'), done(call_item()), ended(call_item()))
    (call,) = found.message.tool_calls
    assert (call.id, call.name, call.arguments) == ("c1", "f", '{"a":1}')


def test_two_calls_of_one_id_are_two() -> None:
    assert len(whole(response(call_item("c1"), call_item("c1"))).message.tool_calls) == 2


def test_refusal_is_text_and_noted() -> None:
    item = {"type": "message", "content": [{"type": "refusal", "refusal": "I can't"}]}
    for found in (read(piece("refusal", "I can"), done(item), ended(item)), whole(response(item))):
        assert (found.message.text, found.message.metadata) == ("I can't", {"refusal": True})
        assert found.finish_reason == "stop"


def test_annotations_and_other_items_are_kept() -> None:
    note = {"type": "url_citation", "url": "https://x", "start_index": 0, "end_index": 2}
    other = {"type": "url_citation", "url": "https://y", "start_index": 0, "end_index": 2}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    item = text_item("found")
    item["content"][0]["annotations"] = [note, other]
    streamed = read(
        done(search),
        piece("output_text", "found", 1),
        {"type": "response.output_text.annotation.added", "output_index": 1, "annotation": note},
        done(item, 1),
        ended(search, item),
    )
    assert streamed.message.metadata == {"items": [search], "annotations": [note, other]}
    assert streamed.message == whole(response(search, item)).message
    assert streamed.usage is not None
    assert streamed.usage.details == {"web_searches": 1}


# ---------------------------------------------------------------- endings, usage, errors


def test_usage_counts_cached_and_thinking_as_parts() -> None:
    expected = Usage(10, 7, 4, 2, 5)
    assert read(ended(text_item("x"))).usage == whole(response(text_item("x"))).usage == expected
    more = USAGE | {"cost_in_usd_ticks": 5_000_000, "input_tokens_details": {"cached_tokens": 99}}
    found = whole(response(text_item("x"), usage=more)).usage
    assert found
    assert (found.cached_tokens, found.cost) == (10, pytest.approx(0.0005))
    assert whole(response(text_item("x"), usage=None)).usage is None


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "something"}, "incomplete"),
        (None, "incomplete"),
    ],
)
def test_incomplete_response_says_why(details: Any, reason: str) -> None:
    found = read(piece("output_text", "one"), ended(text_item("one"), status="incomplete", incomplete_details=details))
    assert (found.message.text, found.finish_reason) == ("one", reason)
    document = response(text_item("one"), status="incomplete", incomplete_details=details)
    assert whole(document).finish_reason == reason


ERRORS = [
    ({"code": "server_error", "message": "try again"}, UnavailableError, "server_error"),
    ({"code": "rate_limit_exceeded", "message": "slow"}, UnavailableError, "rate_limit"),
    ({"code": "server_is_overloaded", "message": "busy"}, UnavailableError, "overloaded"),
    ({"code": "context_length_exceeded", "message": "long"}, RejectedError, "context_length"),
    ({"code": "invalid_prompt", "message": "policy"}, RejectedError, "invalid_request"),
    ({"code": "image_content_policy_violation", "message": "no"}, RejectedError, "content_filter"),
    (None, UnavailableError, "server_error"),
]


def add_all(total: ResponseBuilder, events: Iterable[StreamEvent]) -> None:
    for event in events:
        total.add(event)


@pytest.mark.parametrize(("error", "kind", "reason"), ERRORS)
def test_failed_response_is_its_error_after_its_usage(error: Any, kind: type[LlmctlError], reason: str) -> None:
    for events in (
        WIRE.parse_stream(frames(piece("output_text", "one"), ended(status="failed", error=error)), Dialect()),
        WIRE.parse_response(json.dumps(response(text_item("one"), status="failed", error=error)).encode(), Dialect()),
    ):
        total = ResponseBuilder()
        with pytest.raises(kind) as caught:
            add_all(total, events)
        assert (type(caught.value), caught.value.reason) == (kind, reason)
        assert total.build().message.text == "one"
        assert total.build().usage == Usage(10, 7, 4, 2, 5)
        assert total.build().finish_reason is None


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {"error": {"code": 429, "message": "slow down"}},
    ],
)
def test_error_event_ends_the_stream(event: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError) as caught:
        read(piece("output_text", "one"), event)
    assert (caught.value.reason, caught.value.message) == ("rate_limit", "slow down")


def test_error_named_by_its_frame_needs_no_json() -> None:
    with pytest.raises(LlmctlError, match="the engine died"):
        list(WIRE.parse_stream([ServerEvent("the engine died", "error")], Dialect()))


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_response_that_is_not_there_is_none(status: str) -> None:
    with pytest.raises(RejectedError) as caught:
        whole(response(status=status))
    assert caught.value.reason == "no_answer"
    assert not caught.value.retryable


@pytest.mark.parametrize("document", [{}, {"detail": "no such path"}, {"error": "Incorrect API key", "code": "x"}])
def test_document_that_is_no_response_is_an_error(document: dict[str, Any]) -> None:
    with pytest.raises(LlmctlError):
        whole(document)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id": "resp', b"[]", b"null"])
def test_page_or_half_a_response_is_unavailable(body: bytes) -> None:
    with pytest.raises(UnavailableError) as caught:
        whole(body)
    assert caught.value.reason == "not_json"


def test_stream_without_its_end_has_no_finish() -> None:
    item = text_item("hello")
    events = [added(item), piece("output_text", "hello"), done(item)]
    assert read(*events).finish_reason is None
    assert read(*events, "[DONE]").finish_reason is None
    assert read(*events, ended(item), "nothing more is read").unreadable == ()


def test_unknown_events_are_passed_over_and_unreadable_ones_told() -> None:
    item = text_item("one")
    found = read(
        {"type": "response.something.new", "x": 1},
        {"type": ["no", "word"]},
        {"no": "type"},
        "",
        "{half",
        piece("output_text", "one"),
        done(item),
        ended(item),
    )
    assert (found.message.text, found.finish_reason) == ("one", "stop")
    assert len(found.unreadable) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "id", "text"]), inner),
    max_leaves=5,
)
KINDS = sorted(
    f"response.{kind}"
    for kind in (
        *("created", "completed", "failed", "incomplete", "output_item.added", "output_item.done"),
        *("output_text.delta", "refusal.delta", "reasoning_text.delta", "function_call_arguments.delta"),
        *("reasoning_summary_text.delta", "output_text.annotation.added"),
    )
)
FIELDS = ("delta", "item", "output_index", "item_id", "response", "annotation", "summary_index")


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3)), max_size=4)
)
def test_fields_of_any_shape_never_break_the_reader(events: list[tuple[str, dict[str, Any]]]) -> None:
    with suppress(LlmctlError):
        for _ in islice(WIRE.parse_stream(frames(*({"type": kind} | more for kind, more in events)), Dialect()), 50):
            pass


ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "other"])},
    optional=dict.fromkeys(("content", "summary", "arguments", "call_id", "name", "encrypted_content", "phase"), JSON),
)


@given(st.lists(ITEM, max_size=3), JSON, JSON, JSON)
def test_items_of_any_shape_never_break_the_reader(output: list[Any], usage: Any, error: Any, status: Any) -> None:
    document = {"output": output, "usage": usage, "error": error, "status": status}
    with suppress(LlmctlError):
        whole(document)


def test_reasoning_of_odd_pieces_is_read_as_far_as_it_can_be() -> None:
    item = {"type": "reasoning", "id": "rs", "summary": [7, {"text": "so"}, None], "content": 3}
    body = json.dumps({"status": "completed", "output": [item]}).encode()
    assert collect_response(WIRE.parse_response(body, Dialect())).message.thinking == "so"
