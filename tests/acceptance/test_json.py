"""``--json`` and ``--jsonl`` as documented: when a turn succeeds, fails, is cut off or is interrupted."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import CUT, FakeServer, Reply, Request, event, page, refusal, stream
from tests.harness import Llmctl, Result, wait_until

#: Field -> the types its value may have; in the order of the contract.
OUTCOME: dict[str, tuple[type, ...]] = {
    "chat_id": (str,),
    "thread_id": (str,),
    "message_id": (str, type(None)),
    "request_id": (str,),
    "session_id": (type(None),),
    "status": (str,),
    "content": (str, type(None)),
    "thinking": (str, type(None)),
    "data": (type(None),),
    "tool_calls": (list,),
    "provider": (str,),
    "model": (str,),
    "connection": (str,),
    "finish_reason": (str, type(None)),
    "usage": (dict,),
    "cost": (float, type(None)),
    "duration_ms": (int,),
    "time_to_first_token_ms": (int, type(None)),
    "steps": (int,),
}
USAGE = ["input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens"]
ERROR = ["code", "reason", "message", "hint", "retryable", "chat_id", "request_id"]


def assert_outcome(found: dict[str, Any]) -> None:
    for name, types in OUTCOME.items():
        assert type(found[name]) in types, (name, found[name])
    assert list(found) == list(OUTCOME)
    assert list(found["usage"]) == USAGE
    counts = set(map(type, found["usage"].values()))
    assert counts in ({int}, {type(None)}), found["usage"]  # null where the provider reported no usage


def assert_error(done: Result, code: str, **fields: Any) -> dict[str, Any]:
    """The error is one line on stderr, and the only output."""
    assert done.stderr.count("\n") == 1, done.stderr
    found: dict[str, Any] = done.error
    assert list(found) == ERROR
    assert found["code"] == code
    assert {name: found[name] for name in fields} == fields
    assert found["message"][0] == found["message"][0].lower()
    assert not found["message"].endswith(".")
    return found


def test_json_of_a_turn_that_goes_well(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream("one two three"))
    done = llmctl("chat", "--json", "hi")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    found = done.json
    assert_outcome(found)
    assert (found["status"], found["content"], found["finish_reason"]) == ("completed", "one two three", "stop")
    assert (found["provider"], found["model"], found["connection"]) == ("openai", "fake-1", "fake")
    assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"], found["usage"]["total_tokens"]) == (
        7,
        3,
        10,
    )
    assert hub.one("SELECT id, thread_id, chat_id FROM messages WHERE role = 'assistant'") == {
        "id": found["message_id"],
        "thread_id": found["thread_id"],
        "chat_id": found["chat_id"],
    }
    assert hub.value("SELECT id FROM requests") == found["request_id"]


def test_jsonl_of_a_turn_that_goes_well(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("one two three"))
    done = llmctl("chat", "--jsonl", "hi")
    assert (done.returncode, done.stderr) == (0, "")
    first, *texts, last = done.lines
    assert {name: first[name] for name in ("type", "chat_id", "thread_id", "message_id", "request_id")} == {
        "type": "start",
        **{name: last[name] for name in ("chat_id", "thread_id", "message_id", "request_id")},
    }
    assert texts == [{"type": "text", "text": text} for text in ("one", " two", " three")]
    assert last.pop("type") == "done"
    assert_outcome(last)


def test_json_lines_come_while_the_answer_does(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("one two three", hold=2))
    running = llmctl.start("chat", "--jsonl", "hi")
    running.wait_for_output('{"type":"text","text":" two"}\n')
    server.release()
    assert running.wait().lines[-1]["type"] == "done"


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("--retries", "x", "hi"), 2, "usage"),
        (("--nope", "hi"), 2, "usage"),
        ((), 2, "usage"),
        (("--chat", "nope", "hi"), 3, "not-found"),
        (("-m", "mistral:m", "hi"), 4, "config"),
        (("--db", "/proc/nowhere/hub.db", "hi"), 13, "storage"),
    ],
)
def test_failure_before_there_are_ids_is_an_error_object_alone(
    llmctl: Llmctl, server: FakeServer, words: tuple[Any, ...], code: int, name: str
) -> None:
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda form: llmctl("chat", form, *words), ("--json", "--jsonl")):
            assert (done.returncode, done.stdout) == (code, "")
            assert_error(done, name, chat_id=None, request_id=None, retryable=False)
    assert server.requests == []


def test_locked_chat_is_an_error_object_that_is_worth_a_retry(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("one two", hold=1))
    running = llmctl.start("chat", "--name", "x", "hi")
    running.wait_for_output("one")
    for form in ("--json", "--jsonl"):
        done = llmctl("chat", form, "--name", "x", "hi")
        assert (done.returncode, done.stdout) == (9, "")
        assert_error(done, "locked", retryable=True, request_id=None)
    server.release()
    running.wait()


BROKEN = event({"error": {"message": "the engine died", "type": "server_error", "code": 500}})
FAILURES = [
    (refusal(401, "bad key"), 4, "config", "failed", None, False),
    (refusal(404, "model x does not exist", code="model_not_found"), 3, "not-found", "failed", None, False),
    (refusal(400, "too long", code="context_length_exceeded"), 5, "rejected", "failed", None, False),
    (refusal(402, "pay"), 7, "budget", "failed", None, False),
    (refusal(429, "slow down"), 6, "unavailable", "failed", None, True),
    (refusal(500, "oh"), 6, "unavailable", "failed", None, True),
    (page(), 6, "unavailable", "failed", None, True),
    (stream("one two", then=CUT), 12, "incomplete", "incomplete", "one two", False),
    (stream("one two", then=BROKEN), 6, "unavailable", "failed", "one two", True),
]


@pytest.mark.parametrize(("reply", "code", "name", "status", "content", "retryable"), FAILURES)
def test_failure_with_ids_is_an_object_and_an_error(
    llmctl: Llmctl,
    server: FakeServer,
    hub: HubFile,
    reply: Any,
    code: Any,
    name: Any,
    status: Any,
    content: Any,
    retryable: Any,
) -> None:
    server.answer(reply, reply)
    done = llmctl("chat", "--json", "--retries", "0", "hi")
    assert done.returncode == code
    found = done.json
    assert_outcome(found)
    assert (found["status"], found["content"] or None) == (status, content)
    assert (found["message_id"] is not None) == (content is not None)
    assert_error(done, name, chat_id=found["chat_id"], request_id=found["request_id"], retryable=retryable)

    lines = llmctl("chat", "--jsonl", "--retries", "0", "hi")
    assert lines.returncode == code
    assert [line["type"] for line in lines.lines] == ["start", *["text"] * (2 if content else 0), "error"]
    assert lines.lines[-1] == {"type": "error", "error": lines.error}
    assert_error(lines, name, request_id=lines.lines[0]["request_id"], retryable=retryable)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda signum: signum.name)
def test_interrupted_turn_tells_what_came(llmctl: Llmctl, server: FakeServer, hub: HubFile, signum: Any) -> None:
    server.answer(stream("one two three four", hold=3))
    running = llmctl.start("chat", "--jsonl", "hi")
    running.wait_for_output("three")
    done = running.kill(signum)
    assert (done.returncode, done.stderr) == (-signum, "")
    last = done.lines[-1]
    assert (last["type"], last["error"]["code"], last["error"]["reason"]) == ("error", "incomplete", "interrupted")
    assert last["error"]["request_id"] == done.lines[0]["request_id"]

    server.answer(stream("one two three four", hold=3))
    running = llmctl.start("chat", "--json", "hi")
    server.wait_for(2)
    wait_until(lambda: "three" in hub.raw())
    done = running.kill(signum)
    assert (done.returncode, done.stderr) == (-signum, "")
    assert_outcome(done.json)
    assert (done.json["status"], done.json["content"]) == ("interrupted", "one two three")


def test_killed_turn_leaves_whole_lines(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("one two three four", hold=3))
    running = llmctl.start("chat", "--jsonl", "hi")
    running.wait_for_output("three")
    assert [line["type"] for line in running.kill().lines] == ["start", "text", "text", "text"]


def test_retry_is_announced_on_its_own_line(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(page())
    done = llmctl("chat", "--jsonl", "hi")
    assert [line["type"] for line in done.lines] == ["start", "retry", "text", "text", "done"]


def test_json_of_a_reader_that_leaves_is_a_death_by_sigpipe(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(stream("word " * 4000))
    done = llmctl.shell('llmctl chat --jsonl hi | head -n 1; echo "${PIPESTATUS[0]}" >&2')
    assert (done.stdout.count("\n"), done.stderr) == (1, "141\n")


def test_ids_come_before_the_host_answers(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    let_go = Event()

    def answer_late(request: Request) -> Reply:
        let_go.wait(300)
        return stream("one two")

    server.answer(answer_late)
    running = llmctl.start("chat", "--jsonl", "hi")
    first = json.loads(running.wait_for_output("\n").splitlines()[0])
    assert first["type"] == "start"
    assert hub.value("SELECT status FROM messages WHERE id = ?", first["message_id"]) == "pending"
    let_go.set()
    assert running.wait().lines[-1]["type"] == "done"


def test_calls_come_before_they_run_and_retries_before_they_are_waited_for(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    llmctl("tool", "add", "wait", "--type", "command", "--command", "sleep 300", "--schema", "{}", check=True)
    call = {"index": 0, "id": "c1", "function": {"name": "wait", "arguments": "{}"}}
    first = event({"id": "x", "model": "fake-1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    end = event({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    events = {"content-type": "text/event-stream"}
    refused = refusal(503, "later", {"retry-after": "1"})
    server.answer(refused, Reply(200, events, (first, end, event("[DONE]")), chunked=True))
    with llmctl.start("chat", "--jsonl", "-T", "wait:auto", "hi") as running:
        running.wait_for_output('"retry"')
        running.wait_for_output('"tool_call"')
        assert '"tool_result"' not in running.output.decode()
