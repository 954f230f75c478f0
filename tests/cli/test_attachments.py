"""``--attach`` on the command line: what is read, refused, fetched, stored and sent again."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Llmctl, query

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def served() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"%PDF-1.4")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def parts(run: Llmctl, *arguments: str, **more: Any) -> list[Any]:
    """Return the content of the user's messages, as the command would send them."""
    done = run("chat", "-m", "echo", "--dry-run", "--json", *arguments, **more)
    assert done.returncode == 0, done.stderr
    messages = json.loads(done.stdout)["body"]["messages"]
    return [message["content"] for message in messages if message["role"] == "user"]


def test_content_decides_the_type_of_an_attachment(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(PNG)
    (tmp_path / "notes").write_text("grüß\n")
    content = parts(llmctl, "-a", "picture.txt", "-a", "notes", "look")[0]
    assert [part["type"] for part in content] == ["text", "image_url", "text"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert content[2]["text"] == '<file name="notes">\ngrüß\n</file>'


def test_standard_input_is_attached_by_its_name(llmctl: Llmctl, tmp_path: Path) -> None:
    content = parts(llmctl, "-a", "-", "what is this?", input="a log\n")[0]
    assert content == 'what is this?\n\n<file name="attachment">\na log\n</file>'


def test_attachment_alone_is_a_prompt(llmctl: Llmctl, tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "dot.png").write_bytes(PNG)
    assert llmctl("chat", "-m", "echo", "-a", "dot.png").returncode == 0
    assert query(env, "SELECT role, content FROM messages ORDER BY seq")[0] == ("user", "")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("none.png", 3, "No such file"),
        (".", 3, "directory"),
        ("empty", 2, "empty"),
        ("/dev/zero", 2, "larger than 50 MB"),
        ("binary", 5, "application/octet-stream"),
        ("http://", 2, "not an HTTP URL"),
        ("https://user:secret@h.example/x.png", 2, "user name"),
        ("http://127.0.0.1:1/x.pdf", 2, "not a public address"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_any_call(
    llmctl: Llmctl, tmp_path: Path, env: Mapping[str, str], name: str, code: int, said: str
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    done = llmctl("chat", "-m", "echo", "-a", name, "hi")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "secret" not in done.stderr
    if Path(env["LLMCTL_DB"]).exists():
        assert [query(env, f"SELECT count(*) FROM {table}") for table in ("requests", "messages", "chats")] == [
            [(0,)]
        ] * 3


def test_file_the_model_cannot_take_has_its_reason(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4" + bytes(30))
    done = llmctl("chat", "-m", "echo", "--json", "-a", "a.zip", "hi")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"], error["reason"]) == (5, "rejected", "unsupported_media")
    assert "a.zip" in error["message"]


def test_url_goes_to_a_provider_that_fetches_it_itself(llmctl: Llmctl, env: dict[str, str]) -> None:
    url = "https://h.example/x.png?size=2"
    assert parts(llmctl, "-a", url, "hi")[0][1] == {"type": "image_url", "image_url": {"url": url}}
    llmctl("chat", "-m", "echo", "--name", "x", "-a", url, "hi", check=True)
    assert query(env, "SELECT url, content, media_type FROM attachments") == [(url, None, "image/png")]
    assert parts(llmctl, "--name", "x", "again")[0][1]["image_url"]["url"] == url


def test_url_is_fetched_where_the_provider_cannot_and_its_content_is_sent_again(
    llmctl: Llmctl, env: dict[str, str], served: str
) -> None:
    allowed = env | {"LLMCTL_ALLOW_PRIVATE_FETCH": "1"}
    llmctl("chat", "-m", "echo", "--name", "x", "-a", f"{served}/paper", "hi", env=allowed, check=True)
    assert query(env, "SELECT name, url, content, media_type FROM attachments") == [
        ("paper", f"{served}/paper", b"%PDF-1.4", "application/pdf")
    ]
    assert (
        parts(llmctl, "--name", "x", "again")[0][1]["file"]["file_data"] == "data:application/pdf;base64,JVBERi0xLjQ="
    )


def test_dry_run_fetches_nothing(llmctl: Llmctl) -> None:
    assert parts(llmctl, "-a", "http://127.0.0.1:1/x.pdf", "hi")[0][1]["file"]["filename"] == "x.pdf"


def test_earlier_file_that_cannot_travel_is_left_out_with_a_note(
    llmctl: Llmctl, tmp_path: Path, env: dict[str, str]
) -> None:
    (tmp_path / "dot.png").write_bytes(PNG)
    llmctl("chat", "-m", "echo", "--name", "x", "-a", "dot.png", "look", check=True)
    with closing(sqlite3.connect(tmp_path / "hub.db")) as hub, hub:
        hub.execute("UPDATE message_attachments SET media_type = 'application/x-odd', name = 'odd.bin'")
    done = llmctl("chat", "--name", "x", "and now?")
    assert (done.returncode, done.stdout) == (0, "and now?\n")
    assert "left out" in done.stderr
    assert "odd.bin" in done.stderr
    content = parts(llmctl, "--name", "x", "again")[0]
    assert content == 'look\n\n[the file "odd.bin" (application/x-odd) cannot be shown to you]'
    assert query(env, "SELECT count(*) FROM attachments") == [(1,)]


def test_request_is_built_again_as_it_was_sent_without_the_file_left_out(
    llmctl: Llmctl, tmp_path: Path, env: dict[str, str]
) -> None:
    (tmp_path / "dot.png").write_bytes(PNG)
    llmctl("chat", "-m", "echo", "--name", "x", "-a", "dot.png", "look", check=True)
    with closing(sqlite3.connect(tmp_path / "hub.db")) as hub, hub:
        hub.execute("UPDATE message_attachments SET media_type = 'application/x-odd'")
    llmctl("chat", "--name", "x", "and now?", check=True)
    (request,) = query(env, "SELECT id FROM requests ORDER BY created_at DESC LIMIT 1")
    done = llmctl("request", "curl", request[0])
    assert done.returncode == 0
    assert "cannot be shown to you" in done.stdout
    assert "differs" not in done.stderr


def test_same_file_is_stored_once_and_sent_with_every_turn(llmctl: Llmctl, tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(PNG)
    for turn in (("--name", "look", "-a", "a.png"), ("--chat", "look", "-a", "b.png"), ("--chat", "look")):
        assert llmctl("chat", "-m", "echo", *turn, "look").returncode == 0
    assert query(env, "SELECT count(*) FROM attachments") == [(1,)]
    sent = parts(llmctl, "--chat", "look", "again")
    pictures = [str(said).count("image/png;base64") for said in sent]
    assert pictures == [1, 1, 0, 0]
