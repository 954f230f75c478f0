"""A usage that counts one side only says nothing of the other: it is unknown, never 0, on every wire."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.wire.anthropic.events import parse_usage as parse_anthropic
from llmctl.wire.gemini.events import parse_usage as parse_gemini
from llmctl.wire.openai_responses.events import parse_usage as parse_responses
from llmctl.wire.responses import parse_usage as parse_chat
from tests.cli.test_trust import SECRET
from tests.fakes.openai_server import FakeServer, json_reply
from tests.harness import Llmctl, query


@pytest.mark.parametrize(
    ("parse", "data", "unknown"),
    [
        (parse_chat, {"prompt_tokens": 5}, "output"),
        (parse_chat, {"completion_tokens": 5}, "input"),
        (parse_chat, {"prompt_tokens": 0, "completion_tokens": 5, "total_tokens": 5}, "input"),
        (parse_chat, {"prompt_tokens": None, "completion_tokens": 5}, "input"),
        (parse_chat, {"prompt_tokens": 5, "completion_tokens": 0}, None),
        (parse_chat, {"prompt_tokens": 5, "total_tokens": 5}, None),
        (parse_chat, {"completion_tokens": 5, "total_tokens": 8}, None),
        (parse_responses, {"input_tokens": 5}, "output"),
        (parse_responses, {"output_tokens": 5}, "input"),
        (parse_responses, {"input_tokens": 5, "output_tokens": 1}, None),
        (parse_anthropic, {"input_tokens": 5}, "output"),
        (parse_anthropic, {"output_tokens": 5}, "input"),
        (parse_anthropic, {"output_tokens": 5, "cache_read_input_tokens": 9}, None),
        (parse_anthropic, {"input_tokens": 5, "output_tokens": 0}, None),
        (parse_gemini, {"promptTokenCount": 5}, "output"),
        (parse_gemini, {"candidatesTokenCount": 5}, "input"),
        (parse_gemini, {"candidatesTokenCount": 5, "totalTokenCount": 8}, None),
        (parse_gemini, {"promptTokenCount": 5, "totalTokenCount": 5}, None),
    ],
)
def test_side_without_a_count_is_unknown(parse: Any, data: dict[str, Any], unknown: str | None) -> None:
    assert parse(data).unknown == unknown


@pytest.mark.parametrize(("counted", "missing"), [("prompt_tokens", "output"), ("completion_tokens", "input")])
def test_unknown_side_is_null_and_so_is_the_cost(
    counted: str, missing: str, llmctl: Llmctl, env: dict[str, str]
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    with FakeServer() as server:
        where = ("--provider", "openai", "--base-url", server.url, "--model", "gpt-4o", "--key-env", "MY_KEY")
        keyed = llmctl.with_env(MY_KEY=SECRET)
        keyed("connection", "add", "own", *where, check=True)
        server.answer(json_reply(200, {"model": "gpt-4o", "choices": [choice], "usage": {counted: 7}}))
        done = keyed("chat", "-m", "own", "--no-stream", "--json", "hi", check=True)
    known = {"input": "output", "output": "input"}[missing]
    assert done.json["usage"][f"{missing}_tokens"] is None
    assert done.json["usage"][f"{known}_tokens"] == 7
    assert (done.json["usage"]["total_tokens"], done.json["cost"]) == (None, None)
    sql = f"SELECT {missing}_tokens, {known}_tokens, cost FROM requests"
    assert query(env, sql) == [(None, 7, None)]
    keyed("model", "reprice", "--all", check=True)
    assert query(env, sql) == [(None, 7, None)]
    assert keyed("stats", "--json", check=True).json["unpriced_requests"] == 1
