"""``--messages`` and attachments: all that is given is sent under its own name, or refused; nothing is glued."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.harness import Llmctl, parse_json, require_failure, require_success

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16
PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()


def sent(llmctl: Llmctl, *messages: Any) -> list[dict[str, Any]]:
    done = llmctl("chat", "-m", "echo", "--messages", "-", "--dry-run", "--json", input=json.dumps(messages))
    found: list[dict[str, Any]] = parse_json(done)["body"]["messages"]
    return found


def test_parts_of_messages_stay_apart(llmctl: Llmctl) -> None:
    two = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    found = sent(
        llmctl,
        {"role": "system", "content": two},
        {"role": "user", "content": two},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "name": "f", "content": two},
        {"role": "user", "content": "go on"},
    )
    assert [message["content"] for message in found] == ["one\n\ntwo", "one\n\ntwo", None, "one\n\ntwo", "go on"]
    done = llmctl("chat", "-m", "echo", "--messages", "-", input=json.dumps([{"role": "user", "content": two}]))
    require_success(done)
    for format in ("markdown", "html", "openai", "sharegpt", "jsonl"):
        text = require_success(llmctl("export", "--all", "--format", format))
        assert "one" in text
        assert "onetwo" not in text


def test_files_in_messages_are_sent(llmctl: Llmctl) -> None:
    file = {"filename": "a.txt", "file_data": "data:text/plain;base64," + base64.b64encode(b"words").decode()}
    [message] = sent(
        llmctl,
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": PICTURE}},
                {"type": "file", "file": file},
            ],
        },
    )
    kinds = [part["type"] for part in message["content"]]
    assert (kinds, message["content"][1]["image_url"]["url"]) == (["text", "image_url", "text"], PICTURE)
    assert "words" in message["content"][2]["text"]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "hi", "name": "bob"},
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://h/v.mp4"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}]},
        {"role": "user", "content": {"text": "hi"}},
        {"role": "user", "content": "hi", "weight": 0},
        {"role": "critic", "content": "hi"},
    ],
)
def test_what_would_not_be_sent_is_refused(llmctl: Llmctl, message: Any) -> None:
    done = llmctl("chat", "-m", "echo", "--messages", "-", input=json.dumps([message]))
    require_failure(done, 2)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "hi", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "content": "hi", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f"}}]},
    ],
)
def test_answers_with_other_calls_are_refused(llmctl: Llmctl, message: Any) -> None:
    text = json.dumps([{"role": "user", "content": "a"}, message, {"role": "user", "content": "b"}])
    require_failure(llmctl("chat", "-m", "echo", "--messages", "-", input=text), 2)


def test_attachment_from_stdin_never_has_the_name_of_another(llmctl: Llmctl, tmp_path: Any) -> None:
    (tmp_path / "secret.txt").write_text("same words\n")
    require_success(llmctl("chat", "-m", "echo", "-a", "secret.txt", "one"))
    require_success(llmctl("chat", "-m", "echo", "--name", "x", "-a", "-", "two", input="same words\n"))
    body = require_success(llmctl("chat", "--chat", "x", "--dry-run", "--json", "three"))
    assert "same words" in body
    assert "secret.txt" not in body
    shown = parse_json(llmctl("chats", "show", "x", "--json"))
    [attachment] = [found for message in shown["messages"] for found in message["attachments"]]
    assert attachment["name"] is None
