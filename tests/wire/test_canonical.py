"""The key of the cache: what changes a request in a way that matters changes it, what cannot matter does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from llmctl.core.chat import ChatRequest, File, Message, Text, ToolCall, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.core.model_options import _KINDS as KNOWN_OPTIONS
from llmctl.wire import WIRES
from llmctl.wire.canonical import CanonicalRequest

NAMES = ("openai-chat", "openai-responses", "anthropic", "gemini", "ollama")
#: Fields of a body that say who asks, and how the answer is to come.
IRRELEVANT = (
    *("stream", "stream_options", "user", "safety_identifier", "metadata", "client_metadata", "prompt_cache_key"),
    *("prompt_cache_retention", "cache_control"),
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "cache_control": {"type": "string"}}}
CONVERSATION = (
    Message.from_text("system", "be short"),
    Message("user", (Text("what is this?"), File("image/png", b"\x89PNG 1", name="a.png"))),
    Message("assistant", (Text("I look"), ToolCall("call_1", "weather", '{"city":"Rome","metadata":1}'))),
    Message("tool", (ToolResult("call_1", "weather", "rain"),)),
)


def build(wire: str, *messages: Message, **more: Any) -> HttpRequest:
    endpoint = Endpoint("https://h.example/v1", {"authorization": "Bearer k"}, dialect=Dialect())
    request = ChatRequest("m1", messages or CONVERSATION, **{"tools": (ToolSpec("weather", "It", SCHEMA),), **more})
    try:
        return WIRES.load(wire).build_request(endpoint, request)
    except UsageError:  # options that the wire refuses
        reject()


def key(wire: str, http: HttpRequest, body: Any = None) -> str:
    data = http.body if body is None else json.dumps(body).encode()
    return CanonicalRequest(wire, HttpRequest(http.method, http.url, http.headers, data)).key


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value that holds no other."""
    if isinstance(value, (dict, list)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from leaves(item, (*path, name))
    else:
        yield path


def with_value(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    target = changed
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    return changed


def is_free(body: Any, path: tuple[Any, ...]) -> bool:
    """Return whether a value may change: a field of the caller's, or an id that ties a result to its call."""
    names = [name for name in path if isinstance(name, str)]
    is_call = names[-1:] in (["call_id"], ["tool_call_id"], ["tool_use_id"]) or (
        names[-1:] == ["id"] and any(name in names for name in ("tool_calls", "functionCall", "functionResponse"))
    )
    target = body
    for name in path[:-1]:
        target = target[name]
    is_call = is_call or (names[-1:] == ["id"] and target.get("type") in ("tool_use", "function_call"))
    return path[0] in IRRELEVANT or is_call


OPTIONS = st.dictionaries(
    st.sampled_from(sorted(KNOWN_OPTIONS)),
    st.one_of(
        st.booleans(),
        st.integers(0, 3),
        st.floats(0, 2, allow_nan=False),
        st.text("ab", max_size=3),
        st.dictionaries(st.sampled_from(["type", "name", "x"]), st.integers(0, 2), max_size=1),
        st.lists(st.integers(0, 2), max_size=2),
    ),
    max_size=4,
)


@pytest.mark.parametrize("wire", NAMES)
@settings(max_examples=25)
@given(options=OPTIONS, data=st.data())
def test_every_value_that_matters_is_part_of_the_key(wire: str, options: dict[str, Any], data: st.DataObject) -> None:
    options.pop("tools", None)
    http = build(wire, options=options)
    body = json.loads(http.body)
    path = data.draw(st.sampled_from(list(leaves(body))))
    before = body
    for name in path:
        before = before[name]
    changed = with_value(body, path, data.draw(st.sampled_from(["other", 17, 1.5, None, [before, before]])))
    if changed != body and not is_free(body, path):
        assert key(wire, http, changed) != key(wire, http), path


@pytest.mark.parametrize("wire", NAMES)
@settings(max_examples=15)
@given(one=OPTIONS, other=OPTIONS)
def test_keys_are_equal_where_bodies_are(wire: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    bodies = []
    for options in (one, other):
        http = build(wire, options={name: value for name, value in options.items() if name != "tools"})
        body = json.loads(http.body)
        bodies.append(json.dumps({n: v for n, v in body.items() if n not in IRRELEVANT}, sort_keys=True))
    first, second = (key(wire, build(wire, options={n: v for n, v in o.items() if n != "tools"})) for o in (one, other))
    assert (first == second) == (bodies[0] == bodies[1])


@pytest.mark.parametrize("wire", NAMES)
def test_what_cannot_change_an_answer_is_not_part_of_the_key(wire: str) -> None:
    http = build(wire)
    usual = key(wire, http)
    assert key(wire, build(wire, stream=False)) == usual
    body = json.loads(http.body)
    assert key(wire, http, dict(reversed(body.items()))) == usual
    assert key(wire, http, body | dict.fromkeys(IRRELEVANT, "x")) == usual
    renamed = http.body.replace(b"call_1", b"call_other")
    assert key(wire, http, json.loads(renamed)) == usual
    for name in ("messages", "contents", "input", "system", "tools"):
        if isinstance(body.get(name), list):
            assert key(wire, http, with_value(body, (name, 0, "cache_control"), {"type": "ephemeral"})) == usual


@pytest.mark.parametrize("wire", NAMES)
def test_host_path_wire_and_content_are_part_of_the_key(wire: str) -> None:
    http = build(wire)
    other_host = HttpRequest("POST", http.url.replace("h.example", "g.example"), {}, http.body)
    keys = [key(wire, http), key(wire, other_host), key("other", http)]
    other_file = CONVERSATION[1].replace(parts=(CONVERSATION[1].parts[0], File("image/png", b"\x89PNG 2")))
    same_file = CONVERSATION[1].replace(parts=(CONVERSATION[1].parts[0], File("image/png", b"\x89PNG 1")))
    others = [(CONVERSATION[0], same, *CONVERSATION[2:]) for same in (other_file, same_file)]
    if wire != "ollama":
        keys += [key(wire, build(wire, *others[0]))]
        assert key(wire, build(wire, *others[1])) == keys[0], "files count by their content"
    assert len(set(keys)) == len(keys)


def test_numbers_arrays_and_schemas_keep_what_they_are() -> None:
    http = build("openai-chat")
    body = json.loads(http.body)
    keys = [
        key("openai-chat", http, body | more)
        for more in (
            {"temperature": 1},
            {"temperature": 1.0},
            {"temperature": True},
            {"stop": ["a", "b"]},
            {"stop": ["b", "a"]},
            {"response_format": {"schema": {"a": 1, "b": 2}}},
            {"response_format": {"schema": {"b": 2, "a": 1}}},
            {},
        )
    ]
    assert len(set(keys)) == len(keys)
    assert key("openai-chat", http, body | {"reasoning": {"a": 1, "b": 2}}) == key(
        "openai-chat", http, body | {"reasoning": {"b": 2, "a": 1}}
    )


def test_two_calls_cannot_swap_their_ids() -> None:
    calls = (ToolCall("c1", "weather", "{}"), ToolCall("c2", "weather", "{}"))
    results = [Message("tool", (ToolResult(id, "weather", text),)) for id, text in (("c1", "rain"), ("c2", "sun"))]
    swapped = [Message("tool", (ToolResult(id, "weather", text),)) for id, text in (("c2", "rain"), ("c1", "sun"))]
    start = (Message.from_text("user", "hi"), Message("assistant", calls))
    assert key("openai-chat", build("openai-chat", *start, *results)) != key(
        "openai-chat", build("openai-chat", *start, *swapped)
    )


def test_credentials_in_a_url_are_not_part_of_the_key() -> None:
    urls = ("https://h/v1?key=AAAA&x=1", "https://h/v1?x=1&key=BBBB")
    forms = [CanonicalRequest("gemini", HttpRequest("POST", url, {}, b"{}")) for url in urls]
    assert forms[0].key == forms[1].key or "AAAA" not in forms[0].to_text()
    assert "AAAA" not in forms[0].to_text()


HOSTED = [
    ("openai-responses", {"tools": [{"type": "web_search"}]}, "web_search"),
    ("openai-responses", {"tools": [{"type": "function", "name": "f"}, {"type": "mcp"}]}, "mcp"),
    ("openai-chat", {"tools": [{"type": "function", "function": {"name": "f"}}]}, None),
    ("openai-chat", {"web_search_options": {}}, "web_search_options"),
    ("openai-chat", {"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
    ("openai-chat", {"model": "openai/gpt-4o:online"}, "openai/gpt-4o:online"),
    ("openai-chat", {"plugins": [{"id": "web"}]}, "plugins"),
    ("anthropic", {"tools": [{"name": "f", "input_schema": {}}]}, None),
    ("anthropic", {"tools": [{"name": "web_search", "type": "web_search_20250305"}]}, "web_search_20250305"),
    ("anthropic", {"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
    ("gemini", {"tools": [{"functionDeclarations": []}]}, None),
    ("gemini", {"tools": [{"functionDeclarations": []}, {"googleSearch": {}}]}, "googleSearch"),
]


@pytest.mark.parametrize(("wire", "body", "found"), HOSTED)
def test_tools_of_the_provider_are_found(wire: str, body: dict[str, Any], found: str | None) -> None:
    http = HttpRequest("POST", "https://h/v1", {}, json.dumps(body).encode())
    assert CanonicalRequest(wire, http).find_hosted_tool() == found
