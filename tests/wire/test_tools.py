"""Tools on every wire: names and schemas that each takes, the choice among them, and calls of other providers."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from llmctl.core.chat import ChatRequest, Message, Text, ToolCall, ToolCallDelta, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint
from llmctl.wire import WIRES
from llmctl.wire.tools import list_renamed, restore_names, to_parameters

NAMES = ("openai-chat", "openai-responses", "anthropic", "gemini", "ollama")
ENDPOINT = Endpoint("https://h.example/v1")
HELLO = Message.from_text("user", "hello")
EMPTY: dict[str, Any] = {"type": "object", "properties": {}}


def build(wire: str, *messages: Message, dialect: Dialect | None = None, **more: Any) -> dict[str, Any]:
    endpoint = ENDPOINT.replace(dialect=dialect or Dialect())
    model = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}.get(wire, "m")
    request = ChatRequest(model, messages or (HELLO,), **more)
    body: dict[str, Any] = json.loads(WIRES.load(wire).build_request(endpoint, request).body)
    return body


def functions(body: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return name and schema of the functions in a request of any wire."""
    found = []
    for tool in body.get("tools", ()):
        for one in tool.get("functionDeclarations", [tool.get("function", tool)]):
            schemas = (one.get(key) for key in ("parameters", "input_schema", "parametersJsonSchema"))
            if "name" in one:
                found.append((one["name"], next((schema for schema in schemas if schema), None)))
    return found


def specs(*names: str) -> tuple[ToolSpec, ...]:
    return tuple(ToolSpec(name, "does it", EMPTY) for name in names)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("wire", NAMES)
def test_names_that_a_wire_refuses_are_sent_as_others_and_mapped_back(wire: str) -> None:
    names = (
        "fine",
        "1c_reload",
        "file.read",
        "file_read",
        "file read",
        "file read!",
        "größe",
        "x" * 200,
        "x" * 201,
        "-",
    )
    request = ChatRequest("m", (HELLO,), tools=specs(*names))
    sent = [name for name, _ in functions(build(wire, tools=request.tools))]
    assert len(set(sent)) == len(names)
    assert sent[0] == "fine"
    assert sent[3] == "file_read"
    limit = 128 if wire == "anthropic" else 64
    first = "a-zA-Z_" if wire == "gemini" else "a-zA-Z0-9_-"
    assert [name for name in sent if not re.fullmatch(rf"[{first}][a-zA-Z0-9_.:-]{{0,{limit - 1}}}", name)] == []
    rule = WIRES.load(wire).tool_names
    assert rule
    renamed = list_renamed(request, rule)
    called = [ToolCallDelta(index, f"c{index}", name) for index, name in enumerate(sent)]
    assert [event.name for event in restore_names(called, renamed)] == list(names)


@pytest.mark.parametrize("wire", NAMES)
def test_earlier_calls_have_the_names_of_the_offered_tools(wire: str) -> None:
    call = ToolCall("c1", "2.weather", "{}")
    past = (Message("assistant", (call,)), Message("tool", (ToolResult("c1", "2.weather", "rain"),)))
    body = build(wire, HELLO, *past, tools=specs("2.weather"))
    (name, _), text = functions(body)[0], json.dumps(body)
    assert text.count(f'"{name}"') >= 2
    assert "2.weather" not in text or wire == "gemini"


# ---------------------------------------------------------------- schemas


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize(
    "schema", [{}, {"type": "object"}, True, {"type": ["object", "null"]}, {"$ref": "#/$defs/none"}]
)
def test_schema_without_properties_is_an_object_with_none(wire: str, schema: Any) -> None:
    body = build(wire, tools=(ToolSpec("f", "", schema),))
    assert functions(body) == [("f", EMPTY)]


BRANCHES = [
    {"properties": {"file": {"type": "string"}}, "required": ["file"]},
    {"properties": {"route": {"type": "string"}, "file": {"type": "string"}}, "required": ["route"]},
]


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize(("keyword", "required"), [("anyOf", None), ("oneOf", None), ("allOf", ["file", "route"])])
def test_combined_root_becomes_one_object(wire: str, keyword: str, required: Any) -> None:
    schema = {"type": "object", keyword: BRANCHES, "properties": {"depth": {"type": "integer"}}}
    [(_, sent)] = functions(build(wire, tools=(ToolSpec("f", "", schema),)))
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & set(sent)
    assert (sent["type"], sorted(sent["properties"])) == ("object", ["depth", "file", "route"])
    assert sent.get("required") == required
    assert keyword in sent["description"]


