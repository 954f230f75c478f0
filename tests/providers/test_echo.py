"""The echo provider: its answers and its simulated failures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.errors import UnavailableError
from llmctl.providers.echo import KINDS, OPTIONS, help_text, respond

PROMPT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two  three\n"}]


def ask(messages: Any = PROMPT, *, stream: bool = True, attempt: int = 1, sleep: Any = None, **options: Any) -> Any:
    body = {"model": "echo", "messages": messages, "stream": stream} | options
    return respond(body, attempt, **({"sleep": sleep} if sleep else {}))


def read(answer: Any) -> tuple[Any, ...]:
    """Return the decoded events up to where they end, and the error that ended them."""
    events, error = [], None
    try:
        for chunk in answer.chunks:
            assert chunk.startswith(b"data: ")
            assert chunk.endswith(b"\n\n")
            events.append(chunk[6:-2].decode())
    except UnavailableError as caught:
        error = caught
    return [event if event == "[DONE]" else _decoded(event) for event in events], error


def _decoded(event: Any) -> Any:
    try:
        return json.loads(event)
    except ValueError:
        return "unreadable"


def deltas(events: Any, field: str = "content") -> list[Any]:
    chunks = [event for event in events if isinstance(event, dict) and event.get("choices")]
    return [chunk["choices"][0]["delta"][field] for chunk in chunks if field in chunk["choices"][0]["delta"]]


def finish_reasons(events: Any) -> list[Any]:
    chunks = [event for event in events if isinstance(event, dict) and event.get("choices")]
    return [reason for chunk in chunks if (reason := chunk["choices"][0]["finish_reason"])]


def usage(events: Any) -> Any:
    return next((event["usage"] for event in events if isinstance(event, dict) and "usage" in event), None)


def document(answer: Any) -> Any:
    return json.loads(b"".join(answer.chunks))


def test_stream_repeats_the_last_user_text_word_by_word() -> None:
    answer = ask()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    events, error = read(answer)
    assert error is None
    assert deltas(events) == ["", "one", " two", "  three\n"]
    assert finish_reasons(events) == ["stop"]
    assert usage(events)["prompt_tokens"] == 5
    assert usage(events)["completion_tokens"] == 3
    assert usage(events)["total_tokens"] == 8
    assert events[-1] == "[DONE]"


def test_same_body_gives_the_same_bytes() -> None:
    assert list(ask(thinking="well").chunks) == list(ask(thinking="well").chunks)


def test_document_when_stream_is_off() -> None:
    answer = ask(stream=False, thinking="well well")
    assert answer.headers["content-type"] == "application/json"
    body = document(answer)
    assert body["choices"][0]["message"]["content"] == "one two  three\n"
    assert body["choices"][0]["message"]["reasoning_content"] == "well well"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] == 5
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


@pytest.mark.parametrize(
    "messages", [[], [{"role": "system", "content": "x"}], [{"role": "user", "content": "  "}]], ids=str
)
def test_fixed_sentence_without_user_text(messages: list[Any]) -> None:
    assert "repeat" in document(ask(messages, stream=False))["choices"][0]["message"]["content"]


def test_last_user_text_is_taken_from_parts_and_past_an_answer() -> None:
    messages = [
        {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "look"}]},
        {"role": "assistant", "content": "earlier"},
    ]
    assert deltas(read(ask(messages))[0]) == ["", "look"]


def test_reply_thinking_and_repeat() -> None:
    events, _ = read(ask(reply="yes\nno", thinking="hm so", repeat=2))
    assert deltas(events, "reasoning_content") == ["hm", " so"]
    assert "".join(deltas(events)) == "yes\nno yes\nno"
    assert usage(events)["completion_tokens"] == 6


def test_reply_of_another_type_is_said_as_json() -> None:
    assert "".join(deltas(read(ask(reply={"a": [1, True]}))[0])) == '{"a":[1,true]}'


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "length"])
def test_limit_stops_by_length(field: str) -> None:
    limit: dict[str, Any] = {field: 2}
    events, _ = read(ask(**limit))
    assert deltas(events) == ["", "one", " two"]
    assert finish_reasons(events) == ["length"]
    assert usage(events)["completion_tokens"] == 2


def test_roomy_limit_changes_nothing() -> None:
    assert finish_reasons(read(ask(max_tokens=3))[0]) == ["stop"]


def test_usage_false_leaves_the_usage_out() -> None:
    events, _ = read(ask(usage="false"))
    assert usage(events) is None
    assert events[-1] == "[DONE]"
    assert "usage" not in document(ask(stream=False, usage=False))


def test_tool_calls_are_streamed_in_pieces() -> None:
    events, _ = read(ask(tool='add {"a": 1, "b": 2}\nnow'))
    pieces = [piece for delta in deltas(events, "tool_calls") for piece in delta]
    assert [piece["id"] for piece in pieces if "id" in piece] == ["call_echo_1", "call_echo_2"]
    assert [piece["function"]["name"] for piece in pieces if "id" in piece] == ["add", "now"]
    for index, arguments in enumerate(({"a": 1, "b": 2}, {})):
        text = "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == index)
        assert json.loads(text) == arguments
    assert finish_reasons(events) == ["tool_calls"]
    assert deltas(events) == [""]


def test_tool_calls_of_a_document_are_whole() -> None:
    message = document(ask(stream=False, tool='add {"a": 1}', reply="let me see"))["choices"][0]["message"]
    assert message["content"] == "let me see"
    assert message["tool_calls"] == [
        {"id": "call_echo_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]


def test_tool_result_is_answered_normally_and_ids_go_on_counting() -> None:
    called = [*PROMPT, {"role": "assistant", "tool_calls": [{"id": "call_echo_1"}]}]
    events, _ = read(ask([*called, {"role": "tool", "content": "3"}], tool="add"))
    assert deltas(events) == ["", "one", " two", "  three\n"]
    assert finish_reasons(events) == ["stop"]
    again, _ = read(ask([*called, {"role": "user", "content": "again"}], tool="add"))
    assert deltas(again, "tool_calls")[0][0]["id"] == "call_echo_2"


@pytest.mark.parametrize("fail", [400, "503", 529])
def test_fail_with_a_status(fail: int | str) -> None:
    answer = ask(fail=fail, retry_after=2)
    assert answer.status == int(fail)
    assert answer.headers["retry-after"] == "2"
    error = document(answer)["error"]
    assert error["code"] == int(fail)
    assert error["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_fail_with_a_kind_is_shaped_like_openai(kind: Any) -> None:
    answer = ask(fail=kind)
    assert answer.status == KINDS[kind].status
    assert set(document(answer)["error"]) == {"message", "type", "param", "code"}


def test_fail_knows_the_usual_codes() -> None:
    assert document(ask(fail="context_length"))["error"]["code"] == "context_length_exceeded"
    assert document(ask(fail="quota"))["error"]["code"] == "insufficient_quota"
    assert document(ask(fail=401))["error"]["code"] == "invalid_api_key"
    assert ask(fail="auth").status == 401


@pytest.mark.parametrize(("attempt", "status"), [(1, 503), (2, 503), (3, 200)])
def test_fail_times_ends_the_failures(attempt: int, status: int) -> None:
    assert ask(fail_times=2, attempt=attempt).status == status
    assert ask(fail=503, fail_times=2, attempt=attempt).status == status


def test_fail_times_applies_to_every_failure() -> None:
    assert read(ask(cut=0, fail_times=1))[1] is not None
    assert read(ask(cut=0, fail_times=1, attempt=2))[1] is None


@pytest.mark.parametrize(("words", "said"), [(0, []), (2, ["", "one", " two"]), (99, ["", "one", " two", "  three\n"])])
def test_cut_drops_the_connection_after_so_many_words(words: int, said: list[Any]) -> None:
    events, error = read(ask(cut=words))
    assert error.reason == "cut"
    assert error.retryable
    assert deltas(events) == said
    assert finish_reasons(events) == []


@pytest.mark.parametrize(("words", "said"), [(0, []), (1, ["", "one"]), (99, ["", "one", " two", "  three\n"])])
def test_end_leaves_out_the_terminal_event(words: int, said: list[Any]) -> None:
    events, error = read(ask(end=words))
    assert error is None
    assert deltas(events) == said
    assert finish_reasons(events) == []
    assert "[DONE]" not in events


def test_error_event_ends_the_stream() -> None:
    events, error = read(ask(error=1))
    assert error is None
    assert events[-1]["error"]["code"] == 502
    assert deltas(events) == ["", "one"]


def test_error_event_is_the_one_that_fail_names() -> None:
    answer = ask(error=1, fail="quota")
    assert answer.status == 200
    assert read(answer)[0][-1]["error"]["code"] == "insufficient_quota"


def test_garbage_does_not_stop_the_answer() -> None:
    events, _ = read(ask(garbage=1))
    assert events[2] == "unreadable"
    assert deltas(events) == ["", "one", " two", "  three\n"]
    assert events[-1] == "[DONE]"


def test_html_page_comes_with_status_200() -> None:
    answer = ask(html="true")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<html" in b"".join(answer.chunks)


@pytest.mark.parametrize("stream", [True, False])
def test_empty_answer(stream: bool) -> None:
    answer = ask(empty=True, stream=stream)
    assert answer.status == 200
    assert list(answer.chunks) == []


def test_delay_waits_before_each_word_and_stall_once() -> None:
    waits: list[float] = []
    events, _ = read(ask(delay=0.5, stall="60", after=1, sleep=waits.append))
    assert waits == [0.5, 60.0, 0.5, 0.5]
    assert len(deltas(events)) == 4


def test_stall_comes_before_the_first_byte_by_default() -> None:
    waits: list[float] = []
    chunks = ask(stall=60, sleep=waits.append).chunks
    assert waits == []
    next(chunks)
    assert waits == [60.0]


def test_sleep_can_end_the_wait_by_raising() -> None:
    def overdue(seconds: Any) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        list(ask(stall=60, sleep=overdue).chunks)


def test_failures_apply_to_documents_too() -> None:
    whole = b"".join(ask(stream=False).chunks)
    assert b"".join(ask(stream=False, end=1).chunks) == whole[: len(whole) // 2]
    assert document(ask(stream=False, error=0))["error"]
    assert _decoded(b"".join(ask(stream=False, garbage=0).chunks)) == "unreadable"
    cut = ask(stream=False, cut=1).chunks
    assert next(cut)
    with pytest.raises(UnavailableError):
        next(cut)
    with pytest.raises(UnavailableError):
        next(ask(stream=False, cut=0).chunks)


def test_unknown_option_is_refused_with_the_names_there_are() -> None:
    answer = ask(replay="x")
    assert answer.status == 400
    error = document(answer)["error"]
    assert error["param"] == "replay"
    assert '"replay"' in error["message"]
    assert all(name in error["message"] for name in OPTIONS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cut", "x"),
        ("cut", -1),
        ("cut", True),
        ("cut", 1.5),
        ("delay", "fast"),
        ("delay", -1),
        ("delay", "nan"),
        ("stall", [1]),
        ("html", "maybe"),
        ("fail", "teapot"),
        ("fail", 200),
        ("fail", True),
        ("max_tokens", "many"),
    ],
)
def test_unfit_value_is_refused(name: str, value: Any) -> None:
    answer = ask(**{name: value})
    assert answer.status == 400
    error = document(answer)["error"]
    assert error["param"] == name
    assert f'"{name}" must be' in error["message"]


def test_model_options_are_taken_without_effect() -> None:
    options: dict[str, Any] = {
        "temperature": 0.2,
        "top_p": 1,
        "seed": 7,
        "stop": ["x"],
        "reasoning_effort": "low",
        "tools": [],
    }
    assert list(ask(**options).chunks) == list(ask().chunks)
    assert list(ask(reply=None, cut=None, max_tokens=None).chunks) == list(ask().chunks)


@pytest.mark.parametrize("messages", [None, "hi", [1]])
def test_body_without_messages_is_refused(messages: str | list[int] | None) -> None:
    assert ask(messages).status == 400


def test_help_names_every_option_and_kind() -> None:
    text = help_text()
    assert all(f"\n  {name} " in text for name in OPTIONS)
    assert all(kind in text for kind in KINDS)
    assert max(len(line) for line in text.splitlines()) <= 110
