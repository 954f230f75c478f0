"""Server-sent events and lines of JSON, cut in every possible way."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.errors import UnavailableError
from llmctl.core.http import ServerEvent
from llmctl.transport.sse import parse_ndjson, parse_sse


def events(text: str | bytes) -> list[ServerEvent]:
    return list(parse_sse([text.encode() if isinstance(text, str) else text]))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_event_ends_at_a_blank_line_whatever_ends_lines(end: str) -> None:
    text = f"event: error{end}data: one{end}{end}data: two{end}{end}"
    assert events(text) == [ServerEvent("one", "error"), ServerEvent("two")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("data: a\ndata: b\n\n", ["a\nb"]),
        ("data:a\n\n", ["a"]),
        ("data:  a\n\n", [" a"]),
        ("data\ndata: a\n\n", ["\na"]),
        ("data:\n\n", [""]),
        (": OPENROUTER PROCESSING\n\ndata: a\n\n: more\ndata: b\n\n", ["a", "b"]),
        ("id: 7\nretry: 10\nnonsense\ndatas: x\ndata: a\n\n", ["a"]),
        ("event: ping\n\ndata: a\n\n", ["a"]),
        ("\n\n\ndata: a\n\n\n\n", ["a"]),
        ("\ufeffdata: a\n\n", ["a"]),
        ("data: a\n\ndata: b\n", ["a", "b"]),
        ("data: a\n\ndata: b", ["a", "b"]),
        ("data: [DONE]\n\n", ["[DONE]"]),
        ('data: {"a": 1}  \n\n', ['{"a": 1}  ']),
        ("data: grüß 🦜\n\n", ["grüß 🦜"]),
        ("<html>\n<body>data: no</body>\n", []),
        ("", []),
    ],
)
def test_data_is_found(text: str, found: list[str]) -> None:
    assert [event.data for event in events(text)] == found


def test_type_does_not_outlive_its_event() -> None:
    assert events("event: error\n\ndata: a\n\n") == [ServerEvent("a", None)]


def test_broken_utf8_is_replaced() -> None:
    assert events(b"\xff\xfe nothing\ndata: a\xffb\n\n")[0].data == "a\ufffdb"


def test_byte_order_mark_counts_only_at_the_start() -> None:
    assert [event.data for event in events("data: a\n\n\ufeffdata: b\n\n")] == ["a"]


def test_cr_at_the_end_of_a_read_ends_its_line_at_once() -> None:
    read: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate((b"data: a\r\r", b"data: b\r", b"\n", b"\r", b"\ndata: c\r\n\r\n")):
            read.append(number)
            yield chunk

    found = [(event.data, read[-1]) for event in parse_sse(chunks())]
    assert found == [("a", 0), ("b", 3), ("c", 4)]


def test_event_is_given_as_soon_as_it_is_whole() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"data: a\n\nda"
        raise AssertionError("read on before the event was given")

    assert next(parse_sse(chunks())).data == "a"


def test_failure_of_the_body_passes_through() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"data: a\n\ndata: b"
        raise UnavailableError("cut", reason="cut")

    found = parse_sse(chunks())
    assert next(found).data == "a"
    with pytest.raises(UnavailableError):
        next(found)


def test_line_of_a_megabyte_in_single_bytes_takes_linear_time() -> None:
    line = b"data: " + b"x" * 1_000_000 + b"\n\n"
    begun = time.process_time()
    (event,) = parse_sse(line[at : at + 1] for at in range(len(line)))
    assert len(event.data) == 1_000_000
    assert time.process_time() - begun < 10  # Quadratic time would take minutes.


def cut(body: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(body) + 1) for place in at})
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


LINES = st.lists(
    st.sampled_from(["data: a", "data:", "data", "data: grüß 🦜", "event: x", ": c", "", "", "id: 1", "\ufeffdata: b"])
    | st.text(max_size=8),
    max_size=12,
)


@given(LINES, st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=13, max_size=13), st.lists(st.integers(0, 400)))
def test_events_do_not_depend_on_how_bytes_are_cut(lines: list[str], ends: list[str], at: list[int]) -> None:
    body = "".join(line + end for line, end in zip(lines, ends, strict=False)).encode("utf-8", "replace")
    whole = list(parse_sse([body]))
    assert list(parse_sse(cut(body, at))) == whole
    assert list(parse_sse(body[place : place + 1] for place in range(len(body)))) == whole
    assert list(parse_ndjson(cut(body, at))) == list(parse_ndjson([body]))


def test_lines_of_json_skip_blank_ones_and_keep_the_last() -> None:
    assert list(parse_ndjson([b'{"a":1}\r\n\n  \n{"b"', b':2}\n{"c":3}'])) == [
        ServerEvent('{"a":1}'),
        ServerEvent('{"b":2}'),
        ServerEvent('{"c":3}'),
    ]