def test_required_by_every_branch_is_required() -> None:
    schema = {"oneOf": [{"required": ["a", "b"]}, {"required": ["a", "c"]}], "required": ["z"]}
    assert to_parameters(schema)["required"] == ["z", "a"]


TREE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"$ref": "#/$defs/Name", "description": "its name"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["name"],
        },
        "Name": {"type": "string", "maxLength": 9},
    },
}


@pytest.mark.parametrize("wire", NAMES)
def test_references_are_replaced_and_recursion_ends(wire: str) -> None:
    [(_, sent)] = functions(build(wire, tools=(ToolSpec("f", "", TREE),)))
    assert "$" not in json.dumps(sent)
    assert sent["required"] == ["name"]
    assert sent["properties"]["name"] == {"type": "string", "maxLength": 9, "description": "its name"}
    assert sent["properties"]["children"]["items"]["type"] == "object"


def test_schema_with_many_references_stays_small() -> None:
    definitions = {f"d{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abcdefgh"}}
                   for n in range(20)}  # fmt: skip
    sent = to_parameters({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": definitions})
    assert len(json.dumps(sent)) < 1_000_000


def test_openai_gets_items_of_arrays_properties_of_objects_and_no_boolean_schemas() -> None:
    schema = {
        "type": "object",
        "properties": {
            "any": True,
            "list": {"type": "array"},
            "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},
            "free": {"type": "object", "additionalProperties": True},
        },
    }
    assert to_parameters(schema)["properties"] == {
        "any": {},
        "list": {"type": "array", "items": {}},
        "pair": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "free": {"type": "object", "additionalProperties": True, "properties": {}},
    }


def test_gemini_gets_its_subset_and_is_told_the_rest() -> None:
    schema = {
        "type": "object",
        "properties": {
            "url": {"type": "string", "format": "uri", "description": "where"},
            "when": {"type": "string", "format": "date-time"},
            "age": {"type": ["integer", "null"], "exclusiveMinimum": 0},
            "tags": {"type": ["array", "null"], "items": {"type": "string"}},
            "kind": {"const": "x"},
            "unit": {"allOf": [{"$ref": "#/$defs/U"}], "description": "of it"},
        },
        "$defs": {"U": {"enum": ["m", "s"], "type": "string"}},
    }
    found = to_parameters(schema, limited=True)["properties"]
    assert found["url"] == {"type": "string", "description": 'where\n\n{"format":"uri"}'}
    assert found["when"] == {"type": "string", "format": "date-time"}
    assert found["age"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert "exclusiveMinimum" in found["age"]["description"]
    assert found["tags"]["anyOf"][0] == {"type": "array", "items": {"type": "string"}}
    assert found["kind"] == {"enum": ["x"]}
    assert found["unit"] == {"enum": ["m", "s"], "type": "string", "description": "of it"}


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("schema", [TREE, {"anyOf": BRANCHES}, {"properties": {"a": False}}, {"items": [True]}])
def test_sent_schema_is_a_schema_and_plain_ones_are_unchanged(schema: Any, limited: bool) -> None:
    jsonschema_rs.validator_for(to_parameters(schema, limited=limited))
    plain = {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}, "required": ["a"]}
    assert list(to_parameters(plain, limited=limited).items()) == list(plain.items())


# ---------------------------------------------------------------- the choice

AUTO, NONE, ANY = "auto", "none", "required"
SPELLINGS: list[tuple[Any, str]] = [
    *((word, AUTO) for word in ("auto", "AUTO", {"type": "auto"}, {"mode": "AUTO"})),
    *((word, NONE) for word in ("none", {"type": "none"}, {"functionCallingConfig": {"mode": "NONE"}})),
    *(
        (word, ANY)
        for word in ("required", "any", "ANY", {"type": "any"}, {"function_calling_config": {"mode": "ANY"}})
    ),
    ("f", "f"),
    ({"type": "function", "function": {"name": "f"}}, "f"),
    ({"type": "function", "name": "f"}, "f"),
    ({"type": "tool", "name": "f"}, "f"),
    ({"mode": "ANY", "allowedFunctionNames": ["f"]}, "f"),
]
CHOICES: dict[str, dict[str, Any]] = {
    "openai-chat": {AUTO: "auto", NONE: "none", ANY: "required", "f": {"type": "function", "function": {"name": "f"}}},
    "openai-responses": {AUTO: "auto", NONE: "none", ANY: "required", "f": {"type": "function", "name": "f"}},
    "anthropic": {
        AUTO: {"type": "auto"}, NONE: {"type": "none"}, ANY: {"type": "any"}, "f": {"type": "tool", "name": "f"},
    },
    "gemini": {
        AUTO: {"mode": "AUTO"}, NONE: {"mode": "NONE"}, ANY: {"mode": "ANY"},
        "f": {"mode": "ANY", "allowedFunctionNames": ["f"]},
    },
}  # fmt: skip


@pytest.mark.parametrize("wire", CHOICES)
@pytest.mark.parametrize(("spelling", "meaning"), SPELLINGS)
def test_tool_choice_is_translated_from_every_spelling(wire: str, spelling: Any, meaning: str) -> None:
    body = build(wire, tools=specs("f", "g"), options={"tool_choice": spelling})
    found = body["toolConfig"]["functionCallingConfig"] if wire == "gemini" else body["tool_choice"]
    assert found == CHOICES[wire][meaning]


@pytest.mark.parametrize(("spelling", "meaning"), SPELLINGS)
def test_ollama_can_offer_no_tools_but_not_force_one(spelling: Any, meaning: str) -> None:
    if meaning in (AUTO, NONE):
        body = build("ollama", tools=specs("f"), options={"tool_choice": spelling})
        assert (len(body.get("tools", ())), "options" in body) == (int(meaning == AUTO), False)
    else:
        with pytest.raises(UsageError, match="cannot force the model to call a tool"):
            build("ollama", tools=specs("f"), options={"tool_choice": spelling})


@pytest.mark.parametrize("wire", NAMES)
def test_choice_of_a_tool_that_is_not_offered_is_refused(wire: str) -> None:
    with pytest.raises(UsageError, match='got "wether"') as error:
        build(wire, tools=specs("weather"), options={"tool_choice": "wether"})
    assert error.value.hint == 'did you mean "weather"?'


def test_choice_uses_the_name_that_is_sent() -> None:
    body = build("gemini", tools=specs("1x"), options={"tool_choice": "1x"})
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["_1x"]


def test_choice_of_a_hosted_tool_and_shapes_of_the_provider_pass() -> None:
    hosted = [{"type": "web_search"}]
    body = build("openai-responses", tools=specs("f"), options={"tool_choice": "web_search", "tools": hosted})
    assert body["tool_choice"] == {"type": "web_search"}
    own = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
    assert build("openai-responses", tools=specs("f"), options={"tool_choice": own})["tool_choice"] == own


def test_single_calls_mean_the_same_on_both_sides() -> None:
    body = build("anthropic", tools=specs("f"), options={"parallel_tool_calls": False})
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    own = {"type": "any", "disable_parallel_tool_use": True}
    body = build("openai-chat", tools=specs("f"), options={"tool_choice": own})
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)


# ---------------------------------------------------------------- tools that the provider runs


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize("as_list", [True, False])
def test_hosted_tools_join_the_functions(wire: str, as_list: bool) -> None:
    hosted: dict[str, Any] = {"googleSearch": {}} if wire == "gemini" else {"type": "web_search"}
    body = build(wire, tools=specs("f"), options={"tools": [hosted] if as_list else hosted})
    assert [name for name, _ in functions(body)] == ["f"]
    assert body["tools"][-1] == hosted
    assert len(body["tools"]) == 2
    assert build(wire, options={"tools": [hosted]})["tools"] == [hosted]


@pytest.mark.parametrize("wire", NAMES)
def test_tools_that_are_no_list_of_objects_are_refused(wire: str) -> None:
    with pytest.raises(UsageError, match='"tools" must be a list'):
        build(wire, options={"tools": "web_search"})


# ---------------------------------------------------------------- calls that others made


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", '"{\\"a\\": NaN}"', '{"a": NaN}', "", "null", "7"])
def test_bad_arguments_are_sent_back_as_an_object(wire: str, arguments: str) -> None:
    call = ToolCall("c1", "f", arguments)
    body = build(wire, HELLO, Message("assistant", (call,)), Message("tool", (ToolResult("c1", "f", "bad"),)))
    if wire.startswith("openai"):
        found = body["messages"][1]["tool_calls"][0]["function"] if wire == "openai-chat" else body["input"][1]
        encoded = json.loads(found["arguments"], parse_constant=pytest.fail)
    else:
        keys = {"anthropic": "input", "gemini": "args", "ollama": "arguments"}
        encoded = _find_values(body, keys[wire])[0]
    assert isinstance(encoded, dict)


def _find_values(value: Any, key: str) -> list[Any]:
    if isinstance(value, dict):
        own = [value[key]] if key in value else []
        return own + [found for inner in value.values() for found in _find_values(inner, key)]
    return [found for inner in value for found in _find_values(inner, key)] if isinstance(value, list) else []


def test_good_arguments_are_sent_back_as_they_came() -> None:
    call = ToolCall("c1", "f", '{ "b": 1, "a": 2 }')
    body = build("openai-chat", HELLO, Message("assistant", (call,)), Message("tool", (ToolResult("c1", "f", ""),)))
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{ "b": 1, "a": 2 }'


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses", "anthropic"])
@pytest.mark.parametrize("pattern", [r"(?s).+", "[a-zA-Z0-9]{9}"])
def test_ids_used_twice_become_two(wire: str, pattern: str) -> None:
    turn = (
        HELLO,
        Message("assistant", (ToolCall("call_0", "f", "{}"), ToolCall("call_0", "g", "{}"))),
        Message("tool", (ToolResult("call_0", "f", "one"),)),
        Message("tool", (ToolResult("call_0", "g", "two"),)),
    )
    text = json.dumps(build(wire, *turn, *turn, dialect=Dialect(tool_call_ids=pattern)))
    key = {"openai-chat": '"id"', "openai-responses": '"function_call", "call_id"', "anthropic": '"id"'}[wire]
    result = {"openai-chat": "tool_call_id", "openai-responses": "output", "anthropic": "tool_use_id"}[wire]
    calls = re.findall(rf'{key}: "([^"]+)"', text)
    results = re.findall(r'"function_call_output", "call_id": "([^"]+)"', text) or re.findall(
        rf'"{result}": "([^"]+)"', text
    )
    assert len(set(calls)) == 4
    assert results == calls


# ---------------------------------------------------------------- turns


@pytest.mark.parametrize("wire", NAMES)
def test_roles_alternate_and_nothing_is_lost_or_glued(wire: str) -> None:
    messages = (
        Message("system", (Text("Be brief."), Text("Be kind."))),
        Message("user", (Text("first"), Text("part"))),
        Message.from_text("user", "second"),
        Message.from_text("assistant", "one"),
        Message.from_text("assistant", "two"),
        Message.from_text("user", "third"),
    )
    body = build(wire, *messages)
    turns = body.get("messages") or body.get("input") or body.get("contents")
    assert turns
    roles = [turn["role"] for turn in turns if turn["role"] != "system"]
    if wire != "openai-responses":
        assert roles == ["user", "model" if wire == "gemini" else "assistant", "user"]
    text = json.dumps(body)
    for word in ("first", "part", "second", "one", "two", "third", "Be brief.", "Be kind."):
        assert re.search(rf'("|\\n){re.escape(word)}("|\\n)', text), word


def test_texts_around_a_call_stay_apart_and_pieces_of_an_answer_do_not() -> None:
    call = ToolCall("c", "f", "{}")
    assert Message("assistant", (Text("Let me look."), call, Text("Found."))).text == "Let me look.\n\nFound."
    assert Message("assistant", (Text("Let me look. "), call, Text("Found."))).text == "Let me look. Found."
    assert Message("assistant", (Text("It is in "), Text("Rom"), Text("e."))).text == "It is in Rome."
    assert Message("user", (Text("a"), Text(""), Text("b"))).text == "a\n\nb"
