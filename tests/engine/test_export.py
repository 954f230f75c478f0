"""What leaves a hub, and what does not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.pii_patterns import mask_personal
from llmctl.core.stored_values import dumps
from llmctl.engine.transfer import export
from llmctl.engine.transfer.export import ExportOptions
from llmctl.formats.exports import EXPORTS
from llmctl.store.opening import MEMORY, open_hub
from tests.engine.transfer_hubs import export_hub, import_text
from tests.fakes.hub_builder import HubBuilder

KEY = "sk-proj-abc123def456ghi789"


@pytest.fixture
def hub() -> Iterator[HubBuilder]:
    with closing(open_hub(MEMORY, "create")) as database:
        yield HubBuilder(database)


def test_nothing_chosen_is_a_bad_call(hub: HubBuilder) -> None:
    with pytest.raises(UsageError, match="nothing is selected"):
        export.select_rows(hub.database, ExportOptions())
    with pytest.raises(UsageError):
        export.select_rows(hub.database, ExportOptions(chats=["a"], everything=True))
    with pytest.raises(NotFoundError):
        export.select_rows(hub.database, ExportOptions(chats=["nobody"]))


def test_since_takes_conversations_with_something_new(hub: HubBuilder) -> None:
    hub.chat("old")
    later = hub.tick(3600)
    hub.chat("new")
    text = export_hub(hub.database, ExportOptions(since=later))
    assert '"name":"new"' in text
    assert '"name":"old"' not in text


@pytest.mark.parametrize("format", EXPORTS.names())
def test_keys_never_leave(hub: HubBuilder, format: Any) -> None:
    chat = hub.chat("one", description=f"about {KEY}")
    hub.turn(chat, f"my key is {KEY}", f"so {KEY} it is", parameters=dumps({"key": KEY}))
    hub.connection("work", data=dumps({"headers": {"X-Api-Key": "hunter2hunter2"}, "key": "env:KEY"}))
    wish = ExportOptions(everything=True, format=format)
    text = export_hub(hub.database, wish)
    assert KEY not in text
    assert "hunter2" not in text
    assert wish.masker.changed_count >= 2


@pytest.mark.parametrize(
    ("wish", "answer", "kept"),
    [
        (ExportOptions(everything=True), f"use {KEY} then", False),
        (ExportOptions(everything=True), "use joe@example.org then", True),
        (ExportOptions(everything=True, mask_personal=True), "use joe@example.org then", False),
    ],
)
def test_what_is_masked_does_not_leave_in_pieces(hub: HubBuilder, wish: Any, answer: str, kept: bool) -> None:
    turn = hub.turn(hub.chat("one"), "a", answer)
    said = dumps([{"type": "chatModel", "content": answer}])
    pieces = "\n".join(f'data: {{"delta":"{answer[place : place + 4]}"}}' for place in range(0, len(answer), 4))
    hub.database.execute(
        "UPDATE {response_streams} SET result_messages = ?, raw_output = ? WHERE id = ?",
        (said, pieces, turn["stream"]),
    )
    hub.running(hub.chat(None), [b"joe@exa", b"mple.org"])
    lines = [json.loads(line) for line in export_hub(hub.database, wish).splitlines()[1:]]
    streams = [line["row"] for line in lines if line["table"] == "response_streams"]
    assert ("raw_output" in next(row for row in streams if row["id"] == turn["stream"])) is kept
    assert any(line["table"] == "stream_chunks" for line in lines) is not wish.mask_personal


def test_personal_data_leaves_unless_it_is_masked(hub: HubBuilder) -> None:
    said = "ada@example.org, +49 (30) 1234567, DE89 3704 0044 0532 0130 00, 4111 1111 1111 1111; 12 of 1234567890123"
    chat = hub.chat("one")
    hub.attach(
        hub.message(chat, "user", said, metadata=dumps({"from": "ada@example.org", "n": 4111111111111111})), b"x"
    )
    assert "ada@example.org" in export_hub(hub.database)
    text = export_hub(hub.database, ExportOptions(everything=True, mask_personal=True))
    assert "[e-mail], [phone], [iban], [card]; 12 of 1234567890123" in text
    assert '"metadata":{"from":"[e-mail]","n":4111111111111111}' in text
    assert "base64" not in text


@pytest.mark.parametrize(
    "text",
    [
        "2026-10-05T12:00:00.000+00:00",
        "3f2a9c1e-0123-4567-89ab-0123456789ab",
        "version 1.2.3, 10 000 rows, 127.0.0.1:8080",
        "4111111111111112",
        "DE88370400440532013000",
        "user@localhost",
    ],
)
def test_what_is_no_personal_data_stays(text: str) -> None:
    assert mask_personal(text) == text


def test_html_never_runs_scripts(hub: HubBuilder) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\n```html\n</code></pre><script>x</script>\n```"
    chat = hub.chat("</title><script>alert(2)</script>", description="<b>")
    hub.turn(chat, evil, '"><svg onload=alert(3)>')
    hub.tool_turn(chat, result="<iframe src=javascript:alert(4)>", arguments='{"a":"</pre><script>"}')
    page = export_hub(hub.database, ExportOptions(chats=[chat["id"]], format="html"))
    for tag in ("<script", "<img", "<svg", "<iframe", "<b>"):
        assert tag not in page
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page.replace("http-equiv", "")


def test_openai_lines_are_what_the_api_takes(hub: HubBuilder) -> None:
    chat = hub.chat("one")
    hub.message(chat, "system", "be brief")
    hub.tool_turn(chat)
    hub.running(chat, [b"x"])
    line = export_hub(hub.database, ExportOptions(chats=["one"], format="openai"))
    assert [message["role"] for message in json.loads(line)["messages"]] == [
        *("system", "user", "assistant", "tool", "assistant"),
    ]
    call, result = json.loads(line)["messages"][2:4]
    assert call["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}
    assert result == {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "sunny"}


@pytest.mark.parametrize("format", ["openai", "sharegpt"])
def test_what_is_written_for_training_can_be_read_again(hub: HubBuilder, format: str) -> None:
    chat = hub.chat("one")
    hub.turn(chat, "hello", "hi")
    hub.tool_turn(chat)
    text = export_hub(hub.database, ExportOptions(chats=["one"], format=format))
    with closing(open_hub(MEMORY, "create")) as other:
        import_text(other, text)
        again = export_hub(other, ExportOptions(everything=True, format=format))
    documents = [json.loads(line) for line in (text, again)]
    for document in documents:
        document.pop("id", None)
        document.pop("tools")
    assert documents[0] == documents[1]


def require_openai_rules(line: str) -> Any:
    """Return a line after the checks of OpenAI's fine-tuning validator."""
    document = json.loads(line)
    messages = document["messages"]
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    assert messages
    assert all(message["role"] in ("system", "user", "assistant", "tool") for message in messages)
    assert all(message.get("content") or message.get("tool_calls") for message in messages if message["role"] != "tool")
    assert messages[-1]["role"] == "assistant"
    assert "tool_calls" not in messages[-1]
    assert [call["id"] for call in calls] == [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert {call["function"]["name"] for call in calls} == {
        tool["function"]["name"] for tool in document.get("tools", ())
    }
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    return document


def require_llama_factory_rules(line: str) -> Any:
    """Return a line after the checks of LLaMA-Factory's converter."""
    document = json.loads(line)
    turns = [turn for turn in document["conversations"] if turn["from"] != "system"]
    assert all(turn["from"] in ("human", "observation") for turn in turns[::2])
    assert all(turn["from"] in ("gpt", "function_call") for turn in turns[1::2])
    assert turns[-1]["from"] == "gpt"
    return document


def export_for_training(hub: HubBuilder, format: str, **more: Any) -> tuple[list[Any], dict[str, int]]:
    options = ExportOptions(everything=True, format=format, **more)
    check = require_openai_rules if format == "openai" else require_llama_factory_rules
    lines = export_hub(hub.database, options).splitlines()
    return [check(line) for line in lines], {skipped.what: skipped.number for skipped in options.skipped.items()}


def list_texts(document: Any) -> list[str]:
    return [turn.get("value", turn.get("content")) for turn in document.get("messages") or document["conversations"]]


@pytest.mark.parametrize("format", ["openai", "sharegpt"])
def test_training_gets_no_conversation_without_an_answer(hub: HubBuilder, format: str) -> None:
    hub.turn(hub.chat("good"), "hello", "hi")
    hub.message(hub.chat("unanswered"), "user", "anybody?")
    hub.message(hub.chat("prompt only"), "system", "be brief")
    hub.running(hub.chat("running"), [b"x"])
    documents, skipped = export_for_training(hub, format)
    assert [list_texts(document) for document in documents] == [["hello", "hi"]]
    assert skipped == {"conversations without a complete answer": 3}


@pytest.mark.parametrize("format", ["openai", "sharegpt"])
@pytest.mark.parametrize("status", ["incomplete", "interrupted"])
def test_training_gets_answers_that_broke_off_only_on_request(hub: HubBuilder, format: str, status: str) -> None:
    chat = hub.chat("one")
    hub.turn(chat, "hello", "hi")
    hub.message(chat, "user", "more")
    hub.message(chat, "assistant", "this brea", status=status)
    hub.turn(chat, "again", "sure")
    (document,), skipped = export_for_training(hub, format)
    assert list_texts(document) == ["hello", "hi", "again", "sure"]
    assert skipped == {"turns without a complete answer": 1}
    (document,), skipped = export_for_training(hub, format, incomplete=True)
    assert list_texts(document) == ["hello", "hi", "more", "this brea", "again", "sure"]
    assert not skipped


@pytest.mark.parametrize("format", ["openai", "sharegpt"])
def test_training_gets_whole_turns_with_tools(hub: HubBuilder, format: str) -> None:
    chat = hub.chat("one")
    hub.message(chat, "system", "be brief")
    hub.tool_turn(chat)
    hub.message(chat, "user", "and now?")
    calls = [{"type": "tool_call", "id": "open", "name": "weather", "arguments": "{}"}]
    hub.message(chat, "assistant", None, content_raw=json.dumps(calls))
    (document,), skipped = export_for_training(hub, format)
    assert skipped == {"turns without a complete answer": 1}
    tools = document["tools"] if format == "openai" else [{"function": one} for one in json.loads(document["tools"])]
    assert [tool["function"]["name"] for tool in tools] == ["weather"]
    assert tools[0]["function"]["parameters"]["type"] == "object"


def test_training_gets_files_as_they_were_sent(hub: HubBuilder) -> None:
    chat = hub.chat("one")
    hub.attach(hub.message(chat, "user", "look"), b"my notes")
    hub.message(chat, "assistant", "I see")
    sent = 'look\n\n<file name="note.txt">\nmy notes\n</file>'
    for format in ("openai", "sharegpt"):
        (document,), _ = export_for_training(hub, format)
        assert list_texts(document) == [sent, "I see"]
    (document,), _ = export_for_training(hub, "openai", mask_personal=True)
    assert list_texts(document) == ["look", "I see"]


def test_page_is_titled_by_how_the_conversation_begins(hub: HubBuilder) -> None:
    hub.turn(hub.chat(), "why is the sky blue, " + "really " * 20, "physics")
    markdown = export_hub(hub.database, ExportOptions(everything=True, format="markdown"))
    assert markdown.startswith("# why is the sky blue, really")
    assert "<h1>why is the sky blue, really" in export_hub(hub.database, ExportOptions(everything=True, format="html"))


def test_csv_holds_texts_as_they_are(hub: HubBuilder) -> None:
    hub.turn(hub.chat("one"), 'a "quoted",\nline', "=1+1")
    found = list(
        csv.DictReader(io.StringIO(export_hub(hub.database, ExportOptions(chats=["one"], format="csv")), newline=""))
    )
    assert [row["content"] for row in found] == ['a "quoted",\nline', "=1+1"]
    assert found[1]["model"] == "gpt-5"


def test_markdown_has_a_title_and_every_message(hub: HubBuilder) -> None:
    hub.turn(hub.chat("one"), "hello", "hi")
    text = export_hub(hub.database, ExportOptions(chats=["one"], format="markdown"))
    assert text.startswith("# one\n")
    assert "## User\n\nhello\n" in text
    assert "## Assistant (gpt-5)\n\nhi\n" in text
