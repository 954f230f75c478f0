"""``llmctl embed``: what is a text, what comes out, and what the ledger says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.openai_endpoints import vectors
from tests.fakes.openai_server import STALL, FakeServer, Reply, refusal
from tests.harness import Llmctl, query_dicts

KEY = "sk-proj-abcdefghijklmnop1234567890"


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[FakeServer]:
    """A fake of OpenAI's embeddings, with a key in the environment."""
    with FakeServer() as server:
        env |= {"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": server.url}
        server.answer(*[vectors] * 20)
        yield server


# ---------------------------------------------------------------- what is a text


def test_each_argument_and_each_file_is_a_text(llmctl: Llmctl, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file\nof two lines\n")
    done = llmctl("embed", "one", "two words", "-a", "a.txt")
    assert done.returncode == 0, done.stderr
    assert server.requests[0].path == "/v1/embeddings"
    assert server.requests[0].json == {
        "model": "text-embedding-3-small",
        "input": ["one", "two words", "from a file\nof two lines"],
    }
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[0, 3], [1, 9], [2, 24]]


def test_what_is_piped_in_is_one_text_or_one_a_line(llmctl: Llmctl, server: FakeServer) -> None:
    llmctl("embed", input="one\ntwo\r\n\nthree\n", check=True)
    llmctl("embed", "--lines", input="one\ntwo\r\n\nthree\n", check=True)
    llmctl("embed", "zero", "-", input="piped", check=True)
    llmctl("embed", "zero", input="not asked for", check=True)
    sent = [request.json["input"] for request in server.requests]
    assert sent == [["one\ntwo\r\n\nthree"], ["one", "two", "three"], ["zero", "piped"], ["zero"]]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "no text"),
        (("",), 2, "empty"),
        (("-a", "missing.txt"), 3, "missing.txt"),
        (("x", "--batch", "0"), 2, "--batch"),
        (("x", "-m", ""), 2, "--model"),
        (("x", "-o", "dimensions"), 2, "K=V"),
        (("x", "--output", "no/such/folder"), 2, "folder does not exist"),
    ],
)
def test_what_cannot_be_embedded_is_refused_before_anything_is_sent(
    llmctl: Llmctl, server: FakeServer, arguments: tuple[Any, ...], code: int, says: str
) -> None:
    done = llmctl("embed", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert server.requests == []


# ---------------------------------------------------------------- what comes out


def test_json_holds_vectors_and_the_numbers_of_the_ledger(
    llmctl: Llmctl, server: FakeServer, env: dict[str, str]
) -> None:
    done = llmctl("embed", "--json", "--batch", "2", "a", "bb", "ccc", "-o", "dimensions=2")
    found = json.loads(done.stdout)
    assert found["embeddings"] == [
        {"index": 0, "text": "a", "embedding": [0, 1]},
        {"index": 1, "text": "bb", "embedding": [1, 2]},
        {"index": 2, "text": "ccc", "embedding": [0, 3]},
    ]
    assert (found["status"], found["provider"], found["model"]) == ("completed", "openai", "fake-embed-1")
    assert found["usage"] == {"input_tokens": 9, "output_tokens": 0, "total_tokens": 9, "cached_tokens": 0}
    assert found["dimensions"] == 2
    ledger = query_dicts(env, "SELECT * FROM requests ORDER BY created_at")
    assert found["request_ids"] == [row["id"] for row in ledger]
    assert [row["input_tokens"] for row in ledger] == [6, 3]
    assert found["cost"] == pytest.approx(sum(row["cost"] for row in ledger))
    assert [request.json["dimensions"] for request in server.requests] == [2, 2]


def test_jsonl_names_text_and_file(llmctl: Llmctl, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\ny\n")
    done = llmctl("embed", "--jsonl", "--lines", "-a", "a.txt")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"index": 0, "text": "x", "file": "a.txt", "embedding": [0, 1]},
        {"index": 1, "text": "y", "file": "a.txt", "embedding": [1, 1]},
    ]


