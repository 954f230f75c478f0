"""Batches: submitted once, taken in once, at batch prices; in OpenAI's lines for any provider."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from llmctl.engine.batches import run as batch_run
from llmctl.wire.batches import openai as openai_batches
from llmctl.wire.batches import xai as xai_batches
from tests.fakes.batch_servers import AnthropicBatches, OpenAIBatches, answer_line
from tests.fakes.openai_server import CUT, FakeServer, Reply, Request, json_reply, refusal
from tests.harness import Llmctl, Result, RunInProcess, parse_json, query, query_dicts, require_failure, wait_until

KEY = "sk-test-0123456789abcdef"
MODEL = "gpt-4o-mini"


@pytest.fixture
def api(server: FakeServer, llmctl_in_process: RunInProcess, monkeypatch: pytest.MonkeyPatch) -> OpenAIBatches:
    """A connection ``work`` to a host with OpenAI's batches; nothing waits for calls that may be on their way."""
    monkeypatch.setattr(batch_run, "_SUBMISSION_GRACE_S", 0.0)
    connect(llmctl_in_process, "openai", "openai-chat", server.url, MODEL)
    return OpenAIBatches(server)


def connect(run: RunInProcess, provider: str, wire: str, url: str, model: str) -> None:
    flags = ("--provider", provider, "--wire", wire, "--base-url", url, "--model", model, "--default")
    assert run("connection", "add", "work", *flags, "--key-stdin", input=KEY).returncode == 0


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_lines(tmp_path, "one", "two words", "three little words")


