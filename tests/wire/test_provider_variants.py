"""The same thing in the different ways that hosts and gateways send it, over all wires, streamed and not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from llmctl.core.chat import ChatResponse, ResponseBuilder, ToolCall, Usage, collect_response
from llmctl.core.errors import (
    BudgetError,
    ConfigError,
    IncompleteError,
    LlmctlError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from llmctl.core.http import Dialect, ServerEvent
from llmctl.transport.sse import parse_sse
from llmctl.wire import WIRES
from llmctl.wire.tool_calls import CallArguments

COMPATIBLE = Dialect(done_marker=False, finish_reason_optional=True)
ROME, OSLO = '{"city":"Rome"}', '{"city":"Oslo"}'


def events(*documents: Any) -> list[ServerEvent]:
    return [ServerEvent(found if isinstance(found, str) else json.dumps(found)) for found in documents]


def stream(wire: str, *documents: Any, dialect: Dialect = COMPATIBLE) -> ChatResponse:
    return collect_response(WIRES.load(wire).parse_stream(events(*documents), dialect))


def whole(wire: str, document: Any, dialect: Dialect = COMPATIBLE) -> ChatResponse:
    return collect_response(WIRES.load(wire).parse_response(json.dumps(document).encode(), dialect))


def chat_chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": reason}]
    return {"id": "r1", "model": "m", "choices": choices} | more


def chat_answer(usage: Any = None, reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": "hi"}, "finish_reason": reason}], "usage": usage}


def block(number: int | None, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": number, "content_block": {"type": kind, **more}}


def delta(number: int | None, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": number, "delta": {"type": kind, **more}}


def stop(number: int | None) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": number}


def message_delta(reason: str, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


END = {"type": "message_stop"}


def responses_event(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **more}


def completed(*output: Any, kind: str = "completed", usage: Any = None, **more: Any) -> dict[str, Any]:
    response = {"id": "r1", "model": "m", "status": "completed", "output": list(output), "usage": usage, **more}
    return responses_event(kind, response=response)


def message_item(text: str, id: str = "msg1") -> dict[str, Any]:
    return {"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]}


def call_item(arguments: str, call_id: str = "c1", id: str = "fc1") -> dict[str, Any]:
    return {"type": "function_call", "id": id, "call_id": call_id, "name": "f", "arguments": arguments}


#: For each wire the events of an answer "hi"; the last one is terminal.
STREAMS: dict[str, list[Any]] = {
    "openai-chat": [chat_chunk({"content": "hi"}), chat_chunk({}, "stop")],
    "openai-responses": [responses_event("output_text.delta", item_id="a", delta="hi"), completed()],
    "anthropic": [block(0, "text"), delta(0, "text_delta", text="hi"), message_delta("end_turn"), END],
    "gemini": [{"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}],
    "ollama": [{"message": {"content": "hi"}}, {"message": {}, "done": True, "done_reason": "stop"}],
}
WIRE_NAMES = sorted(STREAMS)


# ---------------------------------------------------------------- arguments of a call


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((ROME,), ROME),
        (('{"city":', '"Rome"}'), ROME),
        (("{}", ROME), ROME),  # a placeholder
        (("{}", '{"city":', '"Rome"}'), ROME),
        (("null", ROME), ROME),
        (('""', ROME), ROME),
        ((ROME, ROME), ROME),  # sent twice
        ((ROME, '{"city":', '"Rome"}'), ROME),
        ((ROME, "{}"), ROME),
        (('{"ci', '{"city":"Ro', ROME), ROME),  # snapshots
        (("{", ROME), ROME),
        (('{"ci', '{"ci', ROME, ROME), ROME),
        (('{"city":"R"}', ROME), ROME),
        (('{"a":', '{"a":1}', "}"), '{"a":{"a":1}}'),  # no snapshot, but an object inside
        (('{"a":', '{"a":1}', ',"b":2}'), '{"a":{"a":1},"b":2}'),
        (('{"code":"', "{", "}", "{", '}"}'), '{"code":"{}{}"}'),
        (('{"a":[{}', ",{}", "]}"), '{"a":[{},{}]}'),
        (("", " ", "{}"), " {}"),
        (("{}",), "{}"),
        (("{broken", " off"), "{broken off"),
    ],
)
def test_pieces_of_arguments_are_joined_by_what_they_are(pieces: tuple[str, ...], expected: str) -> None:
    arguments, seen = CallArguments(), ""
    for piece in pieces:
        text, replaces = arguments.add(piece)
        seen = text if replaces else seen + text
    assert arguments.text == seen == expected


@pytest.mark.parametrize(
    ("pieces", "finished", "expected"),
    [
        ((), ROME, ROME),
        (('{"city":',), ROME, ROME),
        ((OSLO,), ROME, ROME),
        (('{"ci"',), "", '{"ci"'),
        ((ROME,), "{}", ROME),
        ((ROME,), "{cut", ROME),
        ((), "{}", "{}"),
    ],
)
def test_finished_arguments_complete_or_correct_their_pieces(
    pieces: tuple[str, ...], finished: str, expected: str
) -> None:
    arguments = CallArguments()
    for piece in pieces:
        arguments.add(piece)
    arguments.complete(finished)
    assert arguments.text == expected


@pytest.mark.slow
def test_long_arguments_in_many_pieces_take_linear_time() -> None:
    arguments = CallArguments()
    arguments.add('{"code":"')
    for _ in range(100_000):
        arguments.add("{}")
    assert len(arguments.text) == 200_009


# ---------------------------------------------------------------- pieces of calls in chat completions


def piece(name: str | None = None, arguments: Any = None, id: Any = None, index: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return found | ({} if id is None else {"id": id}) | ({} if index is None else {"index": index})


def chat_calls(*pieces: dict[str, Any] | list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    chunks = [chat_chunk({"tool_calls": found if isinstance(found, list) else [found]}) for found in pieces]
    calls = stream("openai-chat", *chunks, chat_chunk({}, "tool_calls")).message.tool_calls
    return [(call.id, call.name, call.arguments) for call in calls]


def in_halves(arguments: str) -> tuple[str, str]:
    return arguments[:8], arguments[8:]


ROME_1, ROME_2 = in_halves(ROME)
OSLO_1, OSLO_2 = in_halves(OSLO)
ONE_CALL: dict[str, list[Any]] = {
    "name in fragments": [piece("get_", "", "a", 0), piece("weather", "", index=0), piece(None, ROME, index=0)],
    "name in fragments with its id": [piece("get_", "", "a", 0), piece("weather", ROME, "a", 0)],
    "growing name": [piece("get_", "", "a", 0), piece("get_weather", ROME, "a", 0)],
    "name repeated": [piece("get_weather", ROME_1, "a", 0), piece("get_weather", ROME_2, index=0)],
    "name repeated without index": [piece("get_weather", ROME_1, "a"), piece("get_weather", ROME_2)],
    "name after id": [piece(None, None, "a", 0), piece("get_weather", ROME, index=0)],
    "new id in every piece": [
        *(piece("get_weather", "", "a", 0), piece(None, ROME_1, "b", 0), piece(None, ROME_2, "c", 0))
    ],
    "new id and name in every piece": [piece("get_weather", ROME_1, "a", 0), piece("get_weather", ROME_2, "b", 0)],
    "new id without index": [piece("get_weather", ROME_1, "a"), piece(None, ROME_2, "b")],
    "new index in every piece": [piece("get_weather", ROME_1, "a", 0), piece("get_weather", ROME_2, "a", 1)],
    "empty object first": [piece("get_weather", "{}", "a", 0), piece(None, ROME, index=0)],
    "empty object, then id and name again": [piece("get_weather", "{}", "a", 0), piece("get_weather", ROME, "a", 0)],
    "object and then text": [piece("get_weather", {}, "a", 0), piece(None, ROME_1, index=0), piece(None, ROME_2)],
    "whole call twice": [piece("get_weather", ROME, "a", 0), piece("get_weather", ROME, "a", 0)],
    "whole call twice without index": [piece("get_weather", ROME, "a"), piece("get_weather", ROME, "a")],
    "snapshots": [
        piece("get_weather", '{"ci', "a", 0),
        piece("get_weather", ROME_1, "a", 0),
        piece(None, ROME, "a", 0),
    ],
    "empty id in later pieces": [piece("get_weather", ROME_1, "a", 0), piece(None, ROME_2, "", 0)],
}


@pytest.mark.parametrize("name", ONE_CALL)
def test_pieces_of_one_call_are_one_call(name: str) -> None:
    assert chat_calls(*ONE_CALL[name]) == [("a", "get_weather", ROME)]


TWO_CALLS: dict[str, list[Any]] = {
    "index": [
        *(piece("f", "", "a", 0), piece("f", "", "b", 1), piece(None, ROME, index=0), piece(None, OSLO, index=1))
    ],
    "one index, ids": [
        *(piece("f", ROME_1, "a", 0), piece("f", OSLO_1, "b", 0), piece(None, ROME_2, "a", 0)),
        piece(None, OSLO_2, "b", 0),
    ],
    "one index, one after the other": [
        *(piece("f", ROME_1, "a", 0), piece(None, ROME_2, index=0), piece("f", OSLO_1, "b", 0)),
        piece(None, OSLO_2, index=0),
    ],
    "no index": [piece("f", ROME_1, "a"), piece(None, ROME_2), piece("f", OSLO_1, "b"), piece(None, OSLO_2)],
    "no index, ids": [
        *(piece("f", ROME_1, "a"), piece("f", OSLO_1, "b"), piece(None, OSLO_2, "b"), piece(None, ROME_2, "a"))
    ],
    "in one chunk": [[piece("f", ROME, "a"), piece("f", OSLO, "b")]],
}


@pytest.mark.parametrize("name", TWO_CALLS)
def test_pieces_of_parallel_calls_are_told_apart(name: str) -> None:
    assert chat_calls(*TWO_CALLS[name]) == [("a", "f", ROME), ("b", "f", OSLO)]


TWO_CALLS_WITH_ONE_ID: dict[str, list[Any]] = {
    "index": [piece("f", ROME, "a", 0), piece("f", OSLO, "a", 1)],
    "index, in pieces": [
        *(piece("f", "", "a", 0), piece("f", "", "a", 1), piece(None, ROME, index=0), piece(None, OSLO, index=1))
    ],
    "no index": [piece("f", ROME, "a"), piece("f", OSLO, "a")],
    "in one chunk": [[piece("f", ROME, "a", 0), piece("f", OSLO, "a", 0)]],
}


@pytest.mark.parametrize("name", TWO_CALLS_WITH_ONE_ID)
def test_two_calls_with_one_id_are_two_with_ids_of_their_own(name: str) -> None:
    assert chat_calls(*TWO_CALLS_WITH_ONE_ID[name]) == [("a", "f", ROME), ("a#2", "f", OSLO)]


@pytest.mark.parametrize("id", ["", None])
def test_calls_without_id_in_one_chunk_are_each_a_call(id: str | None) -> None:
    found = chat_calls([piece("f", None, id, 0), piece("f", None, id, 0), piece("g", None, id, 0)])
    assert found == [("call_0", "f", "{}"), ("call_1", "f", "{}"), ("call_2", "g", "{}")]


SAME_ID = [ToolCall("x", "f", ROME), ToolCall("x#2", "f", OSLO)]


@pytest.mark.parametrize(
    ("wire", "found"),
    [
        (
            "anthropic",
            [
                *(block(0, "tool_use", id="x", name="f", input={"city": "Rome"}), stop(0)),
                *(
                    block(1, "tool_use", id="x", name="f", input={"city": "Oslo"}),
                    stop(1),
                    message_delta("tool_use"),
                    END,
                ),
            ],
        ),
        ("openai-responses", [completed(call_item(ROME, "x"), call_item(OSLO, "x"))]),
        (
            "ollama",
            [
                {
                    "message": {
                        "tool_calls": [
                            {"id": "x", "function": {"name": "f", "arguments": json.loads(text)}}
                            for text in (ROME, OSLO)
                        ]
                    },
                    "done": True,
                }
            ],
        ),
    ],
)
def test_id_used_twice_is_made_distinct_on_every_wire(wire: str, found: list[Any]) -> None:
    calls = stream(wire, *found).message.tool_calls
    assert [call.replace(metadata={}) for call in calls] == SAME_ID


@pytest.mark.parametrize(
    ("called", "meant"),
    [
        ("get_weather", "get_weather"),
        ("functions.get_weather", "get_weather"),
        ("default_api.get_weather", "get_weather"),
        ("default_api:get_weather", "get_weather"),
        ("functions.get_weather:0", "get_weather"),
        ("get_weather<|channel|>commentary", "get_weather"),
        ("functions.get_weather<|channel|>json", "get_weather"),
        (" get_weather", "get_weather"),
        ("files.read", "files.read"),
        ("functions.unknown", "functions.unknown"),
        ("get_weather2", "get_weather2"),
    ],
)
def test_name_with_something_around_it_is_the_tool_that_was_offered(called: str, meant: str) -> None:
    chunks = [chat_chunk({"tool_calls": [piece(called, ROME, "a", 0)]}), chat_chunk({}, "tool_calls")]
    builder = ResponseBuilder(["get_weather", "read", "files.read"])
    for event in WIRES.load("openai-chat").parse_stream(events(*chunks), COMPATIBLE):
        builder.add(event)
    (call,) = builder.build().message.tool_calls
    assert call.name == meant


# ---------------------------------------------------------------- items of responses


def text_events(*ids: Any, place: Any = None, finished: str = "hi you") -> list[dict[str, Any]]:
    """Return deltas and finished pieces of a message; ``ids`` are those of the five events."""
    base: list[dict[str, Any]] = [
        responses_event("output_text.delta", delta="hi"),
        responses_event("output_text.delta", delta=" you"),
        responses_event("output_text.done", text=finished),
        responses_event("content_part.done", part={"type": "output_text", "text": finished}),
        responses_event("output_item.done", item=message_item(finished)),
    ]
    for event, id in zip(base, ids, strict=False):
        event |= {"item_id": id} if "item" not in event else {"item": event["item"] | {"id": id}}
    return [event | ({} if place is None else {"output_index": place}) for event in base]


@pytest.mark.parametrize("place", [None, 0, 3])
@pytest.mark.parametrize("ids", [(), ("m",) * 5, ("a", "b", "c", "d", "e"), ("",) * 5, (None,) * 5])
@pytest.mark.parametrize("kept", [(0, 1), (2,), (3,), (4,), (0, 2), (0, 4), (0, 1, 2, 3, 4), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("at_end", [True, False])
def test_text_comes_once_whatever_events_say_it(
    place: int | None, ids: tuple[Any, ...], kept: tuple[int, ...], at_end: bool
) -> None:
    found = [text_events(*ids, place=place)[number] for number in kept]
    output = [message_item("hi you", "other")] if at_end else []
    assert stream("openai-responses", *found, completed(*output)).message.text == "hi you"


def test_text_that_was_shown_is_never_taken_back() -> None:
    found = text_events("m", "m", "m", "m", "m", finished="something else")
    assert stream("openai-responses", *found, completed(message_item("something else", "m"))).message.text == "hi you"


@pytest.mark.parametrize("shared", [True, False])
def test_items_of_different_kinds_at_one_place_are_told_apart(shared: bool) -> None:
    places = (0, 0, 0) if shared else (0, 1, 2)
    thought = {"type": "reasoning", "id": "rs1", "summary": [{"type": "summary_text", "text": "let me think"}]}
    output = [thought, message_item("hi you"), call_item(ROME)]
    found = [
        responses_event("reasoning_summary_text.delta", item_id="rs1", output_index=places[0], delta="let me"),
        *(
            responses_event("output_item.done", output_index=at, item=item)
            for at, item in zip(places, output, strict=True)
        ),
    ]
    response = stream("openai-responses", *found, completed(*output))
    message = response.message
    assert (message.thinking, message.text, message.tool_calls[0].arguments) == ("let me think", "hi you", ROME)
    assert len(message.parts) == 3


def test_two_messages_at_one_place_are_both_read() -> None:
    found = [
        responses_event("output_item.done", output_index=0, item=message_item(text, text)) for text in ("one", "two")
    ]
    assert stream("openai-responses", *found, completed()).message.text == "onetwo"
    both = completed(message_item("one", "one"), message_item("two", "two"))
    assert stream("openai-responses", *found, both).message.text == "onetwo"
    assert stream("openai-responses", found[0], both).message.text == "onetwo"


CALL_EVENTS = {
    "added": responses_event("output_item.added", item=call_item("")),
    "seed": responses_event("output_item.added", item=call_item(ROME)),
    "first": responses_event("function_call_arguments.delta", item_id="fc1", delta=ROME_1),
    "second": responses_event("function_call_arguments.delta", item_id="fc1", delta=ROME_2),
    "arguments": responses_event("function_call_arguments.done", item_id="fc1", arguments=ROME),
    "none": responses_event("function_call_arguments.done", item_id="fc1", arguments=""),
    "done": responses_event("output_item.done", item=call_item(ROME)),
}


@pytest.mark.parametrize("place", [None, 0])
@pytest.mark.parametrize("id", ["fc1", "other", None])
@pytest.mark.parametrize(
    "names",
    [
        "added arguments",
        "added done",
        "done",
        "seed",
        "seed arguments",
        "seed first second",
        "seed first second done",
        "seed first second arguments done",
        "added first second",
        "added first second none",
        "added first second arguments done",
        "added first done",
        "first second done",
        "arguments done",
        "added none done",
    ],
)
def test_call_comes_once_whatever_events_say_it(names: str, id: str | None, place: int | None) -> None:
    found = [dict(CALL_EVENTS[name]) for name in names.split()]
    for event in found:
        if place is not None:
            event["output_index"] = place
        if "item_id" in event:
            event["item_id"] = id
    for end in (completed(), completed(call_item(ROME)), completed(call_item(ROME, id="new"))):
        (call,) = stream("openai-responses", *found, end).message.tool_calls
        assert (call.id, call.name, call.arguments) == ("c1", "f", ROME)


@pytest.mark.parametrize("places", [(0, 1), (0, 0), (None, None)])
@pytest.mark.parametrize("ids", [("f1", "f2"), (None, None)])
def test_parallel_calls_are_told_apart_whatever_identifies_them(places: Any, ids: Any) -> None:
    items = [call_item(text, call_id) | {"id": id} for text, call_id, id in zip((ROME, OSLO), "ab", ids, strict=True)]
    events_by_call = []
    for item, place in zip(items, places, strict=True):
        more = {} if place is None else {"output_index": place}
        half = item["arguments"][:8]
        events_by_call.append(
            [
                responses_event("output_item.added", item=item | {"arguments": ""}, **more),
                responses_event("function_call_arguments.delta", item_id=item["id"], delta=half, **more),
                responses_event("output_item.done", item=item, **more),
            ]
        )
    (a1, a2, a3), (b1, b2, b3) = events_by_call
    orders = [(a1, a2, a3, b1, b2, b3)]
    if places == (0, 1) or ids != (None, None):
        orders.append((a1, b1, a2, b2, b3, a3))
    for order in orders:
        calls = stream("openai-responses", *order, completed()).message.tool_calls
        assert [(call.id, call.arguments) for call in calls] == [("a", ROME), ("b", OSLO)]


def test_call_that_was_announced_and_never_got_arguments_is_no_call_to_run() -> None:
    with pytest.raises(IncompleteError, match='a call of "f" and sent no arguments'):
        stream("openai-responses", CALL_EVENTS["added"], completed())
    (call,) = stream("openai-responses", CALL_EVENTS["added"], CALL_EVENTS["none"], completed()).message.tool_calls
    assert call.arguments == "{}"


@pytest.mark.parametrize("kind", ["completed", "done"])
def test_terminal_event_has_several_names(kind: str) -> None:
    usage = {"input_tokens": 4, "output_tokens": 3}
    response = stream("openai-responses", *text_events("m"), completed(kind=kind, usage=usage))
    assert (response.message.text, response.finish_reason, response.usage) == ("hi you", "stop", Usage(4, 3))


def test_stream_without_places_and_item_ids_at_the_end_is_read_once() -> None:
    """llama.cpp: deltas have an ``item_id``, the finished item only its own id."""
    lines = [
        *({"type": "response.output_item.added", "item": {"type": "message", "id": "m1", "content": []}},),
        *({"type": "response.output_text.delta", "item_id": "m1", "delta": text} for text in ("<|im", "_end|>")),
        {"type": "response.output_text.done", "item_id": "m1", "text": "<|im_end|>"},
        {"type": "response.output_item.done", "item": message_item("<|im_end|>", "m1")},
        completed(message_item("<|im_end|>", "m1")),
    ]
    assert stream("openai-responses", *lines).message.text == "<|im_end|>"


@pytest.mark.parametrize("family", ["reasoning_text", "reasoning_summary_text"])
@pytest.mark.parametrize("kept", [(0, 1), (0, 2), (1, 2), (0, 1, 2), (1,), (2,)])
def test_thinking_comes_once_whatever_events_say_it(family: str, kept: tuple[int, ...]) -> None:
    part = "summary" if "summary" in family else "content"
    item = {"type": "reasoning", "id": "rs", part: [{"type": "x", "text": "hm, 4"}]}
    found = [
        responses_event(f"{family}.delta", item_id="rs", delta="hm,"),
        responses_event(f"{family}.done", item_id="rs", text="hm, 4"),
        responses_event("output_item.done", item=item),
    ]
    chosen = [found[number] for number in kept]
    assert stream("openai-responses", *chosen, completed()).message.thinking == "hm, 4"


# ---------------------------------------------------------------- blocks of Anthropic


def anthropic_calls(*found: dict[str, Any]) -> list[tuple[str, str]]:
    response = stream("anthropic", *found, message_delta("tool_use"), END)
    return [(call.id, call.arguments) for call in response.message.tool_calls]


def json_delta(number: int | None, text: str) -> dict[str, Any]:
    return delta(number, "input_json_delta", partial_json=text)


@pytest.mark.parametrize("number", [0, None])
@pytest.mark.parametrize(
    "pieces", [(), (ROME,), (ROME_1, ROME_2), ("", ROME_1, ROME_2), ("{}", ROME), ('{"ci', ROME_1, ROME)]
)
def test_input_of_a_block_comes_once(number: int | None, pieces: tuple[str, ...]) -> None:
    for given in ({"city": "Rome"}, {}):
        if pieces or given:
            start = block(number, "tool_use", id="t1", name="f", input=given)
            assert anthropic_calls(start, *(json_delta(number, text) for text in pieces), stop(number)) == [
                ("t1", ROME)
            ]


@pytest.mark.parametrize("numbers", [(0, 1), (0, 0), (None, None), (1, 0)])
@pytest.mark.parametrize("stops", [True, False])
def test_blocks_are_told_apart_even_on_one_index(numbers: tuple[Any, Any], stops: bool) -> None:
    found = []
    for number, id, text in zip(numbers, ("a", "b"), (ROME, OSLO), strict=True):
        found += [block(number, "tool_use", id=id, name="f", input={}), json_delta(number, text)]
        found += [stop(number)] if stops else []
    assert anthropic_calls(*found) == [("a", ROME), ("b", OSLO)]


def test_piece_with_the_index_of_another_kind_of_block_goes_to_the_last_that_fits() -> None:
    found = [
        *(block(0, "text"), delta(0, "text_delta", text="hi"), stop(0)),
        *(block(1, "tool_use", id="a", name="f", input={}), json_delta(0, ROME), stop(1)),
    ]
    response = stream("anthropic", *found, message_delta("tool_use"), END)
    assert (response.message.text, response.message.tool_calls[0].arguments) == ("hi", ROME)


@pytest.mark.parametrize("done", [["[DONE]"], []])
def test_stop_reason_ends_the_answer_of_a_compatible_host(done: list[str]) -> None:
    found = [*STREAMS["anthropic"][:-1], *done]
    assert stream("anthropic", *found).finish_reason == "stop"
    assert stream("anthropic", *found, dialect=Dialect()).finish_reason == ("stop" if done else None)
    assert stream("anthropic", *STREAMS["anthropic"][:2], *done).finish_reason is None


# ---------------------------------------------------------------- endings


@pytest.mark.parametrize("note", [": keepalive", "ping", "OPENROUTER PROCESSING", "[PING]", "[1, 2]", '"text"', "null"])
@pytest.mark.parametrize("wire", WIRE_NAMES)
def test_keep_alive_as_data_does_not_spoil_a_complete_answer(wire: str, note: str) -> None:
    first, *rest = STREAMS[wire]
    response = stream(wire, note, first, note, *rest)
    assert (response.message.text, response.finish_reason, response.unreadable) == ("hi", "stop", ())
    (unreadable,) = stream(wire, note).unreadable  # it may say why there is no answer
    assert note in unreadable


@pytest.mark.parametrize("cut", ['{"choices": [{"delta": {"cont', "{half", '[{"candidates'])
@pytest.mark.parametrize("wire", WIRE_NAMES)
def test_damaged_event_is_reported_even_in_a_complete_answer(wire: str, cut: str) -> None:
    assert len(stream(wire, cut, *STREAMS[wire]).unreadable) == 1


REASONS = [
    *(("eos", "stop"), ("end_turn", "stop"), ("STOP", "stop"), ("MAX_TOKENS", "length"), ("max_tokens", "length")),
    *(("abort", "incomplete"), ("cancelled", "incomplete"), ("load", "incomplete"), ("SAFETY", "content_filter")),
    *(("refusal", "content_filter"), ("tool_use", "tool_calls"), ("something", "other")),
]


@pytest.mark.parametrize(("raw", "reason"), REASONS)
def test_finish_reason_is_known_in_the_words_of_any_wire(raw: str, reason: str) -> None:
    assert stream("openai-chat", chat_chunk({"content": "hi"}), chat_chunk({}, raw)).finish_reason == reason
    assert whole("openai-chat", chat_answer(reason=raw)).finish_reason == reason
    assert stream("anthropic", *STREAMS["anthropic"][:2], message_delta(raw), END).finish_reason == reason
    line = {"message": {"content": "hi"}, "done": True, "done_reason": raw}
    assert stream("ollama", line).finish_reason == whole("ollama", line).finish_reason == reason


#: Errors in a 200, in the envelopes of different hosts, with their class.
ERRORS: list[tuple[Any, type[LlmctlError], str, str]] = [
    ({"error": {"message": "out of credits", "code": 402}}, BudgetError, "quota", "out of credits"),
    ({"error": "Incorrect API key provided"}, ConfigError, "auth", "Incorrect API key"),
    ({"object": "error", "message": "too long", "code": 400}, RejectedError, "invalid_request", "too long"),
    ({"detail": "Invalid API key"}, ConfigError, "auth", "Invalid API key"),
    ({"detail": [{"loc": ["body"], "msg": "bad"}], "status": 422}, RejectedError, "invalid_request", "bad"),
    ({"errors": [{"code": 10000, "message": "Authentication error"}], "success": False}, UnavailableError, "", "Auth"),
    ({"code": "InvalidApiKey", "message": "Invalid key.", "request_id": "r"}, ConfigError, "auth", "Invalid key."),
    ({"code": "Arrearage", "message": "Access denied."}, BudgetError, "quota", "Access denied."),
    ({"code": "Throttling.RateQuota", "message": "Requests limited"}, UnavailableError, "rate_limit", "limited"),
    ({"code": "DataInspectionFailed", "message": "unsuitable"}, RejectedError, "content_filter", "unsuitable"),
    ({"code": "InvalidParameter", "message": "Range of n"}, RejectedError, "invalid_request", "Range"),
    ({"code": "ModelNotFound", "message": "no"}, NotFoundError, "model_not_found", "no"),
    ({"code": 429, "msg": "slow down"}, UnavailableError, "rate_limit", "slow down"),
    ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, BudgetError, "quota", "insufficient"),
    ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, ConfigError, "auth", "login fail"),
    ({"base_resp": {"status_code": 1002, "status_msg": "limit"}}, UnavailableError, "rate_limit", "limit"),
    ({"base_resp": {"status_code": 1039, "status_msg": "too many"}}, RejectedError, "context_length", "too many"),
    ({"base_resp": {"status_code": 1027, "status_msg": "sensitive"}}, RejectedError, "content_filter", "sensitive"),
    ({"base_resp": {"status_code": 2013, "status_msg": "bad"}}, RejectedError, "invalid_request", "bad"),
    ({"base_resp": {"status_code": 1000, "status_msg": "unknown"}}, UnavailableError, "server_error", "unknown"),
]


@pytest.mark.parametrize(("body", "kind", "reason", "message"), ERRORS)
@pytest.mark.parametrize("wire", WIRE_NAMES)
def test_error_in_a_200_has_its_class_and_message(
    wire: str, body: Any, kind: type[LlmctlError], reason: str, message: str
) -> None:
    def read_stream() -> ChatResponse:
        return stream(wire, *STREAMS[wire][:-1], body)

    def read_bare_line() -> ChatResponse:
        """Read a stream to which a server or proxy appended its error, as JSON without ``data:``."""
        text = "".join(f"data: {event.data}\n\n" for event in events(*STREAMS[wire][:-1])) + json.dumps(body, indent=1)
        return collect_response(WIRES.load(wire).parse_stream(parse_sse([text.encode()]), COMPATIBLE))

    for read in (read_stream, read_bare_line, lambda: whole(wire, body)):
        with pytest.raises(LlmctlError) as caught:
            read()
        assert type(caught.value) is kind
        assert message in caught.value.message
        assert not reason or caught.value.reason == reason


def test_error_beside_empty_choices_is_found() -> None:
    body = {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    with pytest.raises(BudgetError):
        stream("openai-chat", body)
    fine = chat_chunk({}, "stop", base_resp={"status_code": 0, "status_msg": ""})
    assert stream("openai-chat", chat_chunk({"content": "hi"}), fine).finish_reason == "stop"


# ---------------------------------------------------------------- usage


OPENAI_USAGE: list[tuple[dict[str, Any], Usage | None]] = [
    ({"prompt_tokens": 12, "completion_tokens": 3}, Usage(12, 3)),
    ({"input_tokens": 12, "output_tokens": 3}, Usage(12, 3)),
    ({"prompt_tokens": "12", "completion_tokens": "3", "total_tokens": "15"}, Usage(12, 3)),
    ({"prompt_tokens": 12, "total_tokens": 15}, Usage(12, 3)),
    ({"completion_tokens": 3, "total_tokens": 15}, Usage(12, 3)),
    ({"total_tokens": 15}, None),
    ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
    ({"prompt_tokens": "many", "completion_tokens": None}, None),
    (
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 60}},
        Usage(100, 5, cached_tokens=60),
    ),
    ({"prompt_tokens": 100, "completion_tokens": 5, "cache_read_input_tokens": 60}, Usage(100, 5, cached_tokens=60)),
    ({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 60}, Usage(100, 5, cached_tokens=60)),
    (
        {"input_tokens": 100, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 60}},
        Usage(100, 5, cached_tokens=60),
    ),
    (  # Anthropic's names: the cache is not part of the input
        {"input_tokens": 40, "output_tokens": 5, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10},
        Usage(110, 5, cached_tokens=60, cache_write_tokens=10),
    ),
    (
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cache_creation_tokens": 30}},
        Usage(100, 5, cache_write_tokens=30),
    ),
    (
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cache_write_tokens": 30}},
        Usage(100, 5, cache_write_tokens=30),
    ),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 10},
        },
        Usage(100, 5, cache_write_tokens=30, details={"cache_write_1h_tokens": 20.0}),
    ),
    (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 500,
            "prompt_tokens_details": {"audio_tokens": 900, "cached_tokens_details": {"audio_tokens": 5}},
            "completion_tokens_details": {"audio_tokens": 400},
        },
        Usage(
            1000,
            500,
            details={"input_audio_tokens": 900.0, "cached_audio_tokens": 5.0, "output_audio_tokens": 400.0},
        ),
    ),
    (
        {
            "prompt_tokens": 21,
            "completion_tokens": 0,
            "total_tokens": 81,
            "completion_tokens_details": {"reasoning_tokens": 60},
        },
        Usage(21, 60, thinking_tokens=60),
    ),
    (
        {"prompt_tokens": 21, "completion_tokens": 0, "completion_tokens_details": {"reasoning_tokens": 60}},
        Usage(21, 60, thinking_tokens=60),
    ),
    (
        {"prompt_tokens": 21, "completion_tokens": 70, "completion_tokens_details": {"reasoning_tokens": 60}},
        Usage(21, 70, thinking_tokens=60),
    ),
    (
        {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "cost": 0.001,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.0105},
        },
        Usage(9, 5, cost=0.0115),
    ),
    (
        {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "cost": 0.001,
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": 0.001},
        },
        Usage(9, 5, cost=0.001),
    ),
    ({"prompt_tokens": 9, "completion_tokens": 5, "cost": "0.25"}, Usage(9, 5, cost=0.25)),
]


@pytest.mark.parametrize(("said", "meant"), OPENAI_USAGE)
def test_usage_is_read_under_any_name(said: dict[str, Any], meant: Usage | None) -> None:
    chunks = [chat_chunk({"content": "hi"}, "stop"), {"choices": [], "usage": said}]
    assert stream("openai-chat", *chunks).usage == meant
    assert whole("openai-chat", chat_answer(said)).usage == meant
    assert stream("openai-responses", completed(message_item("hi"), usage=said)).usage == meant
    assert whole("openai-responses", completed(message_item("hi"), usage=said)["response"]).usage == meant


@pytest.mark.parametrize("later", [{"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": None}, {"cost": 0}])
def test_later_zero_does_not_erase_a_count(later: dict[str, Any]) -> None:
    first = {"prompt_tokens": 9, "completion_tokens": 5, "cost": 0.5, "prompt_tokens_details": {"cached_tokens": 4}}
    for usage in (
        later,
        later | {"prompt_tokens_details": {"cached_tokens": 0}},
        later | {"prompt_tokens_details": None},
    ):
        chunks = [chat_chunk({"content": "hi"}, "stop", usage=first), {"choices": [], "usage": usage}]
        assert stream("openai-chat", *chunks).usage == Usage(9, 5, cached_tokens=4, cost=0.5)


@pytest.mark.parametrize("zeros", [{"input_tokens": 0}, {"input_tokens": None}, {}, {"cache_read_input_tokens": 0}])
def test_counts_of_the_start_outlive_zeros_at_the_end(zeros: dict[str, Any]) -> None:
    first = {"input_tokens": 1500, "output_tokens": 1, "cache_read_input_tokens": 100}
    start = {"type": "message_start", "message": {"model": "m", "usage": first}}
    found = [start, *STREAMS["anthropic"][:2], message_delta("end_turn", output_tokens=7, **zeros), END]
    assert stream("anthropic", *found).usage == Usage(1600, 7, cached_tokens=100)


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 0, "output_tokens": 0}, {"output_tokens": "x"}])
def test_usage_of_anthropic_that_nobody_counted_is_unknown(usage: Any) -> None:
    answer = {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": usage}
    assert whole("anthropic", answer).usage is None


def test_usage_is_read_under_the_names_of_chat_completions_on_other_wires() -> None:
    said = {"prompt_tokens": 9, "completion_tokens": 5}
    answer = {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": said}
    assert whole("anthropic", answer).usage == Usage(9, 5)
    assert stream("gemini", STREAMS["gemini"][0] | {"usageMetadata": said}).usage == Usage(9, 5)


def test_counts_of_gemini_outlive_chunks_without_them() -> None:
    first = {"promptTokenCount": "20", "candidatesTokenCount": 5, "cachedContentTokenCount": 8, "totalTokenCount": 25}
    part = {"content": {"parts": [{"text": "hi"}]}}
    found = [{"candidates": [part], "usageMetadata": first}, STREAMS["gemini"][0] | {"usageMetadata": {"x": 1}}]
    assert stream("gemini", *found).usage == Usage(20, 5, cached_tokens=8)
    zeros = {"promptTokenCount": 0, "totalTokenCount": 0}
    assert stream("gemini", STREAMS["gemini"][0] | {"usageMetadata": zeros}).usage is None


def test_ollama_that_counts_nothing_is_unknown() -> None:
    line = {"message": {"content": "hi"}, "done": True}
    assert whole("ollama", line | {"prompt_eval_count": 0, "eval_count": 0}).usage is None
    assert whole("ollama", line | {"prompt_eval_count": "7", "eval_count": 2}).usage == Usage(7, 2)


# ---------------------------------------------------------------- whole and streamed are the same


def test_stored_stream_gives_the_same_at_any_cut_of_its_bytes() -> None:
    chunks = [chat_chunk({"tool_calls": [found]}) for found in ONE_CALL["snapshots"]]
    text = "".join(f"data: {event.data}\n\n" for event in events(*chunks, chat_chunk({}, "tool_calls"), "[DONE]"))
    body = text.encode()

    def read(pieces: Iterable[bytes]) -> ChatResponse:
        return collect_response(WIRES.load("openai-chat").parse_stream(parse_sse(pieces), COMPATIBLE))

    expected = read([body])
    for size in (1, 7, 64):
        assert read(body[at : at + size] for at in range(0, len(body), size)) == expected


def test_full_report_of_anthropic_moves_counts_to_other_runs() -> None:
    first = {"input_tokens": 100, "output_tokens": 7, "cache_read_input_tokens": 5000}
    start = {"type": "message_start", "message": {"model": "m", "usage": first}}
    runs = [first | {"type": "compaction"}, {"type": "message", "input_tokens": 181, "output_tokens": 8}]
    last = message_delta("end_turn", input_tokens=181, output_tokens=8, cache_read_input_tokens=0, iterations=runs)
    assert stream("anthropic", start, *STREAMS["anthropic"][:2], last, END).usage == Usage(5281, 15, cached_tokens=5000)


def test_chunk_of_gemini_without_a_count_means_zero_if_the_rest_adds_up() -> None:
    first = {"promptTokenCount": 9, "candidatesTokenCount": 21, "thoughtsTokenCount": 35, "totalTokenCount": 65}
    last = {"promptTokenCount": 87, "thoughtsTokenCount": 78, "totalTokenCount": 165}
    part = {"content": {"parts": [{"text": "hi"}]}}
    found = [{"candidates": [part], "usageMetadata": first}, STREAMS["gemini"][0] | {"usageMetadata": last}]
    assert stream("gemini", *found).usage == Usage(87, 78, thinking_tokens=78)


TIERS = [("flex", "flex"), ("priority", "priority"), ("default", "default"), ("auto", None), (None, None), (3, None)]


@pytest.mark.parametrize(("said", "meant"), TIERS)
def test_tier_that_served_the_request_is_read(said: Any, meant: str | None) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    chunks = [chat_chunk({"content": "hi"}, "stop", service_tier=said), {"choices": [], "usage": usage}]
    answer = {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 5, "serviceTier": said}
    for response in (
        stream("openai-chat", *chunks),
        whole("openai-chat", chat_answer(usage) | {"service_tier": said}),
        stream("openai-responses", completed(message_item("hi"), usage=usage, service_tier=said)),
        whole("anthropic", answer | {"usage": {"input_tokens": 9, "output_tokens": 5, "service_tier": said}}),
        stream("gemini", STREAMS["gemini"][0] | {"usageMetadata": counts}),
    ):
        assert response.usage == Usage(9, 5, service_tier=meant)
