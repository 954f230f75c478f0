"""Bodies that the Anthropic wire builds, held against the request types of the official ``anthropic`` package."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
from typing_extensions import NoExtraItems, is_typeddict

from llmctl.core.chat import ChatRequest, File, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.http import Endpoint
from llmctl.wire import WIRES

types = pytest.importorskip("anthropic.types.message_create_params", reason="the anthropic package is not installed")
beta_types = pytest.importorskip("anthropic.types.beta.message_create_params")
pydantic = pytest.importorskip("pydantic")

WIRE = WIRES.load("anthropic")


def close_all() -> None:
    """Make every request type of the package refuse fields that it does not name."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("anthropic.types")]
    for kind in {kind for module in modules for kind in vars(module).values() if is_typeddict(kind)}:
        if getattr(kind, "__extra_items__", NoExtraItems) is NoExtraItems:
            kind.__pydantic_config__ = {**getattr(kind, "__pydantic_config__", {}), "extra": "forbid"}


close_all()
STREAMED = pydantic.TypeAdapter(types.MessageCreateParamsStreaming)
WHOLE = pydantic.TypeAdapter(types.MessageCreateParamsNonStreaming)

HELLO = Message.from_text("user", "hello")
CALL = ToolCall("toolu_1", "weather", '{"city":"Berlin"}')
RESULT = ToolResult("toolu_1", "weather", "rain")
MARK = {"wire": "anthropic"}
WEATHER = ToolSpec("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 1}}, "required": ["age"]}

PLAIN = (HELLO,)
TOOLS = (
    Message.from_text("system", "be brief"),
    HELLO,
    Message("assistant", (Text("let me see"), CALL, ToolCall("toolu_2", "weather", "{}"))),
    Message("tool", (RESULT,)),
    Message("tool", (ToolResult("toolu_2", "weather", "no city", is_error=True), File("image/png", b"x"))),
    Message.from_text("user", "so?"),
)
THOUGHT = (
    HELLO,
    Message("assistant", (Thinking("hm", "sig", MARK), Thinking("", None, MARK | {"redacted": "xx"}), CALL)),
    Message("tool", (RESULT,)),
)
FILES = (
    Message(
        "user",
        (
            Text("look"),
            File("image/jpeg", b"x"),
            File("image/gif", url="https://h/a.gif"),
            File("application/pdf", b"%PDF", name="a.pdf"),
            File("application/pdf", url="https://h/a.pdf"),
            File("text/markdown", b"# a", name="a.md"),
        ),
    ),
)
#: What other providers leave behind: ids and names that are not taken here, thinking that is not ours, files, blanks.
SWITCHED = (
    Message.from_text("assistant", "welcome"),
    Message.from_text("user", "hello"),
    Message.from_text("system", "be brief"),
    Message("assistant", (Thinking("deepseek thought"), Text(" "), ToolCall("call_0|fc_9.x", "mcp.read", "{bad"))),
    Message("tool", (ToolResult("call_0|fc_9.x", "mcp.read", ""),)),
    Message("assistant", (ToolCall("call_0|fc_9.x", "mcp.read", "[1]"),)),
    Message("tool", (ToolResult("call_0|fc_9.x", "mcp.read", "ok"),)),
    Message("assistant", (Thinking("", "gemini-signature", {"extra_content": {}}), Text("done"))),
    Message.from_text("user", "and?"),
)


def built(messages: tuple[Message, ...], model: str = "claude-haiku-4-5", **more: Any) -> dict[str, Any]:
    request = ChatRequest(model, messages, **more)
    body: dict[str, Any] = json.loads(WIRE.build_request(Endpoint("https://h"), request).body)
    return body


def exhaust(value: Any) -> None:
    """Walk through what was validated: lists are checked while they are read.

    Where a block of a request does not fit, the types of answers (which take any field) would do: not here.
    """
    if isinstance(value, pydantic.BaseModel):
        raise ValueError(f"no block of a request: {value!r}")
    if isinstance(value, Mapping):
        for inner in value.values():
            exhaust(inner)
    elif isinstance(value, list | tuple | Iterator) or type(value).__name__ == "ValidatorIterator":
        for inner in value:
            exhaust(inner)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("messages", "more"),
    [
        (PLAIN, {}),
        (PLAIN, {"tools": (WEATHER, ToolSpec("now", "", {}))}),
        (TOOLS, {"tools": (WEATHER,)}),
        (TOOLS, {}),
        (THOUGHT, {"thinking": "low", "tools": (WEATHER,)}),
        (THOUGHT, {"thinking": 3000}),
        (FILES, {}),
        (SWITCHED, {}),
        (SWITCHED, {"thinking": "high"}),
        (PLAIN, {"schema": SCHEMA}),
        (PLAIN, {"schema": SCHEMA, "thinking": "low", "model": "claude-opus-4-7"}),
        (PLAIN, {"schema": SCHEMA, "model": "claude-3-5-haiku-latest", "tools": (WEATHER,)}),
        (PLAIN, {"thinking": "none", "model": "claude-sonnet-5-5"}),
        (PLAIN, {"thinking": "none", "model": "claude-sonnet-5"}),
        (PLAIN, {"options": {"cache": "1h", "stop": "x", "effort": "max", "max_tokens": 9}}),
    ],
)
def test_body_is_what_the_official_types_take(
    stream: bool, messages: tuple[Message, ...], more: dict[str, Any]
) -> None:
    exhaust((STREAMED if stream else WHOLE).validate_python(built(messages, stream=stream, **more)))


@pytest.mark.filterwarnings("ignore:TypedDict class")
def test_body_with_bound_thinking_is_what_the_official_beta_types_take() -> None:
    body = built(THOUGHT, model="claude-opus-5-5", thinking="low")
    assert "block_binding" in body["thinking"]
    beta = pydantic.TypeAdapter(beta_types.MessageCreateParamsStreaming)
    exhaust(beta.validate_python(body))


@pytest.mark.parametrize(
    "spoiled",
    [
        {"max_tokens": None},
        {"surplus": 1},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "words": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
        {"thinking": {"type": "enabled"}},
    ],
)
def test_the_official_types_refuse_what_is_wrong(spoiled: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no block|validation error"):
        exhaust(STREAMED.validate_python(built(PLAIN) | spoiled))


def test_switched_history_is_in_turns_and_every_call_has_its_result() -> None:
    turns = built(SWITCHED)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2) + ["user"]
    for before, after in pairwise(turns):
        calls = [block["id"] for block in before["content"] if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in after["content"] if block["type"] == "tool_result"]
        assert before["role"] == "user" or calls == results
    ids = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    assert len(ids) == len(set(ids)) == 2
