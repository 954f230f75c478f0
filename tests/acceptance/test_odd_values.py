"""One odd value of a server never costs an answer, a chat or the recovery of others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.stored_values import decode_arguments, dumps
from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import HOLD, FakeServer, Reply, delta, ending, event, stream
from tests.harness import Llmctl

EVENTS = {"content-type": "text/event-stream"}
DEEP = "[" * 600 + "]" * 600
#: Values that JSON, UTF-8, SQLite or its functions do not take, as a server writes them.
ODD = {
    "infinity": "1e999",
    "NaN": "NaN",
    "-Infinity": "-Infinity",
    "400 digits": "9" * 400,
    "20 digits": "9" * 20,
    "half a character": '"\\ud800"',
    "deeply nested": DEEP,
    "nothing": "null",
}


def choice(fields: str) -> bytes:
    return event(f'{{"id":"x","model":"fake-1","choices":[{{"index":0,"delta":{{{fields}}}}}]}}')


def with_usage(usage: str) -> bytes:
    return event(f'{{"id":"x","model":"fake-1","choices":[],"usage":{usage}}}')


#: Where a server may put a value: events of OpenAI's wire with ``@`` in its place.
PLACES = {
    "annotations": choice('"content":"one ","annotations":[{"x":@}]'),
    "model": event('{"id":"x","model":@,"choices":[]}'),
    "id": event('{"id":@,"model":"fake-1","choices":[]}'),
    "reasoning details": choice('"reasoning_details":[{"type":"reasoning.text","text":"hm","signature":@}]'),
    "text": choice('"content":@'),
    "usage": with_usage('{"prompt_tokens":@,"completion_tokens":2,"cost":@}'),
    "cached tokens": with_usage('{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":@}}'),
    "finish reason": event('{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":@}]}'),
}


def assert_storable(hub: HubFile) -> None:
    """Assert that all text is UTF-8, all JSON valid and finite, and nothing unfinished."""
    for table in ("messages", "requests", "response_streams", "network_calls", "tool_invocations", "jobs"):
        for row in hub.rows(f"SELECT * FROM {table}"):
            assert row["status"] not in ("pending", "running"), (table, row)
            for name, value in row.items():
                if isinstance(value, str):
                    value.encode()
                    if value[:1] in ("[", "{") and name not in ("arguments", "raw_output", "content"):
                        finite(value)
    hub.assert_sound()


def finite(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("place", list(PLACES))
def test_odd_values_in_a_stream_cost_neither_answer_nor_chat(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, place: str
) -> None:
    odd = [PLACES[place].replace(b"@", value.encode()) for value in ODD.values()]
    server.answer(Reply(200, EVENTS, (delta("one two"), *odd, *ending("one two")), chunked=True))
    done = llmctl("chat", "--json", "hi")
    assert done.returncode in (0, 12), done
    assert finite(done.stdout)["content"].startswith("one two")
    assert_storable(hub)
    assert llmctl("chat", "-c", "on").returncode == 0
    assert_storable(hub)


def test_chat_killed_after_odd_values_is_recovered(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    odd = [PLACES["annotations"].replace(b"@", value.encode()) for value in ODD.values()]
    server.answer(Reply(200, EVENTS, (delta("zero"), *odd, delta(" two"), HOLD), chunked=True))
    running = llmctl.start("chat", "hi")
    running.wait_for_output("two")
    running.kill()
    done = llmctl("job", "recover")
    assert (done.returncode, done.stderr) == (0, "llmctl: recovered 1 job\n")
    assert_storable(hub)
    assert hub.messages[-1]["content"].startswith("zero")


@pytest.mark.parametrize("arguments", ['{"x":NaN}', '{"x":1e999}', '{"x":-Infinity}', '{"x":' + "[" * 2000])
def test_arguments_that_are_no_json_are_a_failed_call_and_the_turn_goes_on(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, arguments: str
) -> None:
    schema = '{"type":"object","properties":{"x":{"type":"number"}}}'
    llmctl("tool", "add", "t", "--type", "command", "--command", "echo ran", "--schema", schema, check=True)
    call = {"index": 0, "id": "c1", "function": {"name": "t", "arguments": arguments}}
    first = event({"id": "x", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    end = event({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    server.answer(Reply(200, EVENTS, (first, end, event("[DONE]")), chunked=True), stream("sorry"))
    done = llmctl("chat", "-T", "t:auto", "hi")
    assert (done.returncode, done.stdout) == (0, "sorry\n"), done
    row = hub.one("SELECT status, error, parameters FROM tool_invocations")
    assert (row["status"], row["parameters"]) == ("failed", None)
    assert row["error"].startswith("invalid arguments")
    assert_storable(hub)


@pytest.mark.parametrize("text", ['{"n":%s}' % ("9" * 400), '{"s":"\\ud800"}', '{"\\udc00":1}'])
def test_odd_arguments_that_are_json_run_the_tool(llmctl: Llmctl, server: FakeServer, hub: HubFile, text: str) -> None:
    llmctl("tool", "add", "t", "--type", "command", "--command", "cat", "--schema", "{}", check=True)
    call = {"index": 0, "id": "c1", "function": {"name": "t", "arguments": text}}
    first = event({"id": "x", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    end = event({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    server.answer(Reply(200, EVENTS, (first, end, event("[DONE]")), chunked=True), stream("fine"))
    done = llmctl("chat", "--json", "-T", "t:auto", "hi")
    assert done.returncode == 0, done
    assert finite(done.stdout)["content"] == "fine"
    assert hub.value("SELECT status FROM tool_invocations") == "completed"
    assert_storable(hub)


def test_stored_json_has_finite_numbers_only() -> None:
    assert dumps({"a": float("nan"), "b": [float("inf"), 1.5]}) == '{"a":null,"b":[null,1.5]}'
    assert dumps((float("inf"), 10**400, 7)) == "[null,null,7]"
    assert decode_arguments('{"a":NaN}') == '{"a":NaN}'
    assert decode_arguments('"{\\"a\\":1e999}"') == '{"a":1e999}'
    assert decode_arguments('{"a":"\\ud800"}') == {"a": "\ufffd"}
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert json.loads(dumps(deep))
