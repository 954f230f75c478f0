"""``llmctl image``: where pictures go, what they begin with, and what the ledger says."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.openai_endpoints import PNG, file, picture_at, pictures
from tests.fakes.openai_server import FakeServer, refusal
from tests.harness import LLMCTL, Llmctl

KEY = "sk-proj-abcdefghijklmnop1234567890"


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[FakeServer]:
    with FakeServer() as server:
        env |= {"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": server.url}
        yield server


def request_of(env: dict[str, str]) -> tuple[Any, ...]:
    connection = sqlite3.connect(env["LLMCTL_DB"])
    connection.row_factory = sqlite3.Row
    try:
        (row,) = connection.execute("SELECT * FROM requests").fetchall()
        (call,) = connection.execute("SELECT * FROM network_calls").fetchall()
        return dict(row), dict(call)
    finally:
        connection.close()


def test_picture_is_written_and_counted(
    llmctl: Llmctl, server: FakeServer, env: dict[str, str], tmp_path: Path
) -> None:
    server.answer(pictures(PNG))
    done = llmctl("image", "a", "lighthouse", "--output", "l.png", "-o", "size=1024x1024", input="at night")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "l.png").read_bytes() == PNG
    assert server.requests[0].path == "/v1/images/generations"
    assert server.requests[0].json == {
        "model": "gpt-image-1.5",
        "prompt": "a lighthouse\n\nat night",
        "size": "1024x1024",
    }
    request, call = request_of(env)
    assert (request["type"], request["status"]) == ("image", "completed")
    assert (request["input_tokens"], request["output_tokens"]) == (9, 272)
    assert (call["status"], call["attempt"]) == ("success", 1)
    assert KEY not in call["request_headers"]


def test_several_pictures_are_numbered(llmctl: Llmctl, server: FakeServer, tmp_path: Path) -> None:
    server.answer(pictures(PNG, PNG + b"2"))
    done = llmctl("image", "x", "--output", "l.png", "-o", "n=2", "--json")
    found = json.loads(done.stdout)
    assert [image["file"] for image in found["images"]] == ["l-1.png", "l-2.png"]
    assert (tmp_path / "l-2.png").read_bytes() == PNG + b"2"
    assert not (tmp_path / "l.png").exists()
    assert found["usage"]["output_tokens"] == 272
    assert found["images"][0] == {"index": 0, "media_type": "image/png", "size": len(PNG), "file": "l-1.png"}


def test_pipe_gets_the_bytes_and_json_holds_them(env: dict[str, str], tmp_path: Path, server: FakeServer) -> None:
    server.answer(pictures(PNG), pictures(PNG))
    script = 'llmctl image "x" | cat > piped.png; llmctl image x --output - --json > doc.json'
    assert Llmctl(env, env["HOME"]).shell(script).returncode == 0
    with open(os.path.join(env["HOME"], "piped.png"), "rb") as found:
        assert found.read() == PNG
    with open(os.path.join(env["HOME"], "doc.json"), encoding="utf-8") as found:
        assert b64decode(json.load(found)["images"][0]["data"]) == PNG


def test_terminal_is_refused_before_anything_is_sent(env: dict[str, str], server: FakeServer) -> None:
    main, other = os.openpty()
    try:
        done = subprocess.run(
            [*LLMCTL, "image", "x"], env=env, stdin=subprocess.DEVNULL, stdout=other, stderr=subprocess.PIPE
        )
    finally:
        os.close(main)
        os.close(other)
    assert done.returncode == 2
    assert b"--output" in done.stderr
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("x", "--output", "no/such/place.png"), 2), (("x", "--output", ""), 2), (("x", "-a", "missing.png"), 3)],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_sent(
    llmctl: Llmctl, server: FakeServer, arguments: tuple[Any, ...], code: int
) -> None:
    assert llmctl("image", *arguments).returncode == code
    assert server.requests == []


def test_picture_to_begin_with_goes_as_a_form(
    llmctl: Llmctl, server: FakeServer, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "old.png").write_bytes(PNG + b"\r\n--x")
    server.answer(pictures(PNG))
    llmctl("image", "at night", "-a", "old.png", "--output", "new.png", check=True)
    sent = server.requests[0]
    assert sent.path == "/v1/images/edits"
    form = message_from_bytes(f"Content-Type: {sent.headers['content-type']}\r\n\r\n".encode() + sent.body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
    assert parts["image"].get_payload(decode=True) == PNG + b"\r\n--x"
    assert parts["prompt"].get_payload() == "at night"
    _, call = request_of(env)
    assert "at night" in call["body"]
    assert "PNG" not in call["body"]


def test_picture_that_is_an_address_is_fetched_without_the_key(
    llmctl: Llmctl, server: FakeServer, tmp_path: Path
) -> None:
    server.answer(picture_at(f"http://127.0.0.1:{server.port}/tmp/x.png"), file(PNG))
    done = llmctl("image", "x", "--output", "l.png", "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "l.png").read_bytes() == PNG
    assert json.loads(done.stdout)["revised_prompt"] == "a tall lighthouse"
    assert (server.requests[1].path, "authorization" in server.requests[1].headers) == ("/tmp/x.png", False)


def test_picture_at_another_private_address_is_not_fetched(
    llmctl: Llmctl, server: FakeServer, env: dict[str, str], tmp_path: Path
) -> None:
    server.answer(picture_at(f"http://localhost:{server.port}/tmp/x.png"), file(PNG))
    done = llmctl("image", "x", "--output", "l.png")
    assert done.returncode == 2, done.stderr
    assert len(server.requests) == 1
    assert not (tmp_path / "l.png").exists()
    request, _ = request_of(env)
    assert request["status"] == "completed"


def test_failure_writes_nothing(llmctl: Llmctl, server: FakeServer, env: dict[str, str], tmp_path: Path) -> None:
    server.answer(refusal(400, "no such picture", code="content_policy_violation"))
    done = llmctl("image", "x", "--output", "l.png", "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout)["status"] == "failed"
    request, call = request_of(env)
    assert (request["status"], request["error_reason"], call["status"]) == ("failed", "content_filter", "error")
    assert not list(tmp_path.glob("*.png*"))


def test_echo_draws_offline_the_same_each_time(llmctl: Llmctl, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        llmctl("image", "-m", "echo", "a lighthouse", "--output", name, check=True)
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    done = llmctl(
        "image", "-m", "echo", "x", "-a", "a.png", "-o", "size=4x4", "-o", "n=3", "--output", "c.png", "--json"
    )
    assert len(json.loads(done.stdout)["images"]) == 3


def test_host_that_draws_nothing_says_so(llmctl: Llmctl, env: dict[str, str]) -> None:
    env["ANTHROPIC_API_KEY"] = "sk-ant-api03-abcdefghijklmnop1234"
    done = llmctl("image", "x", "--output", "l.png", "-m", "anthropic:m1", env=env)
    assert done.returncode == 2
    assert "cannot make images" in done.stderr