def test_output_is_written_whole_or_not_at_all(llmctl: Llmctl, server: FakeServer, tmp_path: Path) -> None:
    assert llmctl("embed", "a", "b", "--output", "v.txt").stdout == ""
    assert (tmp_path / "v.txt").read_text() == "[0.0,1.0]\n[1.0,1.0]\n"
    server._answers.clear()
    server.answer(vectors, refusal(400))
    assert llmctl("embed", "c", "d", "--batch", "1", "--output", "v.txt").returncode == 5
    assert (tmp_path / "v.txt").read_text() == "[0.0,1.0]\n[1.0,1.0]\n"


def test_echo_embeds_offline_the_same_each_time(llmctl: Llmctl) -> None:
    first, second = (llmctl("embed", "-m", "echo", "hello").stdout for _ in range(2))
    assert first == second
    assert len(json.loads(first)) == 16
    assert llmctl("embed", "-m", "echo", "-o", "dimensions=3", "other").stdout.count(",") == 2


# ---------------------------------------------------------------- the ledger


def test_request_is_of_its_type_with_attempts_and_without_the_key(
    llmctl: Llmctl, server: FakeServer, env: dict[str, str]
) -> None:
    server._answers.clear()
    server.answer(refusal(429, "slow down", {"retry-after": "0"}), vectors)
    done = llmctl("embed", "secret " + KEY, "--tag", "t1", "-u")
    assert done.returncode == 0, done.stderr
    assert "retrying in" in done.stderr
    assert "3 in, 0 out" in done.stderr
    (request,) = query_dicts(env, "SELECT * FROM requests")
    assert (request["type"], request["status"], request["tag"]) == ("embedding", "completed", "t1")
    assert (request["provider"], request["model"]) == ("openai", "text-embedding-3-small")
    assert (request["response_model"], request["origin"]) == ("fake-embed-1", "llmctl")
    first, second = query_dicts(env, "SELECT * FROM network_calls ORDER BY attempt")
    assert (first["status"], first["status_code"], second["status"]) == ("error", 429, "success")
    assert second["provider_request_id"] == "req-7"
    assert "text-embedding-3-small" in first["body"]
    assert [row["status"] for row in query_dicts(env, "SELECT status FROM jobs")] == ["completed"]
    with open(env["LLMCTL_DB"], "rb") as file:
        assert KEY.encode() not in file.read()


@pytest.mark.parametrize(
    ("status", "more", "code"),
    [
        (401, {"code": "invalid_api_key"}, 4),
        (404, {"code": "model_not_found"}, 3),
        (400, {}, 5),
        (429, {"code": "insufficient_quota"}, 7),
        (500, {}, 6),
    ],
)
def test_failure_is_a_row_with_the_code_of_its_class(
    llmctl: Llmctl, server: FakeServer, env: dict[str, str], status: int, more: dict[str, Any], code: int
) -> None:
    server._answers.clear()
    server.answer(refusal(status, "no", **more))
    done = llmctl("embed", "x", "--json", "--retries", "0")
    assert done.returncode == code
    (request,) = query_dicts(env, "SELECT * FROM requests")
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["request_id"] == request["id"] == json.loads(done.stdout)["request_id"]
    assert (request["status"], request["status_code"], request["error_reason"]) == ("failed", status, error["reason"])
    assert [row["status"] for row in query_dicts(env, "SELECT status FROM jobs")] == ["failed"]


def test_no_log_keeps_the_ledger_row_alone(llmctl: Llmctl, server: FakeServer, env: dict[str, str]) -> None:
    llmctl("embed", "private words", "-n", check=True)
    (request,) = query_dicts(env, "SELECT * FROM requests")
    assert (request["type"], request["input_tokens"], request["parameters"]) == ("embedding", 3, None)
    assert query_dicts(env, "SELECT * FROM network_calls") == []


def test_cap_without_a_known_price_sends_nothing(llmctl: Llmctl, server: FakeServer) -> None:
    done = llmctl("embed", "x", "-m", "openai:no-such-model", "--max-cost", "1")
    assert done.returncode == 7
    assert "price" in done.stderr
    done = llmctl("embed", "x" * 1000, "--max-cost", "0.00000001")
    assert done.returncode == 7
    assert server.requests == []
    assert llmctl("embed", "x", "--max-cost", "1").returncode == 0