def write_lines(folder: Path, *prompts: str, model: str = MODEL) -> Path:
    path = folder / "lines.jsonl"
    bodies = [{"model": model, "messages": [{"role": "user", "content": prompt}]} for prompt in prompts]
    rows = [
        {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for number, body in enumerate(bodies, 1)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def batch(run: RunInProcess, lines: Path, *flags: str) -> Result:
    return run("batch", "run", str(lines), "-o", str(lines.with_name("out.jsonl")), "--connection", "work", *flags)


def output(lines: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.with_name("out.jsonl").read_text().splitlines()]


def answers(lines: Path) -> list[tuple[str, str | None]]:
    """Return custom id and answer of each line of the output."""
    return [
        (one["custom_id"], one["response"]["body"]["choices"][0]["message"]["content"] if one["response"] else None)
        for one in output(lines)
    ]


ALL = [("row-1", "echo: one"), ("row-2", "echo: two words"), ("row-3", "echo: three little words")]


def test_same_command_submits_once_and_then_takes_the_results_in(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    api.endings = ["running"]
    for _ in range(2):
        done = batch(llmctl_in_process, lines)
        (job,) = query(env, "SELECT id FROM jobs")[0]
        assert (done.returncode, done.stdout) == (8, "")
        assert done.stderr.splitlines()[-1] == f"hint: llmctl batch wait {job[:8]}"
        assert not lines.with_name("out.jsonl").exists()
    assert len(api.batches) == 1
    api.end()
    assert batch(llmctl_in_process, lines).returncode == 0
    assert answers(lines) == ALL
    assert output(lines)[0]["error"] is None
    assert query(env, "SELECT status, count(*) FROM map_items GROUP BY status") == [("completed", 3)]
    assert query(env, "SELECT status FROM jobs") == [("completed",)]
    assert query(env, "SELECT status, fetched_at IS NOT NULL FROM provider_batches") == [("completed", 1)]


def test_ledger_has_each_answer_at_the_batch_price(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    assert batch(llmctl_in_process, lines, "--tag", "nightly").returncode == 0
    rows = query_dicts(env, "SELECT * FROM requests ORDER BY output_tokens")
    assert [(row["status"], row["processing"], row["tag"], row["duration"]) for row in rows] == [
        ("completed", "batch", "nightly", None)
    ] * 3
    price = parse_json(llmctl_in_process("model", "price", f"openai:{MODEL}", "--json"))[0]
    full = [(7 * price["input_per_million"] + n * price["output_per_million"]) / 1e6 for n in (1, 2, 3)]
    assert [row["cost"] for row in rows] == [pytest.approx(cost / 2) for cost in full]
    assert parse_json(llmctl_in_process("stats", "--json"))["cost"] == pytest.approx(sum(full) / 2)
    assert query(env, "SELECT count(*) FROM chats") == [(0,)]
    assert query(env, "SELECT content FROM messages WHERE role = 'assistant' ORDER BY content")[0] == ("echo: one",)
    answered = {one["response"]["request_id"] for one in output(lines)}
    assert answered == {row["id"] for row in rows}


def test_results_are_taken_in_once_however_often_they_come(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    api.repeats_results = True
    assert batch(llmctl_in_process, lines).returncode == 0
    job = query(env, "SELECT id FROM jobs")[0][0]
    for verb in ("fetch", "wait", "fetch"):
        assert llmctl_in_process("batch", verb, job[:8]).returncode == 0
    assert query(env, "SELECT count(*) FROM requests") == [(3,)]
    assert answers(lines) == ALL


@pytest.mark.slow
def test_expired_batch_keeps_what_it_answered_and_the_rest_can_be_sent(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    api.endings = ["expired"]
    api.answer = lambda line: None if "two" in str(line["body"]) else answer_line(line)
    done = batch(llmctl_in_process, lines)
    job = query(env, "SELECT id FROM jobs")[0][0][:8]
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (
        14,
        ["llmctl: 1 row of 3 not answered", f"hint: send them again: llmctl batch wait {job} --resubmit"],
    )
    assert batch(llmctl_in_process, lines).returncode == 14, "nothing is sent again unasked"
    assert len(api.batches) == 1
    api.answer = answer_line
    assert llmctl_in_process("batch", "wait", job, "--resubmit").returncode == 0
    assert api.submitted == [["one", "two words", "three little words"], ["two words"]]
    assert answers(lines) == ALL
    assert query(env, "SELECT count(*) FROM requests") == [(3,)]


def test_failed_rows_are_named_and_the_others_kept(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    bad = {"response": {"status_code": 400, "body": {"error": {"message": "too long", "code": "x"}}}, "error": None}
    api.answer = lambda line: bad if "two" in str(line["body"]) else answer_line(line)
    done = batch(llmctl_in_process, lines)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (14, "llmctl: 1 row of 3 failed")
    assert answers(lines)[1] == ("row-2", None)
    assert output(lines)[1]["error"] == {"code": "rejected", "message": "too long"}
    assert query(env, "SELECT status, count(*) FROM requests GROUP BY status") == [("completed", 2), ("failed", 1)]


def test_batch_that_failed_as_a_whole_fails_its_rows(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path
) -> None:
    api.endings = ["failed"]
    done = batch(llmctl_in_process, lines)
    assert (done.returncode, done.stderr.endswith("llmctl: 3 rows of 3 failed\n")) == (14, True)
    assert {one["error"]["message"] for one in output(lines)} == {"the batch failed: bad model (line 1)"}


def test_refused_batch_has_the_code_of_its_error(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    api.refusals = [refusal(401, "bad key"), refusal(400, "bad lines")]
    assert batch(llmctl_in_process, lines).returncode == 4
    assert batch(llmctl_in_process, lines).returncode == 5
    assert query(env, "SELECT DISTINCT status, attempts FROM map_items") == [("pending", 0)]
    assert batch(llmctl_in_process, lines).returncode == 0
    assert len(api.batches) == 1


def test_batches_are_split_by_the_limits_of_the_provider(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = write_lines(tmp_path, *(f"number {number}" for number in range(5)))
    small = openai_batches.PROTOCOL.replace(max_requests=2)
    monkeypatch.setattr(openai_batches, "PROTOCOL", small)
    assert batch(llmctl_in_process, lines).returncode == 0
    assert list(map(len, api.submitted)) == [2, 2, 1]
    assert answers(lines) == [(f"row-{n + 1}", f"echo: number {n}") for n in range(5)]
    monkeypatch.setattr(openai_batches, "PROTOCOL", small.replace(max_requests=100, max_bytes=900))
    assert batch(llmctl_in_process, lines, "--restart").returncode == 0
    assert list(map(len, api.submitted[3:])) == [2, 2, 1]


@pytest.mark.slow
def test_full_queue_is_waited_for(llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path) -> None:
    api.endings = ["token_limit_exceeded", "completed"]
    assert batch(llmctl_in_process, lines, "--wait").returncode == 0
    assert len(api.batches) == 2
    assert answers(lines) == ALL


def test_cancelled_batch_keeps_what_it_answered(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    api.endings = ["running"]
    batch(llmctl_in_process, lines)
    id = query(env, "SELECT id FROM provider_batches")[0][0]
    done = llmctl_in_process("batch", "cancel", id[:8])
    assert (done.returncode, query(env, "SELECT status FROM provider_batches")) == (8, [("cancelling",)])
    api.answer = lambda line: answer_line(line) if "one" in str(line["body"]) else None
    api.end("cancelled")
    done = llmctl_in_process("batch", "fetch", id[:8])
    assert (done.returncode, "2 rows of 3 not answered" in done.stderr) == (14, True)
    assert query(env, "SELECT status FROM provider_batches") == [("cancelled",)]
    assert query(env, "SELECT count(*) FROM requests") == [(1,)]


# ---------------------------------------------------------------- crashes


@pytest.mark.parametrize("ending", ["running", "completed"])
def test_lost_reply_to_a_submission_is_looked_up(
    ending: str, llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    api.creation, api.endings = (CUT,), [ending]
    assert batch(llmctl_in_process, lines, "--retries", "0").returncode == (8 if ending == "running" else 0)
    if ending == "running":
        api.end()
        assert batch(llmctl_in_process, lines).returncode == 0
    assert (len(api.batches), answers(lines)) == (1, ALL)


def test_submission_that_never_arrived_is_sent_again(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    api.refusals = [refusal(500, "down")]
    done = batch(llmctl_in_process, lines, "--retries", "0")
    assert (done.returncode, len(api.batches)) == (6, 0)
    assert query(env, "SELECT status FROM provider_batches") == [("failed",)]
    assert batch(llmctl_in_process, lines).returncode == 0
    assert len(api.batches) == 1


def test_grace_counts_from_the_call_that_failed(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """However long the upload took, the batch is looked for once more."""
    monkeypatch.setattr(batch_run, "_SUBMISSION_GRACE_S", 0.01)
    api.refusals = [refusal(500, "down")]
    assert batch(llmctl_in_process, lines, "--retries", "0").returncode == 6
    assert [request.path.partition("?")[0] for request in server.requests if request.method == "GET"] == [
        "/v1/batches",
        "/v1/batches",
    ]


def added(server: FakeServer, refused: int) -> list[str]:
    """Be xAI's batches: one call adds one request, and the last ``refused`` calls are refused."""
    batch: dict[str, Any] = {"batch_id": "b1", "state": {}}
    ids: list[str] = []

    def reply(request: Request) -> Reply:
        path = request.path.partition("?")[0].removeprefix("/v1")
        if request.method == "POST" and path == "/batches":
            batch["name"] = request.json["name"]
        elif request.method == "POST":
            if len(ids) + refused >= 3:
                return refusal(400, "no credits")
            ids.extend(one["batch_request_id"] for one in request.json["batch_requests"])
            batch["state"] = {"num_requests": len(ids), "num_pending": len(ids)}
        return json_reply(200, {"batches": [batch]} if path == "/batches" and request.method == "GET" else batch)

    server.answer(*[reply] * 100)
    return ids


@pytest.mark.parametrize(("refused", "code", "status"), [(1, 8, "running"), (3, 7, "failed")])
def test_refusal_after_requests_were_added_does_not_send_them_again(
    llmctl_in_process: RunInProcess, server: FakeServer, lines: Path, env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch, refused: int, code: int, status: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(batch_run, "_SUBMISSION_GRACE_S", 0.0)
    monkeypatch.setattr(xai_batches, "_MAX_CALL_BYTES", 1)
    connect(llmctl_in_process, "xai", "openai-chat", server.url, MODEL)
    ids = added(server, refused)
    for _ in range(2):
        done = batch(llmctl_in_process, lines, "--retries", "0")
        assert done.returncode == code, done.stderr
    assert len(ids) == 3 - refused
    assert {row[0] for row in query(env, "SELECT status FROM provider_batches")} == {status}


def test_killed_submission_is_looked_up(llmctl: Llmctl, server: FakeServer, lines: Path, env: dict[str, str]) -> None:
    """Killed after the provider has taken the batch in, before it could say so."""
    connect(llmctl, "openai", "openai-chat", server.url, MODEL)
    api = OpenAIBatches(server)
    api.creation = ("stall",)
    words = ("batch", "run", str(lines), "-o", str(lines.with_name("out.jsonl")), "--connection", "work")
    with llmctl.start(*words) as running:
        wait_until(lambda: bool(api.batches))
        running.kill()
    assert query(env, "SELECT status FROM provider_batches") == [("submitting",)]
    assert llmctl(*words).returncode == 0
    assert (len(api.batches), answers(lines)) == (1, ALL)


@pytest.mark.slow
def test_interrupted_wait_leaves_the_batch_running(
    llmctl: Llmctl, server: FakeServer, lines: Path, env: dict[str, str]
) -> None:
    connect(llmctl, "openai", "openai-chat", server.url, MODEL)
    api = OpenAIBatches(server)
    api.endings = ["running"]
    words = ("batch", "run", str(lines), "-o", str(lines.with_name("out.jsonl")), "--connection", "work")
    with llmctl.start(*words, "--wait") as running:
        wait_until(lambda: len(server.requests) > 4)
        assert running.kill(signal.SIGINT).returncode == -signal.SIGINT
    assert query(env, "SELECT status FROM jobs") == [("pending",)]
    api.end()
    assert llmctl(*words).returncode == 0
    assert (len(api.batches), answers(lines)) == (1, ALL)


def test_provider_without_a_marker_is_a_question(
    llmctl_in_process: RunInProcess, server: FakeServer, tmp_path: Path, env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(batch_run, "_SUBMISSION_GRACE_S", 0.0)
    run = llmctl_in_process
    connect(run, "anthropic", "anthropic", server.url, "claude-haiku-4-5")
    api = AnthropicBatches(server)
    api.loses_reply = True
    lines = write_lines(tmp_path, "one", "two words", model="claude-haiku-4-5")
    done = batch(run, lines, "--retries", "0")
    id = query(env, "SELECT id FROM provider_batches")[0][0][:8]
    assert done.returncode == 8
    assert f"batch {id} may have been submitted before the crash: msgbatch_1 has as many requests" in done.stderr
    assert f"llmctl batch wait {id} --adopt msgbatch_1" in done.stderr
    assert batch(run, lines).returncode == 8
    assert len(api.batches) == 1
    api.end()
    assert batch(run, lines).returncode == 0, "its results tell"
    assert answers(lines) == [("row-1", "echo: one"), ("row-2", "echo: two words")]
    rows = query_dicts(env, "SELECT * FROM requests")
    assert len(api.batches) == 1
    assert {(row["status"], row["processing"], row["cost"] is None) for row in rows} == {("completed", "batch", False)}


def test_question_is_answered_by_hand(
    llmctl_in_process: RunInProcess, server: FakeServer, tmp_path: Path, env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(batch_run, "_SUBMISSION_GRACE_S", 0.0)
    run = llmctl_in_process
    connect(run, "anthropic", "anthropic", server.url, "claude-haiku-4-5")
    api = AnthropicBatches(server)
    for answer, submitted in (("--adopt=msgbatch_1", 1), ("--resubmit", 3)):
        api.loses_reply = True
        lines = write_lines(tmp_path, "one", model="claude-haiku-4-5")
        assert batch(run, lines, "--retries", "0", "--restart").returncode == 8
        id = query(env, "SELECT id FROM provider_batches ORDER BY rowid DESC")[0][0][:8]
        done = run("batch", "wait", id, answer, "--timeout", "0.01")
        assert (done.returncode, len(api.batches)) == (8, submitted)
        assert done.stderr.splitlines()[-1].startswith("hint: llmctl batch wait")
        api.end()
        assert run("batch", "fetch", id).returncode == 0
    assert require_failure(run("batch", "wait", id, "--adopt", "x"), 2).startswith("llmctl: --adopt needs")


# ---------------------------------------------------------------- lines


#: The examples of OpenAI's and vLLM's documentation.
EXAMPLES = """\
{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "echo", \
"messages": [{"role": "system", "content": "You are a helpful assistant."}, \
{"role": "user", "content": "Hello world!"}], "max_tokens": 1000}}
{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "echo", \
"messages": [{"role": "system", "content": "You are an unhelpful assistant."}, \
{"role": "user", "content": "Hello again!"}], "max_completion_tokens": 1000}}

"""


def test_documented_lines_are_answered_at_once_without_a_batch_api(
    llmctl_in_process: RunInProcess, tmp_path: Path, env: dict[str, str]
) -> None:
    path = tmp_path / "openai_example_batch.jsonl"
    path.write_text(EXAMPLES)
    done = llmctl_in_process("batch", "run", str(path), "-o", str(tmp_path / "results.jsonl"))
    assert (done.returncode, done.stdout) == (0, "")
    found = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [(one["custom_id"], one["error"], one["response"]["status_code"]) for one in found] == [
        ("request-1", None, 200),
        ("request-2", None, 200),
    ]
    body = found[0]["response"]["body"]
    assert (body["object"], body["choices"][0]["message"]) == (
        "chat.completion",
        {"role": "assistant", "content": "Hello world!"},
    )
    assert body["usage"]["completion_tokens"] == 2
    assert query(env, "SELECT status, processing FROM requests") == [("completed", None)] * 2
    assert llmctl_in_process("batch", "run", "-", "-m", "echo", input=EXAMPLES).stdout.count("\n") == 2


def test_body_goes_to_the_same_wire_as_it_is(llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path) -> None:
    row = json.loads(lines.read_text().splitlines()[0])
    row["body"] |= {"future_field": {"a": 1}, "stream": True, "temperature": 0}
    lines.write_text(json.dumps(row))
    assert batch(llmctl_in_process, lines).returncode == 0
    sent = json.loads(next(iter(api.files.values())))
    assert sent["body"] == {name: value for name, value in row["body"].items() if name != "stream"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", 'line 1 is not valid JSON'),
        ("[1]", "line 1 is no batch line"),
        ('{"custom_id": "a"}', "line 1 is no batch line"),
        ('{"body": {"model": "echo", "messages": []}}', 'line 1: "custom_id" must be a text'),
        ('{"custom_id": "a", "method": "GET", "body": {"model": "echo"}}', 'line 1: "method" must be POST, got "GET"'),
        ('{"custom_id": "a", "body": {"model": "echo"}}\n' * 2, 'rows 1 and 2 have the same custom_id "a"'),
        ('{"custom_id": "a", "body": {"model": "x"}}\n{"custom_id": "b", "body": {"model": "y"}}', "models: x, y"),
        ('{"custom_id": "a", "body": {}}', 'the lines name no "model"'),
        ("\n", 'the lines name no "model"'),
    ],
)  # fmt: skip
def test_malformed_lines_are_refused_before_anything_is_sent(
    text: str, message: str, llmctl_in_process: RunInProcess, tmp_path: Path, env: dict[str, str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    error = require_failure(llmctl_in_process("batch", "run", str(path)), 2)
    assert message in error
    assert query(env, "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM map_items)") == [(0,)]


def test_line_that_is_no_chat_fails_alone(llmctl_in_process: RunInProcess, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    other = {"custom_id": "e", "url": "/v1/embeddings", "body": {"model": "echo", "input": "x"}}
    path.write_text(EXAMPLES + json.dumps(other))
    done = llmctl_in_process("batch", "run", str(path))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, [one["error"] is None for one in found]) == (14, [True, True, False])
    assert '"url" must be /v1/chat/completions' in found[2]["error"]["message"]


def test_changed_input_does_not_go_on(llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path) -> None:
    api.endings = ["running", "completed"]
    batch(llmctl_in_process, lines)
    lines.write_text(lines.read_text().replace("one", "other"))
    error = require_failure(batch(llmctl_in_process, lines), 2)
    assert "the input changed" in error
    assert "hint: begin again with --restart" in error
    assert batch(llmctl_in_process, lines, "--restart").returncode == 0


def test_cost_limit_holds_before_anything_is_submitted(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, server: FakeServer, env: dict[str, str]
) -> None:
    assert batch(llmctl_in_process, lines, "--max-cost", "0.000001").returncode == 7
    assert server.requests == []
    assert llmctl_in_process("settings", "set", "budget.day", "0.03").returncode == 0
    api.endings = ["running"]
    assert batch(llmctl_in_process, lines).returncode == 8
    reserved = json.loads(query(env, "SELECT counts FROM provider_batches WHERE status = 'running'")[0][0])
    assert 0 < reserved["reserved_cost"] < 0.03
    other = write_lines(lines.parent, "one", "two", "three", "four")
    assert batch(llmctl_in_process, other, "--restart").returncode == 7, "what runs is set aside"


def test_batches_are_listed_and_shown(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, lines: Path, env: dict[str, str]
) -> None:
    batch(llmctl_in_process, lines)
    (row,) = parse_json(llmctl_in_process("batch", "list", "--json"))
    assert (row["status"], row["connection"], row["model"], row["total"], row["completed"]) == (
        *("completed", "work", MODEL),
        *(3, 3),
    )
    shown = parse_json(llmctl_in_process("batch", "show", row["id"][:8], "--json"))
    assert shown["remote_id"] == "batch_1"
    assert llmctl_in_process("batch", "wait", "abcd1234").returncode == 3


# ---------------------------------------------------------------- map --via batch


def map_rows(run: RunInProcess, folder: Path, *flags: str) -> Result:
    table = folder / "table.csv"
    table.write_text("name,text\na,one\nb,two words\nc,three little words\n")
    words = ("map", str(table), "{{ text }}", "--id", "name", "--connection", "work", "--via", "batch")
    return run(*words, "--output", str(folder / "out.jsonl"), *flags)


def map_output(folder: Path) -> list[tuple[str, str, str | None]]:
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return [(row["id"], row["status"], row["output"]) for row in rows]


MAPPED = [
    ("a", "completed", "echo: one"),
    ("b", "completed", "echo: two words"),
    ("c", "completed", "echo: three little words"),
]


def test_map_goes_through_a_batch(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, tmp_path: Path, env: dict[str, str]
) -> None:
    api.endings = ["running"]
    done = map_rows(llmctl_in_process, tmp_path, "--tag", "night")
    job = query(env, "SELECT id FROM jobs")[0][0][:8]
    assert (done.returncode, done.stderr.splitlines()[-1]) == (8, f"hint: llmctl batch wait {job}")
    assert map_rows(llmctl_in_process, tmp_path, "--resume").returncode == 8
    assert len(api.batches) == 1
    api.end()
    assert llmctl_in_process("batch", "wait", job).returncode == 0
    assert map_output(tmp_path) == MAPPED
    rows = query_dicts(env, "SELECT * FROM requests")
    assert {(row["status"], row["processing"], row["duration"], row["cost"] is None) for row in rows} == {
        ("completed", "batch", None, False)
    }
    assert (len(rows), query(env, "SELECT status FROM jobs")) == (3, [("completed",)])


@pytest.mark.slow
def test_map_sends_again_what_an_expired_batch_left(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, tmp_path: Path, env: dict[str, str]
) -> None:
    api.endings = ["expired"]
    api.answer = lambda line: None if "two" in str(line["body"]) else answer_line(line)
    assert map_rows(llmctl_in_process, tmp_path).returncode == 14
    assert not (tmp_path / "out.jsonl").exists()
    api.answer = answer_line
    assert map_rows(llmctl_in_process, tmp_path, "--resume", "--wait").returncode == 0
    assert (api.submitted[1:], map_output(tmp_path)) == ([["two words"]], MAPPED)


def test_map_checks_answers_of_a_batch_against_the_schema(
    llmctl_in_process: RunInProcess, api: OpenAIBatches, tmp_path: Path
) -> None:
    done = map_rows(llmctl_in_process, tmp_path, "--schema", "age int")
    assert done.returncode == 14
    assert {row[1] for row in map_output(tmp_path)} == {"failed"}
    error = require_failure(map_rows(llmctl_in_process, tmp_path, "--schema", "age int", "--fix", "1"), 2)
    assert error.startswith("llmctl: --fix and --via batch cannot be combined\n")


def test_map_needs_a_batch_api(llmctl_in_process: RunInProcess, tmp_path: Path, env: dict[str, str]) -> None:
    table = tmp_path / "names.txt"
    table.write_text("a\nb\n")
    error = require_failure(llmctl_in_process("map", str(table), "hi:", "-m", "echo", "--via", "batch"), 2)
    assert error.startswith('llmctl: "echo" has no batch API\n')
    assert query(env, "SELECT count(*) FROM jobs") == [(0,)]


# ---------------------------------------------------------------- killed at random


@pytest.mark.slow
def test_killed_at_any_moment_never_submits_twice(
    llmctl: Llmctl, server: FakeServer, tmp_path: Path, env: dict[str, str]
) -> None:
    """Killed after each request that the provider has received, and again while it finds out what became of it."""
    connect(llmctl, "openai", "openai-chat", server.url, MODEL)
    api = OpenAIBatches(server)
    for count in range(1, 6):
        folder = tmp_path / str(count)
        folder.mkdir()
        lines = write_lines(folder, *(f"{word} {count}" for word in ("one", "two", "three")))
        words = ("batch", "run", str(lines), "-o", str(folder / "out.jsonl"), "--connection", "work")
        for further in (count, 1):
            done = len(server.requests)
            with llmctl.start(*words) as running:
                wait_until(lambda: len(server.requests) >= done + further or running.process.poll() is not None)  # noqa: B023
                running.kill()
            if (folder / "out.jsonl").exists():
                break
        else:
            assert llmctl(*words).returncode == 0
        assert [answer for _, answer in answers(lines)] == [f"echo: {word} {count}" for word in ("one", "two", "three")]
    assert len(api.batches) == 5, "one for each file"
    assert query(env, "SELECT status, count(*) FROM requests GROUP BY status") == [("completed", 15)]
