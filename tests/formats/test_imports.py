"""Exports of ChatGPT and Claude, and lines of messages: fixtures after the documentation of each."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from llmctl.core.chat import File, Text, Thinking, ToolCall, ToolResult
from llmctl.core.imported_conversation import ImportedConversation, SkippedItems, refer_to_file
from llmctl.formats.imports import IMPORTS
from llmctl.formats.message_links import iter_branches


def node(id: Any, parent: Any, role: Any = None, text: str = "", **more: Any) -> dict[str, Any]:
    """A node of ChatGPT's tree."""
    message = None
    if role:
        author = {"role": role, "name": more.pop("name", None), "metadata": {}}
        content = more.pop("content", None) or {"content_type": "text", "parts": [text]}
        message = {"id": id, "author": author, "content": content, "create_time": more.pop("at", 1700000000.5)}
        message |= {"status": "finished_successfully", "recipient": "all", "metadata": {"model_slug": "gpt-4o"}} | more
    return {"id": id, "message": message, "parent": parent, "children": []}


CHATGPT = {
    "title": "Trees",
    "create_time": 1700000000.25,
    "update_time": 1700000100,
    "conversation_id": "3f2a9c1e-0123-4567-89ab-0123456789ab",
    "current_node": "a2",
    "mapping": {
        each["id"]: each
        for each in (
            node("root", None),
            node("s", "root", "system", ""),
            node("q", "s", "user", "what is a tree?"),
            node("a1", "q", "assistant", "a plant"),
            node("a2", "q", "assistant", "a graph"),
        )
    },
}
CLAUDE = {
    "uuid": "7a2a9c1e-0123-4567-89ab-0123456789ab",
    "name": "Weather",
    "created_at": "2025-01-02T03:04:05.678901+00:00",
    "updated_at": "2025-01-02T03:05:05Z",
    "account": {"uuid": "x"},
    "chat_messages": [
        {
            "uuid": "m1",
            "sender": "human",
            "text": "weather?",
            "content": [{"type": "text", "text": "weather?"}],
            "created_at": "2025-01-02T03:04:05.678901+00:00",
            "attachments": [{"file_name": "a.txt", "extracted_content": "notes"}],
            "files": [{"file_name": "b.png"}],
        },
        {
            "uuid": "m2",
            "sender": "assistant",
            "text": "It is sunny.",
            "content": [
                {"type": "thinking", "thinking": "let me look"},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "name": "weather",
                    "content": [{"type": "text", "text": "sunny"}],
                },
                {"type": "text", "text": "It is sunny."},
            ],
            "created_at": "2025-01-02T03:04:07+00:00",
        },
    ],
}
OPENAI = {
    "model": "gpt-4o",
    "messages": [
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "see", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "assistant", "content": "A cat."},
    ],
}
SHAREGPT = {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}
ALL = {"chatgpt": CHATGPT, "claude": CLAUDE, "openai": OPENAI, "sharegpt": SHAREGPT}


def read(name: str, item: Any) -> tuple[list[Any], ...]:
    found = list(IMPORTS.load(name).read(item))
    return [one for one in found if isinstance(one, ImportedConversation)], [
        one for one in found if isinstance(one, SkippedItems)
    ]


def list_entry_texts(history: Any) -> list[tuple[Any, ...]]:
    return [
        (entry.role, "".join(part.text for part in entry.parts if isinstance(part, Text))) for entry in history.entries
    ]


@pytest.mark.parametrize("name", ALL)
def test_a_document_is_of_one_format_only(name: Any) -> None:
    assert [other for other in IMPORTS.names() if IMPORTS.load(other).fits(ALL[name])] == [name]


@pytest.mark.parametrize(
    "item", [{}, [], 1, "x", {"messages": []}, {"messages": [{"role": "x"}]}, {"mapping": {}}, None]
)
def test_other_documents_fit_no_format(item: Any) -> None:
    assert not [name for name in IMPORTS.names() if IMPORTS.load(name).fits(item)]


