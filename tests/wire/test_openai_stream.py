"""Streams of Chat Completions: hand-written, each showing one thing that some host does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Unreadable,
    Usage,
    UsageReport,
    collect_response,
)
from llmctl.core.errors import ConfigError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Dialect, ServerEvent
from llmctl.wire import WIRES

WIRE = WIRES.load("openai-chat")
DONE = ServerEvent("[DONE]")


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> ServerEvent:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return ServerEvent(json.dumps({"id": "r1", "model": "m1", "choices": choices} | more))


def read(*events: ServerEvent, dialect: Dialect | None = None) -> ChatResponse:
    return collect_response(WIRE.parse_stream(events, dialect or Dialect()))


def calls(*pieces: dict[str, Any] | list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    deltas = [chunk({"tool_calls": piece if isinstance(piece, list) else [piece]}) for piece in pieces]
    return read(*deltas, chunk({}, "tool_calls"), DONE).message.tool_calls


def function(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    said = {"name": name, "arguments": arguments}
    return {"type": "function", "function": {key: value for key, value in said.items() if value is not None}} | more


# ---------------------------------------------------------------- text, who answers, the end


def test_text_comes_in_pieces_and_ends_with_its_reason() -> None:
    events = list(
        WIRE.parse_stream(
            [
                chunk({"role": "assistant", "content": "", "refusal": None}),
                chunk({"content": "Hel"}),
                chunk({"content": "lo"}),
                chunk({}, "stop"),
                DONE,
            ],
            Dialect(),
        )
    )
    assert events == [ResponseStart("m1", "r1"), TextDelta("Hel"), TextDelta("lo"), Finish("stop", "stop")]


def test_who_answers_is_taken_from_the_first_chunk_that_says() -> None:
    blank = ServerEvent(json.dumps({"id": "", "model": "", "choices": [], "prompt_filter_results": []}))
    response = read(blank, chunk({"content": "x"}, "stop", model="m1-2026"), DONE)
    assert (response.model, response.response_id) == ("m1-2026", "r1")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
        ("eos", "stop"),
        ("STOP", "stop"),
        ("tool_use", "tool_calls"),
        ("MAX_TOKENS", "length"),
        ("abort", "incomplete"),
        ("something new", "other"),
    ],
)
def test_finish_reason_has_our_word_and_theirs(raw: str, reason: str) -> None:
    response = read(chunk({"content": "x"}, raw), DONE)
    assert (response.finish_reason, response.raw_finish_reason) == (reason, raw)


def test_finish_reason_is_not_taken_back_by_a_later_null() -> None:
    response = read(
        chunk({"content": "x"}),
        chunk({"content": ""}, "length"),
        chunk({"content": ""}, None, usage={"prompt_tokens": 1, "completion_tokens": 1}),
        DONE,
    )
    assert response.finish_reason == "length"


def test_repeated_finish_reason_finishes_once() -> None:
    events = list(WIRE.parse_stream([chunk({"content": "x"}, "stop"), chunk({}, "stop")], Dialect(done_marker=False)))
    assert [event for event in events if isinstance(event, Finish)] == [Finish("stop", "stop")]


def test_stop_after_tool_calls_means_tool_calls() -> None:
    response = read(chunk({"tool_calls": [function("f", "{}", id="a", index=0)]}), chunk({}, "stop"), DONE)
    assert (response.finish_reason, response.raw_finish_reason) == ("tool_calls", "stop")


def test_refusal_is_text() -> None:
    response = read(chunk({"content": None, "refusal": "I will "}), chunk({"refusal": "not"}, "stop"), DONE)
    assert response.message.text == "I will not"


def test_only_the_first_of_several_answers_is_read() -> None:
    second = ServerEvent(json.dumps({"choices": [{"index": 1, "delta": {"content": "other"}}]}))
    response = read(chunk({"content": "one"}), second, chunk({}, "stop"), DONE)
    assert response.message.text == "one"


def test_chunks_beside_the_answer_are_passed_over() -> None:
    response = read(
        ServerEvent(json.dumps({"id": "r1", "model": "m1", "choices": [], "obfuscation": "xyz"})),
        chunk({"content": "x"}, "stop", p="abcdefgh"),
        ServerEvent(json.dumps({"id": "r1", "model": "m1", "choices": [], "moderation": {"flagged": False}})),
        ServerEvent(json.dumps({"choices": None})),
        DONE,
    )
    assert response.message.parts == (Text("x"),)
    assert response.unreadable == ()


# ---------------------------------------------------------------- when an answer is complete


@pytest.mark.parametrize(
    ("done_marker", "optional", "reason", "marker", "complete"),
    [
        (True, False, "stop", True, True),
        (True, False, "stop", False, False),
        (True, False, None, True, False),
        (True, True, None, True, True),
        (True, True, "stop", False, False),
        (False, False, "stop", False, True),
        (False, False, None, True, False),
        (False, False, None, False, False),
        (False, True, None, True, True),
        (False, True, "stop", False, True),
        (False, True, None, False, False),
    ],
)
def test_answer_is_complete_only_with_its_terminal_event(
    done_marker: bool, optional: bool, reason: str | None, marker: bool, complete: bool
) -> None:
    dialect = Dialect(done_marker=done_marker, finish_reason_optional=optional)
    response = read(chunk({"content": "x"}, reason), *([DONE] if marker else []), dialect=dialect)
    said = "stop" if reason else "other"  # nobody said that it is complete
    assert response.finish_reason == (said if complete else None)
    assert response.message.text == "x"


@pytest.mark.parametrize("choices", [[{"index": 0, "delta": {}}], [], None])
def test_done_marker_after_nothing_is_no_answer(choices: Any) -> None:
    lost = {"id": "", "model": "", "choices": choices, "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    response = read(
        ServerEvent(json.dumps(lost)), DONE, dialect=Dialect(done_marker=False, finish_reason_optional=True)
    )
    assert (response.finish_reason, response.usage) == (None, None)


def test_usage_after_a_terminal_finish_reason_still_counts() -> None:
    response = read(
        chunk({"content": "x"}, "stop"),
        chunk(None, usage={"prompt_tokens": 2, "completion_tokens": 3}),
        dialect=Dialect(done_marker=False),
    )
    assert response.finish_reason == "stop"
    assert response.usage == Usage(2, 3)


def broken(*events: ServerEvent) -> Iterator[ServerEvent]:
    yield from events
    raise UnavailableError("cut", reason="cut")


def test_connection_cut_after_the_terminal_event_loses_nothing() -> None:
    dialect = Dialect(done_marker=False)
    assert collect_response(WIRE.parse_stream(broken(chunk({"content": "x"}, "stop")), dialect)).finish_reason == "stop"
    assert (
        collect_response(WIRE.parse_stream(broken(chunk({"content": "x"}, "stop"), DONE), Dialect())).finish_reason
        == "stop"
    )


def test_connection_cut_before_the_terminal_event_is_an_error() -> None:
    for dialect, reason in ((Dialect(), "stop"), (Dialect(done_marker=False), None)):
        with pytest.raises(UnavailableError, match="cut"):
            collect_response(WIRE.parse_stream(broken(chunk({"content": "x"}, reason)), dialect))


def test_nothing_is_read_after_the_marker() -> None:
    read_on = iter([chunk({"content": "x"}, "stop"), DONE, chunk({"content": "y"})])
    assert collect_response(WIRE.parse_stream(read_on, Dialect())).message.text == "x"
    assert next(read_on)


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("data", ["{not json", '{"choices": [{"delta": {"cont', '[{"choices": ['])
def test_undecodable_event_is_reported_and_reading_continues(data: str) -> None:
    events = list(WIRE.parse_stream([ServerEvent(data), chunk({"content": "x"}, "stop"), DONE], Dialect()))
    assert isinstance(events[0], Unreadable)
    assert data in events[0].detail
    assert events[-1] == Finish("stop", "stop")


def test_undecodable_event_does_not_show_a_key() -> None:
    (event,) = WIRE.parse_stream([ServerEvent("oops sk-proj-abcdefghij0123456789")], Dialect())
    assert isinstance(event, Unreadable)
    assert "abcdefghij" not in event.detail


def test_blank_event_is_no_event() -> None:
    assert list(WIRE.parse_stream([ServerEvent(""), ServerEvent("  ")], Dialect())) == []


def test_raw_control_characters_in_a_string_are_taken() -> None:
    event = ServerEvent('{"choices":[{"delta":{"content":"a\tb"},"finish_reason":"stop"}]}')
    assert read(event, DONE).message.text == "a\tb"


FIELDS = re.findall(
    r"\w+",
    "id model choices index delta message content reasoning reasoning_content reasoning_details type text summary "
    "signature thinking tool_calls function name arguments function_call finish_reason usage prompt_tokens "
    "completion_tokens total_tokens prompt_tokens_details cost x_groq citations annotations extra_content google "
    "thought_signature refusal error code",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)
SHAPED = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"delta": JSON}, optional={"finish_reason": JSON}), max_size=2)},
    optional={"usage": JSON, "id": JSON, "model": JSON},
)


@given(st.lists(JSON | SHAPED, max_size=5))
def test_json_of_any_shape_is_read_without_an_accident(values: list[Any]) -> None:
    total = ResponseBuilder()
    for dialect in (Dialect(), Dialect(done_marker=False, thinking_on_top=True)):
        try:
            for event in WIRE.parse_stream([ServerEvent(json.dumps(value)) for value in values] + [DONE], dialect):
                total.add(event)
            total.build()
        except LlmctlError:
            pass


# ---------------------------------------------------------------- errors inside a 200


def test_error_event_raises_its_class_after_earlier_events() -> None:
    error = {"error": {"message": "bad tool call", "code": "tool_use_failed", "status_code": 400}}
    events = WIRE.parse_stream([chunk({"content": "x"}), ServerEvent(json.dumps(error), "error")], Dialect())
    assert next(events)
    assert next(events) == TextDelta("x")
    with pytest.raises(RejectedError, match="bad tool call") as raised:
        next(events)
    assert raised.value.status_code == 400


def test_error_with_usage_is_still_counted() -> None:
    last = chunk({"content": ""}, error={"code": 502, "message": "upstream gone"}, usage={"prompt_tokens": 4})
    events = WIRE.parse_stream([chunk({"content": "x"}), last, DONE], Dialect())
    assert list(islice(events, 3))[-1] == UsageReport(Usage(input_tokens=4, unknown="output"))
    with pytest.raises(UnavailableError, match="upstream gone"):
        next(events)


@pytest.mark.parametrize(
    ("event", "kind", "reason"),
    [
        (ServerEvent('{"error": "upstream overloaded", "error_type": "overloaded"}'), UnavailableError, "overloaded"),
        (ServerEvent('{"error": {"message": "boom"}}'), UnavailableError, "server_error"),
        (ServerEvent("it broke", "error"), UnavailableError, "server_error"),
        (ServerEvent('{"message": "no such key", "code": 401}', "error"), ConfigError, "auth"),
        (
            ServerEvent('{"object": "error", "message": "maximum context length is 8", "code": 400}'),
            RejectedError,
            "context_length",
        ),
        (
            ServerEvent('{"error": {"message": "slow down", "type": "rate_limit_error"}}'),
            UnavailableError,
            "rate_limit",
        ),
        (chunk({"content": ""}, "error"), UnavailableError, "server_error"),
        (
            ServerEvent('{"choices": [{"delta": {}, "error": {"code": 429, "message": "later"}}]}'),
            UnavailableError,
            "rate_limit",
        ),
    ],
)
def test_error_inside_a_stream_has_its_class(event: ServerEvent, kind: type[LlmctlError], reason: str) -> None:
    with pytest.raises(kind) as raised:
        read(chunk({"content": "x"}), event, DONE)
    assert type(raised.value) is kind
    assert raised.value.reason == reason


def test_null_error_is_none() -> None:
    assert read(chunk({"content": "x"}, "stop", error=None), DONE).finish_reason == "stop"


# ---------------------------------------------------------------- tool calls


def test_tool_call_in_pieces_is_joined() -> None:
    assert calls(
        function("weather", "", id="call_1", index=0),
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 0, "function": {"arguments": '"Berlin"}'}},
    ) == (ToolCall("call_1", "weather", '{"city":"Berlin"}'),)


def test_parallel_tool_calls_are_kept_apart_by_index() -> None:
    found = calls(
        function("a", "", id="1", index=0),
        function("b", "", id="2", index=1),
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "function": {"arguments": "[]"}},
    )
    assert found == (ToolCall("1", "a", "{}"), ToolCall("2", "b", "[]"))


def test_whole_tool_calls_without_index_are_each_a_call() -> None:
    found = calls([function("a", "{}", id="1"), function("a", '{"x":1}', id="2")])
    assert [(call.id, call.arguments) for call in found] == [("1", "{}"), ("2", '{"x":1}')]


def test_whole_tool_calls_that_all_say_index_zero_are_each_a_call() -> None:
    found = calls(function("a", "{}", id="1", index=0), function("b", "{}", id="2", index=0))
    assert [call.name for call in found] == ["a", "b"]
    nameless = calls(function("a", "{}", id="", index=0), function("a", '{"x":1}', id="", index=0))
    assert [call.arguments for call in nameless] == ["{}", '{"x":1}']


def test_id_and_name_repeated_with_each_piece_stay_one_call() -> None:
    found = calls(
        function("a", '{"x"', id="1", index=0),
        function("a", ":1", id="1", index=0),
        function("a", "}", id="1", index=0),
    )
    assert found == (ToolCall("1", "a", '{"x":1}'),)
    assert calls(function("a", '{"x"', index=0), function("a", ":1}", index=0))[0].arguments == '{"x":1}'


def test_missing_id_gets_a_stable_one() -> None:
    found = calls(function("a", "{}", id="", index=0), function("b", "{}", index=1))
    assert [call.id for call in found] == ["call_0", "call_1"]
    assert found[0].metadata == {"provider_id": ""}
    assert found[1].metadata == {}


def test_id_that_comes_later_is_taken() -> None:
    found = calls(function("a", "", index=0), {"index": 0, "id": "late", "function": {"arguments": "{}"}})
    assert found == (ToolCall("late", "a", "{}"),)


@pytest.mark.parametrize(
    ("arguments", "text"), [(None, "{}"), ("", "{}"), ({"a": "ü"}, '{"a":"ü"}'), ("{broken", "{broken")]
)
def test_arguments_of_any_kind_become_text(arguments: Any, text: str) -> None:
    (call,) = calls(function("a", arguments, id="1", index=0))
    assert call.arguments == text


def test_legacy_function_call_is_a_tool_call() -> None:
    response = read(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"a":1}'}}),
        chunk({}, "function_call"),
        DONE,
    )
    assert response.message.tool_calls == (ToolCall("call_0", "f", '{"a":1}'),)
    assert response.finish_reason == "tool_calls"


def test_empty_function_call_is_none() -> None:
    response = read(
        chunk({"content": "x", "function_call": {"name": "", "arguments": ""}, "tool_calls": None}, "stop"), DONE
    )
    assert response.message.parts == (Text("x"),)
    assert response.finish_reason == "stop"


def test_signature_of_a_tool_call_is_kept_for_its_provider() -> None:
    extra = {"google": {"thought_signature": "sig"}}
    (call,) = calls(function("a", "{}", id="1", index=0, extra_content=extra))
    assert call.metadata == {"extra_content": extra}


# ---------------------------------------------------------------- thinking


def test_thinking_comes_in_either_field() -> None:
    for field in ("reasoning_content", "reasoning"):
        response = read(
            chunk({field: "Hm", "content": None}),
            chunk({field: "m.", "content": ""}),
            chunk({"content": "4"}, "stop"),
            DONE,
        )
        assert response.message.parts == (Thinking("Hmm."), Text("4"))


def test_thinking_said_in_two_fields_is_taken_once() -> None:
    both = {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}]}
    assert read(chunk(both), DONE).message.thinking == "Hm"
    assert read(chunk({"reasoning": "Hm", "reasoning_content": "Hm"}), DONE).message.thinking == "Hm"


def test_thinking_details_are_merged_by_index_with_their_signature() -> None:
    shape = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    response = read(
        chunk({"reasoning": "Let ", "reasoning_details": [shape | {"text": "Let "}]}),
        chunk({"reasoning": "me.", "reasoning_details": [shape | {"text": "me."}]}),
        chunk({"reasoning_details": [shape | {"signature": "sig"}]}),
        chunk({"content": "4"}, "stop"),
        DONE,
    )
    assert response.message.parts == (Thinking("Let me.", "sig", shape), Text("4"))


def test_thinking_details_of_several_kinds_are_parts_of_their_own() -> None:
    summary = {"type": "reasoning.summary", "summary": "I looked.", "index": 0, "format": "openai-responses-v1"}
    sealed = {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "index": 0, "format": "openai-responses-v1"}
    other = sealed | {"id": "rs_2", "data": "gBBB"}
    response = read(chunk({"reasoning_details": [summary, sealed, other]}, "stop"), DONE)
    first, second, third = response.message.parts
    assert isinstance(first, Thinking)
    assert first.text == "I looked."
    assert (second.metadata, third.metadata) == (sealed, other)


def test_thinking_between_texts_is_a_part_of_its_own() -> None:
    response = read(
        chunk({"reasoning": "a"}),
        chunk({"content": "b"}),
        chunk({"reasoning": "c"}),
        chunk({"content": "d"}, "stop"),
        DONE,
    )
    assert [part.text for part in response.message.parts if isinstance(part, Thinking)] == ["a", "c"]
    assert response.message.text == "bd"


def test_content_as_a_list_holds_thinking_and_text() -> None:
    def thought(text: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": True}

    response = read(
        chunk({"content": ""}),
        chunk({"content": [thought("Ok")]}),
        chunk({"content": [thought("ay."), {"type": "text", "text": "1"}]}),
        chunk({"content": "44"}, "stop"),
        DONE,
    )
    assert response.message.parts == (Thinking("Okay."), Text("144"))


def test_think_tags_stay_text() -> None:
    assert read(chunk({"content": "<think>x</think>y"}, "stop"), DONE).message.parts == (Text("<think>x</think>y"),)


def test_signature_of_a_message_is_kept() -> None:
    extra = {"google": {"thought": True, "thought_signature": "sig"}}
    response = read(chunk({"content": "x", "extra_content": extra}, "stop"), DONE)
    assert response.message.parts == (Text("x"), Thinking("", "sig", {"extra_content": extra}))


# ---------------------------------------------------------------- citations and the like


def test_citations_belong_to_the_message() -> None:
    events = list(
        WIRE.parse_stream(
            [
                chunk({"content": "x"}, citations=["u1"], search_results=[{"url": "u1"}]),
                chunk({"content": "y"}, "stop", citations=["u1"], search_results=[{"url": "u1"}]),
                DONE,
            ],
            Dialect(),
        )
    )
    assert collect_response(events).message.metadata == {"citations": ["u1"], "search_results": [{"url": "u1"}]}
    assert len(events) == 6  # Start, two texts, two findings said once, finish.


def test_annotations_add_up_over_chunks() -> None:
    one, two = {"type": "url_citation", "url": "1"}, {"type": "url_citation", "url": "2"}
    response = read(
        chunk({"content": "x", "annotations": [one]}), chunk({"annotations": [one, two]}), chunk({}, "stop"), DONE
    )
    assert response.message.metadata == {"annotations": [one, two]}


def test_delta_beside_the_message_so_far_is_not_doubled() -> None:
    def both(delta: str, message: str, reason: str | None = None) -> ServerEvent:
        choice = {"index": 0, "delta": {"content": delta}, "message": {"content": message}, "finish_reason": reason}
        return ServerEvent(json.dumps({"choices": [choice]}))

    response = read(both("1", "1"), both(" 2", "1 2"), both("", "1 2", "stop"), dialect=Dialect(done_marker=False))
    assert response.message.text == "1 2"
    assert response.finish_reason == "stop"


# ---------------------------------------------------------------- usage


def usage_of(usage: dict[str, Any], **dialect: Any) -> Usage | None:
    return read(chunk({"content": "x"}, "stop"), chunk(None, usage=usage), DONE, dialect=Dialect(**dialect)).usage


@pytest.mark.parametrize(
    ("said", "dialect", "meant"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}, {}, Usage(9, 5)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            {},
            Usage(9, 5, 4, 2, 3),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, {}, Usage(9, 5, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 5, "num_cached_tokens": 4}, {}, Usage(9, 5, 4)),
        (
            {"prompt_tokens": 7, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 161}},
            {},
            Usage(7, 8, 7),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "total_tokens": 42,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            {"thinking_on_top": True},
            Usage(10, 32, thinking_tokens=30),
        ),
        (
            {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
            {"thinking_on_top": True},
            Usage(35, 74, thinking_tokens=62),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 3}},
            {"thinking_on_top": True},
            Usage(9, 8, thinking_tokens=3),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 32,
                "total_tokens": 42,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            {"thinking_on_top": True},
            Usage(10, 32, thinking_tokens=30),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 248,
                "total_tokens": 632,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 375},
            },
            {},
            Usage(384, 248, details={"input_audio_tokens": 375}),
        ),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.5}, {}, Usage(1, 1, cost=0.5)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0}, {}, Usage(1, 1, cost=0.0)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": {"total_cost": 0.25}}, {}, Usage(1, 1, cost=0.25)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": {"total_cost": 0}}, {}, Usage(1, 1)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost_in_usd_ticks": 20000000000}, {}, Usage(1, 1, cost=2.0)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost_in_usd_ticks": 0}, {}, Usage(1, 1)),
        ({"prompt_tokens": 3, "completion_tokens": None}, {}, Usage(3, 0, unknown="output")),
        ({"queue_time": 0.1}, {}, None),
    ],
)
def test_usage_is_normalized(said: dict[str, Any], dialect: dict[str, Any], meant: Usage | None) -> None:
    assert usage_of(said, **dialect) == meant


def test_usage_is_found_wherever_it_stands() -> None:
    counts = {"prompt_tokens": 2, "completion_tokens": 3}
    groq = chunk({}, "stop", x_groq={"id": "req", "usage": counts})
    for events in (
        [chunk({"content": "x"}, "stop", usage=counts)],
        [chunk({"content": "x"}, "stop"), chunk(None, usage=counts)],
        [chunk({"content": "x"}, "stop"), chunk({"content": ""}, None, usage=counts)],
        [chunk({"content": "x"}), groq],
    ):
        assert read(*events, DONE).usage == Usage(2, 3)


def test_cumulative_usage_counts_last() -> None:
    events = [chunk({"content": "x"}, usage={"prompt_tokens": 8, "completion_tokens": n}) for n in (1, 2, 2, 3)]
    found = [event for event in WIRE.parse_stream(events, Dialect()) if isinstance(event, UsageReport)]
    assert [report.usage.output_tokens for report in found] == [1, 2, 3]
