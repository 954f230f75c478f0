"""``response_streams.result_messages``: the parsed answer, with its tool calls and thinking."""

from __future__ import annotations

import json

import pytest

from tests.harness import Llmctl, query


@pytest.mark.parametrize("stream", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_parsed_answer_holds_calls(llmctl: Llmctl, stream: list[str]) -> None:
    llmctl("chat", "-m", "echo", "-T", "time:auto", "-o", "tool=time", *stream, "late?", check=True)
    rows = query(llmctl.env, "SELECT result_messages FROM response_streams ORDER BY created_at, rowid")
    (first,), (last,) = (json.loads(row[0]) for row in rows)
    assert [call["name"] for call in first["tool_calls"]] == ["time"]
    assert json.loads(first["tool_calls"][0]["arguments"]) == {}
    assert set(last) == {"id", "type", "content"}


def test_parsed_answer_holds_thinking(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "-o", "thinking=let me see", "hello", check=True)
    ((row,),) = query(llmctl.env, "SELECT result_messages FROM response_streams")
    (message,) = json.loads(row)
    assert message["thinking"].strip() == "let me see"
    assert message["content"] == "hello"


def test_schema_says_what_the_rows_hold(llmctl: Llmctl) -> None:
    for arguments in (["show", "response_streams"], ["emit", "prisma"]):
        assert '"tool_calls": [{"id", "name", "arguments"}]' in llmctl("schema", *arguments, check=True).stdout