def test_a_killed_run_is_pending_and_then_recovered(server: FakeServer, env: dict[str, str], tmp_path: Path) -> None:
    server._answers.clear()
    server.answer(Reply(200, {"content-type": "application/json"}, (b"{", STALL), chunked=True))
    run = Llmctl(env, env["HOME"])
    running = run.start("embed", "x")
    server.wait_for(1)
    (request,) = query_dicts(env, "SELECT * FROM requests")
    assert (request["type"], request["status"]) == ("embedding", "pending")
    assert [row["status"] for row in query_dicts(env, "SELECT status FROM network_calls")] == ["pending"]
    running.kill()
    assert run("job", "recover").returncode == 0
    (request,) = query_dicts(env, "SELECT * FROM requests")
    assert request["status"] == "interrupted"
    assert [row["status"] for row in query_dicts(env, "SELECT status FROM network_calls")] == ["error"]
    assert [row["status"] for row in query_dicts(env, "SELECT status FROM jobs")] == ["failed"]


# ---------------------------------------------------------------- who embeds


def test_environment_names_provider_and_model(llmctl: Llmctl, server: FakeServer, env: dict[str, str]) -> None:
    env |= {"MISTRAL_API_KEY": "m" * 32, "MISTRAL_API_BASE": server.url}
    llmctl("embed", "x", env=env | {"NODELLM_EMBEDDING_PROVIDER": "mistral"}, check=True)
    llmctl("embed", "x", env=env | {"NODELLM_EMBEDDING_MODEL": "text-embedding-3-large"}, check=True)
    named = {"NODELLM_EMBEDDING_PROVIDER": "mistral", "NODELLM_EMBEDDING_MODEL": "codestral-embed"}
    llmctl("embed", "x", env=env | named, check=True)
    llmctl("embed", "x", "-m", "mistral:other", env=env | named, check=True)
    llmctl("embed", "x", env=env | named | {"LLMCTL_EMBEDDING_MODEL": "openai:mine"}, check=True)
    models = [request.json["model"] for request in server.requests]
    assert models == ["mistral-embed", "text-embedding-3-large", "codestral-embed", "other", "mine"]


def test_connection_of_the_type_answers_unnamed_with_its_options(llmctl: Llmctl, server: FakeServer) -> None:
    llmctl(
        "connection", "add", "openai", "--key-env", "OPENAI_API_KEY", "-m", "gpt-4o", "-o", "temperature=0", check=True
    )
    llmctl(
        *("connection", "add", "vec", "--provider", "openai", "--type", "embedding", "-m", "big"),
        *("-o", "dimensions=5"),
        check=True,
    )
    llmctl("connection", "add", "usual", "--provider", "openai", "--type", "embedding", check=True)
    llmctl("connection", "add", "own", "--base-url", server.url, "-m", "nomic", check=True)
    llmctl("embed", "x", check=True)
    llmctl("embed", "x", "-m", "openai", check=True)
    llmctl("embed", "x", "--connection", "openai", "-m", "small", check=True)
    llmctl("embed", "x", "-m", "usual", check=True)
    llmctl("embed", "x", "-m", "own", check=True)
    assert [{name: request.json[name] for name in request.json if name != "input"} for request in server.requests] == [
        {"model": "big", "dimensions": 5},
        {"model": "text-embedding-3-small"},
        {"model": "small"},
        {"model": "text-embedding-3-small"},
        {"model": "nomic"},
    ]


def test_host_without_embeddings_says_so(llmctl: Llmctl, env: dict[str, str]) -> None:
    env["ANTHROPIC_API_KEY"] = "sk-ant-api03-abcdefghijklmnop1234"
    for reference, says in (("anthropic", "no embeddings"), (None, "choose a model")):
        done = llmctl("embed", "x", *(("-m", reference) if reference else ()), env=env)
        assert done.returncode == 2
        assert says in done.stderr


def test_connection_for_vectors_is_not_talked_to(llmctl: Llmctl, server: FakeServer) -> None:
    llmctl("connection", "add", "vectors", "--provider", "openai", "--type", "embedding", "--base-url", server.url)
    for more in ((), ("--dry-run",)):
        done = llmctl("chat", "-m", "vectors", "hi", *more)
        assert (done.returncode, server.requests) == (2, [])
        assert "is for embedding, not for chats" in done.stderr
    assert llmctl("chat", "-m", "vectors:gpt-4o", "hi", "--dry-run").returncode == 0