def test_chatgpt_gives_the_current_branch_and_the_others_as_forks() -> None:
    (main, fork), _ = read("chatgpt", CHATGPT)
    assert list_entry_texts(main) == [("user", "what is a tree?"), ("assistant", "a graph")]
    assert list_entry_texts(fork) == [("user", "what is a tree?"), ("assistant", "a plant")]
    assert (main.name, main.id, main.created_at) == (
        "Trees",
        CHATGPT["conversation_id"],
        "2023-11-14T22:13:20.250+00:00",
    )
    assert (fork.parent_id, fork.shared) == (main.id, 1)
    assert main.entries[-1].model == "gpt-4o"


def test_chatgpt_tools_thoughts_and_files_keep_their_kind() -> None:
    nodes = [
        node(
            "q",
            None,
            "user",
            content={
                "content_type": "multimodal_text",
                "parts": [{"content_type": "image_asset_pointer", "asset_pointer": "file-service://1"}, "look"],
            },
        ),
        node(
            "t", "q", "assistant", content={"content_type": "thoughts", "thoughts": [{"summary": "s", "content": "hm"}]}
        ),
        node(
            "c",
            "t",
            "assistant",
            recipient="python",
            content={"content_type": "code", "language": "python", "text": "1+1"},
        ),
        node("r", "c", "tool", name="python", content={"content_type": "execution_output", "text": "2"}),
        node("a", "r", "assistant", "two"),
    ]
    item = CHATGPT | {"current_node": "a", "mapping": {each["id"]: each for each in nodes}}
    (main,), skipped = read("chatgpt", item)
    assert [entry.parts for entry in main.entries] == [
        (refer_to_file("file-service://1", "image/*"), Text("look")),
        (Thinking("hm"),),
        (ToolCall("c", "python", '{"code":"1+1"}'),),
        (ToolResult("c", "python", "2"),),
        (Text("two"),),
    ]
    assert not skipped


def test_claude_gives_steps_and_files() -> None:
    (main,), skipped = read("claude", CLAUDE)
    assert [entry.role for entry in main.entries] == ["user", "assistant", "tool", "assistant"]
    assert main.entries[0].parts == (
        Text("weather?"),
        File("text/plain", b"notes", name="a.txt"),
        refer_to_file("b.png", name="b.png"),
    )
    assert main.entries[1].parts[1] == ToolCall("toolu_1", "weather", '{"city":"Paris"}')
    assert main.entries[2].parts == (ToolResult("toolu_1", "weather", "sunny"),)
    assert (main.created_at, main.updated_at) == ("2025-01-02T03:04:05.678+00:00", "2025-01-02T03:05:05.000+00:00")
    assert not skipped


def test_claude_branches_where_messages_name_their_parents() -> None:
    messages = [
        {"uuid": "q", "sender": "human", "text": "q", "parent_message_uuid": "00000000"},
        {"uuid": "a1", "sender": "assistant", "text": "a1", "parent_message_uuid": "q"},
        {"uuid": "a2", "sender": "assistant", "text": "a2", "parent_message_uuid": "q"},
    ]
    (main, fork), _ = read("claude", CLAUDE | {"chat_messages": messages})
    assert list_entry_texts(main) == [("user", "q"), ("assistant", "a2")]
    assert list_entry_texts(fork) == [("user", "q"), ("assistant", "a1")]


def test_openai_messages_keep_calls_results_and_pictures() -> None:
    (main,), _ = read("openai", OPENAI)
    assert [entry.role for entry in main.entries] == ["system", "user", "assistant", "tool", "assistant"]
    assert main.entries[1].parts[1] == File("image/png", b"hi")
    assert main.entries[2].parts == (ToolCall("c1", "see", "{}"),)
    assert read("openai", OPENAI)[0][0].id == main.id


def test_a_circle_in_a_tree_is_cut() -> None:
    assert list(iter_branches({"a": "b", "b": "a"}, "a")) == [(["b", "a"], 2)]
    assert list(iter_branches({}, None)) == []


@pytest.mark.parametrize("name", ALL)
def test_a_broken_conversation_is_an_error_that_importing_expects(name: Any) -> None:
    """Whatever is missing in a document: no other error than those that cost this document only."""
    text = json.dumps(ALL[name])
    for old, new in (
        ('"text"', '"x"'),
        ('"content"', '"x"'),
        ('"value"', '"x"'),
        ("1700000000", '"later"'),
        ('"name"', "null"),
    ):
        try:
            item = json.loads(text.replace(old, new))
        except ValueError:
            continue
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            read(name, item)
