"""Odd entries of foreign exports: each costs itself only, and hidden text stays hidden."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.chat import File, Text, Thinking, ToolCall, ToolResult
from llmctl.core.imported_conversation import refer_to_file
from llmctl.formats.chatgpt import resolve_citations
from llmctl.formats.message_links import OpenCalls
from tests.formats.test_imports import CHATGPT, CLAUDE, list_entry_texts, node, read


def chatgpt(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return CHATGPT | {"current_node": nodes[-1]["id"], "mapping": {each["id"]: each for each in nodes}} | more


def content(kind: str, **more: Any) -> dict[str, Any]:
    return {"content_type": kind, **more}


def claude_message(sender: str, *blocks: Any, **more: Any) -> dict[str, Any]:
    return {"uuid": sender, "sender": sender, "content": list(blocks)} | more


def claude(*messages: Any, **more: Any) -> dict[str, Any]:
    return CLAUDE | {"chat_messages": list(messages)} | more


def openai(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages)} | more


def list_parts(name: str, item: Any) -> list[Any]:
    (main, *_), _ = read(name, item)
    return [part for entry in main.entries for part in entry.parts]


def count_skipped(name: str, item: Any) -> dict[str, int]:
    return {one.what: one.number for one in read(name, item)[1]}


@pytest.mark.parametrize(
    "odd",
    [
        {"content": content("thoughts")},
        {"content": content("text", parts=None)},
        {"content": content("text", parts=[None, 5, {}])},
        {"content": None},
        {"content": content("hologram", frames=[1])},
        {"author": "somebody"},
        {"author": {"role": "critic"}},
        {"author": None},
        {"metadata": "x"},
        {"create_time": 1e300},
        {"create_time": "later"},
        {"metadata": {"content_references": [5, {"matched_text": None}]}},
    ],
    ids=str,
)
def test_odd_chatgpt_message_costs_itself_only(odd: Any) -> None:
    broken = node("b", "q", "assistant", "odd")
    broken["message"] |= odd
    (main,), _ = read("chatgpt", chatgpt(node("q", None, "user", "hello"), broken, node("a", "b", "assistant", "hi")))
    texts = [text for _, text in list_entry_texts(main)]
    assert (texts[0], texts[-1]) == ("hello", "hi")


@pytest.mark.parametrize("seconds", [1e300, float("inf"), float("nan"), -5, 0, True, None, "x", 1e15])
def test_chatgpt_time_out_of_range_is_unknown(seconds: Any) -> None:
    (main,), _ = read("chatgpt", chatgpt(node("q", None, "user", "x", at=seconds), create_time=seconds))
    assert (main.created_at, main.entries[0].at) == (None, None)


def test_chatgpt_time_in_milliseconds_is_understood() -> None:
    (main,), _ = read("chatgpt", chatgpt(node("q", None, "user", "x"), create_time=1700000000250))
    assert main.created_at == "2023-11-14T22:13:20.250+00:00"


def test_chatgpt_conversations_without_ids_are_told_apart() -> None:
    item = {key: value for key, value in CHATGPT.items() if key != "conversation_id"}
    ids = [read("chatgpt", item | {"title": title})[0][0].id for title in ("A", "B", "A")]
    assert ids[0] == ids[2] != ids[1]


def test_chatgpt_tree_may_have_children_only() -> None:
    nodes = [node(id, None, "user", id) | {"parent": None} for id in "abc"]
    nodes[0]["children"], nodes[1]["children"] = ["b"], ["c"]
    (main,), _ = read("chatgpt", chatgpt(*nodes))
    assert [text for _, text in list_entry_texts(main)] == ["a", "b", "c"]


def test_chatgpt_results_answer_their_calls() -> None:
    item = chatgpt(
        node("q", None, "user", "write"),
        node("c1", "q", "assistant", '{"name":"Essay"}', recipient="canmore.create_textdoc"),
        node("r1", "c1", "tool", "made", name="canmore.create_textdoc"),
        node("r2", "r1", "tool", "saved", name="canmore.create_textdoc"),
        node("c2", "r2", "assistant", "print(1)", recipient="python"),
        node("c3", "c2", "assistant", "print(2)", recipient="python"),
        node("r3", "c3", "tool", "1", name="python"),
        node("r4", "r3", "tool", "2", name="python"),
        node("a", "r4", "assistant", "done"),
    )
    assert list_parts("chatgpt", item)[1:] == [
        ToolCall("c1", "canmore.create_textdoc", '{"name":"Essay"}'),
        ToolResult("c1", "canmore.create_textdoc", "made\nsaved"),
        ToolCall("c2", "python", '{"input":"print(1)"}'),
        ToolResult("c2", "python", "1"),
        ToolCall("c3", "python", '{"input":"print(2)"}'),
        ToolResult("c3", "python", "2"),
        Text("done"),
    ]


@pytest.mark.parametrize(
    "hides",
    [{"metadata": {"is_visually_hidden_from_conversation": True}}, {"weight": 0.0}, {"weight": 0}],
    ids=["flag", "weight", "whole"],
)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_hidden_chatgpt_message_is_hidden(hides: Any, role: str) -> None:
    item = chatgpt(node("h", None, role, "secret", **hides), node("q", "h", "user", "hello"))
    (main,), _ = read("chatgpt", item)
    assert [(entry.role, entry.hidden) for entry in main.entries] == [("system", True), ("user", False)]


def test_hidden_result_is_one_only_where_no_other_answers_the_call() -> None:
    hidden = {"metadata": {"is_visually_hidden_from_conversation": True}}
    call = node("c", None, "assistant", "{}", recipient="search")
    alone = chatgpt(call, node("r", "c", "tool", "found", name="search", **hidden), node("a", "r", "assistant", "x"))
    assert ToolResult("c", "search", "found") in list_parts("chatgpt", alone)
    both = chatgpt(
        call,
        node("r", "c", "tool", "found", name="search"),
        node("h", "r", "tool", "say nothing", name="search", **hidden),
        node("a", "h", "assistant", "x"),
    )
    (main,), _ = read("chatgpt", both)
    assert [(entry.parts[0], entry.hidden) for entry in main.entries][1:3] == [
        (ToolResult("c", "search", "found"), False),
        (ToolResult("", "search", "say nothing"), True),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"content": content("user_editable_context", user_profile="I am Ann", user_instructions="be brief")},
        {
            "metadata": {
                "is_user_system_message": True,
                "is_visually_hidden_from_conversation": True,
                "user_context_message_data": {"about_user_message": "I am Ann", "about_model_message": "be brief"},
            },
        },
    ],
    ids=["content", "metadata"],
)
def test_custom_instructions_become_the_system_prompt(fields: Any) -> None:
    (main,), _ = read("chatgpt", chatgpt(node("i", None, "user", **fields), node("q", "i", "user", "hello")))
    assert list_entry_texts(main) == [("system", "I am Ann\n\nbe brief"), ("user", "hello")]
    assert not main.entries[0].hidden


def test_conversation_with_instructions_only_is_empty() -> None:
    item = chatgpt(node("i", None, "user", content=content("user_editable_context", user_profile="I am Ann")))
    assert not read("chatgpt", item)[0][0].entries


@pytest.mark.parametrize(("slug", "model"), [("gpt-5", "gpt-5"), ("auto", None), (None, None), (5, None)])
def test_default_model_is_that_of_the_chat(slug: Any, model: Any) -> None:
    item = chatgpt(node("q", None, "user", "hello"), default_model_slug=slug)
    assert read("chatgpt", item)[0][0].model == model


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        ("so \ue200cite\ue202turn0search1\ue201.", [], "so ."),
        (
            "so \ue200cite\ue202turn0\ue201",
            [("\ue200cite\ue202turn0\ue201", {"alt": "([x](https://x))"})],
            "so ([x](https://x))",
        ),
        (
            "a\ue200cite\ue202t\ue201",
            [("\ue200cite\ue202t\ue201", {"items": [{"title": "X", "url": "https://x"}, {}]})],
            "a([X](https://x))",
        ),
        ('\ue200entity\ue202["people","Ada","who"]\ue201 wrote', [], "Ada wrote"),
        ("\ue200entity\ue202[broken\ue201x", [], "x"),
        ("\ue203marked\ue204\ue206 text\ue200", [], "marked text"),
        ("plain \uf8ff", [], "plain \uf8ff"),
    ],
)
def test_citations_are_resolved_or_removed(text: str, references: Any, expected: str) -> None:
    listed = [{"matched_text": marker, **more} for marker, more in references]
    assert resolve_citations(text, {"content_references": listed}) == expected


def test_spoken_chatgpt_messages_keep_words_and_recording() -> None:
    parts = [
        {"content_type": "audio_transcription", "text": "hello", "direction": "in"},
        {
            "content_type": "real_time_user_audio_video_asset_pointer",
            "audio_asset_pointer": {"content_type": "audio_asset_pointer", "asset_pointer": "sediment://file_00a"},
        },
    ]
    item = chatgpt(node("q", None, "user", content=content("multimodal_text", parts=parts)))
    assert list_parts("chatgpt", item) == [Text("hello"), refer_to_file("sediment://file_00a", "audio/*")]


def test_uploads_of_chatgpt_are_mentioned_once() -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1"}
    attachments = [
        {"id": "file-1", "name": "a.png"},
        {"id": "file-2", "name": "b.pdf", "mimeType": "application/pdf"},
        {},
    ]
    item = chatgpt(
        node(
            *("q", None, "user"),
            content=content("multimodal_text", parts=[picture, "look"]),
            metadata={"attachments": attachments},
        )
    )
    assert list_parts("chatgpt", item) == [
        refer_to_file("file-service://file-1", "image/*"),
        Text("look"),
        refer_to_file("file-2", "application/pdf", "b.pdf"),
    ]


def test_what_chatgpt_adds_later_is_counted() -> None:
    item = chatgpt(
        node("q", None, "user", "hello"),
        node("x", "q", "assistant", content=content("hologram", frames=[1])),
        node("y", "x", "critic", "no"),
    )
    assert count_skipped("chatgpt", item) == {'blocks of type "hologram"': 1, "messages that cannot be read": 1}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "voice_note", "title": "v", "text": "spoken"}, [Text("spoken")]),
        ("bare", [Text("bare")]),
        ({"type": "text", "text": None}, []),
        ({"type": "thinking", "thinking": None}, []),
        ({"type": "thinking", "thinking": "hm"}, [Thinking("hm")]),
        ({"type": "token_budget"}, []),
        ({"type": "flag", "flag": "x"}, []),
        ({"type": "tool_use", "input": None}, [ToolCall("human#call0", "tool", "{}")]),
        (7, []),
        (None, []),
    ],
    ids=str,
)
def test_odd_claude_block_costs_itself_only(block: Any, expected: Any) -> None:
    item = claude(claude_message("human", block, {"type": "text", "text": "rest"}))
    assert list_parts("claude", item) == [*expected, Text("rest")]


@pytest.mark.parametrize(
    "odd", [None, 5, {"sender": "narrator"}, {"uuid": "x"}, {"sender": "human", "content": 5}, {"sender": ["human"]}]
)
def test_odd_claude_message_costs_itself_only(odd: Any) -> None:
    item = claude(claude_message("human", "q"), odd, claude_message("assistant", "a"))
    assert list_parts("claude", item) == [Text("q"), Text("a")]


def test_unknown_claude_blocks_are_counted() -> None:
    item = claude(claude_message("assistant", {"type": "flag"}, {"type": "flag"}, "a"))
    assert count_skipped("claude", item) == {'blocks of type "flag"': 2}


@pytest.mark.parametrize("missing", [(), (0,), (1,), (0, 1), (1, 2)])
@pytest.mark.parametrize("linked", [False, True])
def test_claude_messages_without_uuid_stay_in_order(missing: tuple[int, ...], linked: bool) -> None:
    messages = [claude_message("human", str(number), uuid=f"m{number}") for number in range(4)]
    for number, message in enumerate(messages):
        if linked:
            message["parent_message_uuid"] = f"m{number - 1}" if number else "00000000-0000-4000-8000-000000000000"
        if number in missing:
            del message["uuid"]
    (main, *forks), _ = read("claude", claude(*messages))
    assert [text for _, text in list_entry_texts(main)] == ["0", "1", "2", "3"]
    assert not forks


def test_claude_leaf_decides_which_branch_is_the_chat() -> None:
    messages = [
        claude_message("human", "q", uuid="q"),
        claude_message("assistant", "kept", uuid="a1", parent_message_uuid="q"),
        claude_message("assistant", "dropped", uuid="a2", parent_message_uuid="q"),
    ]
    (main, fork), _ = read("claude", claude(*messages, current_leaf_message_uuid="a1"))
    assert [list_entry_texts(one)[-1][1] for one in (main, fork)] == ["kept", "dropped"]


def test_claude_calls_without_ids_are_paired_in_order() -> None:
    call, result = {"type": "tool_use", "name": "f", "input": {}}, {"type": "tool_result", "name": "f"}
    blocks = (call, call, result | {"content": "1"}, result | {"content": [{"text": "2"}]})
    parts = list_parts("claude", claude(claude_message("assistant", *blocks, uuid="m")))
    assert [part.call_id for part in parts[2:]] == [part.id for part in parts[:2]] == ["m#call0", "m#call1"]


def test_claude_placeholder_of_a_block_is_no_text() -> None:
    text = "```\nThis block is not supported on your current device yet.\n```"
    item = claude(claude_message("assistant", {"type": "tool_use", "id": "t", "name": "f"}, text=text))
    assert list_parts("claude", item) == [ToolCall("t", "f", "{}")]


def test_claude_conversation_without_messages_is_empty() -> None:
    assert not read("claude", claude())[0][0].entries


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "image_url", "image_url": "https://x/y.png"}, [File("image/*", url="https://x/y.png")]),
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, [File("image/*", url="https://x/y.png")]),
        ({"type": "input_image", "image_url": "data:image/png;base64,aGk="}, [File("image/png", b"hi")]),
        ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}}, [File("audio/mp3", b"hi")]),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
            [File("application/pdf", b"hi", name="a.pdf")],
        ),
        ({"type": "image_url", "image_url": None}, []),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}, []),
        ({"type": "input_text", "text": "x"}, [Text("x")]),
        ({"type": "output_text", "text": None}, []),
        ({"type": "refusal", "refusal": "no"}, [Text("no")]),
        ({"type": "hologram"}, []),
        ("bare", [Text("bare")]),
        (None, []),
    ],
    ids=str,
)
def test_openai_blocks_are_read_or_cost_themselves(block: Any, expected: Any) -> None:
    item = openai({"role": "user", "content": [block, {"type": "text", "text": "rest"}]})
    assert list_parts("openai", item) == [*expected, Text("rest")]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_openai_reasoning_is_thinking(key: str) -> None:
    item = openai({"role": "assistant", key: "because", "content": "a"})
    assert list_parts("openai", item) == [Thinking("because"), Text("a")]


def test_openai_calls_without_ids_are_paired() -> None:
    item = openai(
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, 5]},
        {"role": "tool", "content": {"b": 2}},
        {"role": "assistant", "function_call": {"name": "g", "arguments": None}},
        {"role": "function", "name": "g", "content": None},
        {"role": "narrator", "content": "x"},
    )
    assert list_parts("openai", item) == [
        ToolCall("call_0_0", "f", '{"a":1}'),
        ToolResult("call_0_0", "", '{"b":2}'),
        ToolCall("call_2_0", "g", "{}"),
        ToolResult("call_2_0", "g", ""),
    ]
    assert count_skipped("openai", item) == {"messages that cannot be read": 1}


@pytest.mark.parametrize("speaker", ["gpt", "chatgpt", "bing", "bard", "assistant", "ChatGPT"])
def test_sharegpt_speakers_have_many_names(speaker: str) -> None:
    item = {"conversations": [{"from": "human", "value": "q"}, {"from": speaker, "value": "a"}]}
    assert list_entry_texts(read("sharegpt", item)[0][0]) == [("user", "q"), ("assistant", "a")]


def test_sharegpt_turns_cost_themselves_only() -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": None},
        {"from": "narrator", "value": "x"},
        {"from": "function_call", "value": "not json"},
        {"from": "function_call", "value": '{"name":"f","arguments":{"a":1}}'},
        {"from": "observation", "value": {"b": 2}},
        {"role": "assistant", "content": "a"},
        5,
    ]
    item = {"conversations": turns}
    assert list_parts("sharegpt", item) == [
        Text("q"),
        ToolCall("call_4_0", "f", '{"a":1}'),
        ToolResult("call_4_0", "", '{"b":2}'),
        Text("a"),
    ]
    assert count_skipped("sharegpt", item) == {"messages that cannot be read": 2, 'blocks of type "function_call"': 1}


def test_result_answers_a_call_of_the_last_group() -> None:
    calls = OpenCalls()
    assert calls.answer(None) == ""
    calls.add("a", "f", "x")
    calls.add(None, "g", "b")
    assert [calls.answer(None, "g"), calls.answer(None, "g"), calls.answer(None)] == ["b", "a", ""]
    calls.add("c", "f", "x")
    assert [calls.answer("zz"), calls.answer("c"), calls.answer(None)] == ["zz", "c", ""]
