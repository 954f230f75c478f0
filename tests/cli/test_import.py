"""``llmctl import`` of other programs' exports: archives, exit codes, what was left out, and what is sent later."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.formats.test_imports import CHATGPT, CLAUDE, node
from tests.harness import Llmctl, Result, parse_json, query

PNG = bytes.fromhex("89504e470d0a1a0a") + b"picture"
GOOD = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
PICTURE = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_00ab"}


def write_archive(path: Path, documents: Any, **files: bytes) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", documents if isinstance(documents, str) else json.dumps(documents))
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def chatgpt(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return CHATGPT | {"current_node": nodes[-1]["id"], "mapping": {each["id"]: each for each in nodes}} | more


def multimodal(*parts: Any) -> dict[str, Any]:
    return {"content_type": "multimodal_text", "parts": list(parts)}


@pytest.fixture
def run(llmctl: Llmctl) -> Llmctl:
    llmctl("connection", "add", "x", "--provider", "openai", "--model", "m", "--key-env", "K", check=True)
    return llmctl.with_env(K="sk-test-0000000000000000")


def list_sent(run: Llmctl, chat: str) -> list[Any]:
    """Return the messages that continuing a chat would send."""
    done = run("chat", "--chat", chat, "-m", "x", "--wait", "5", "--dry-run", "--json", "go on")
    body = parse_json(done)["body"]
    messages: list[Any] = body.get("input") or body["messages"]
    return messages


def test_pictures_of_the_archive_come_along(run: Llmctl, tmp_path: Path) -> None:
    nodes = (node("q", None, "user", content=multimodal(PICTURE, "look")), node("a", "q", "assistant", "a cat"))
    path = write_archive(tmp_path / "a.zip", [chatgpt(*nodes)], **{"file_00ab-sanitized.png": PNG})
    report = parse_json(run("import", path, "--json", check=True))
    assert report["left_out"] == {}
    assert query(run.env, "SELECT media_type, content FROM attachments") == [("image/png", PNG)]
    assert query(run.env, "SELECT content FROM messages ORDER BY seq") == [("look",), ("a cat",)]
    assert "data:image/png;base64,iVBORw0KGgpwaWN0dXJl" in json.dumps(list_sent(run, "Trees"))


@pytest.mark.parametrize(
    ("pointer", "member"),
    [
        ("file-service://file-AbC12", "file-AbC12-cat.png"),
        ("sediment://file_0ab#file_0cd#p_1.png", "user-x/file_0ab-1234.png"),
        ("sediment://file_0ab", "dalle-generations/file_0ab.dat"),
    ],
)
def test_pictures_are_found_under_every_layout(llmctl: Llmctl, tmp_path: Path, pointer: str, member: str) -> None:
    picture = PICTURE | {"asset_pointer": pointer}
    item = chatgpt(node("q", None, "user", content=multimodal(picture)))
    llmctl("import", write_archive(tmp_path / "a.zip", [item], **{member: PNG}), check=True)
    assert query(llmctl.env, "SELECT media_type, content FROM attachments") == [("image/png", PNG)]


def test_missing_pictures_are_named_and_counted_in_good_english(llmctl: Llmctl, tmp_path: Path) -> None:
    nodes = (node("q", None, "user", content=multimodal(PICTURE)), node("a", "q", "assistant", "a cat"))
    path = write_archive(tmp_path / "a.zip", [chatgpt(*nodes)], **{"projects.json": b"[]", "users.json": b"[]"})
    done = llmctl("import", path, check=True)
    assert query(llmctl.env, "SELECT content FROM messages ORDER BY seq") == [
        ("[file: sediment://file_00ab]",),
        ("a cat",),
    ]
    assert "left out: 1 file, which the export mentions but does not contain" in done.stderr
    assert "left out: 2 files without conversations: projects.json, users.json" in done.stderr
    assert "1 conversation, 2 messages" in done.stderr


def test_tool_calls_of_imported_chats_are_sent_on(run: Llmctl, tmp_path: Path) -> None:
    item = chatgpt(
        node("q", None, "user", "write"),
        node("c", "q", "assistant", "print(40+2)", recipient="python"),
        node("r", "c", "tool", "42", name="python"),
        node("a", "r", "assistant", "done"),
    )
    run("import", "-", input=json.dumps([item]), check=True)
    sent = json.dumps(list_sent(run, "Trees"))
    assert "print(40+2)" in sent
    assert '"42"' in sent


def test_hidden_text_is_neither_shown_nor_sent(run: Llmctl) -> None:
    item = chatgpt(
        node("h", None, "user", "secret plan", weight=0),
        node("i", "h", "user", content={"content_type": "user_editable_context", "user_instructions": "be brief"}),
        node("q", "i", "user", "hello"),
        node("a", "q", "assistant", "hi"),
        node("e", "a", "system", "secret end", metadata={"is_visually_hidden_from_conversation": True}),
    )
    run("import", "-", input=json.dumps([item]), check=True)
    sent = json.dumps(list_sent(run, "Trees"))
    assert "be brief" in sent
    assert "secret" not in sent
    shown = run("chats", "show", "Trees", check=True).stdout
    assert "hello" in shown
    assert "secret" not in shown
    for format in ("markdown", "html", "openai", "sharegpt"):
        assert "secret" not in run("export", "--chat", "Trees", "--format", format, check=True).stdout
    assert query(run.env, "SELECT count(*) FROM messages WHERE content LIKE '%secret%'") == [(2,)]


def to_lines(*documents: Any) -> str:
    return "".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in documents)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (to_lines(GOOD), 0),
        (to_lines(GOOD, "{broken\n"), 14),
        (to_lines("{broken\n", GOOD), 14),
        (to_lines(GOOD, {"other": 1}), 14),
        (json.dumps([{"other": 1}, CLAUDE]), 14),
        (json.dumps([CLAUDE])[:-30], 2),
        (json.dumps([CLAUDE, CLAUDE])[:-30], 14),
        (json.dumps([CLAUDE | {"chat_messages": []}]), 3),
        (to_lines({"messages": [{"role": "user", "content": None}]}), 3),
        (to_lines("{broken\n", "{broken\n"), 2),
    ],
    ids=["good", "last", "first", "other", "item", "cut", "cut-later", "empty", "null", "all"],
)
def test_exit_code_tells_what_was_not_taken(llmctl: Llmctl, text: str, code: int) -> None:
    done = llmctl("import", "-", input=text)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 14:
        assert "was imported with 1 problem" in done.stderr


def test_importing_again_takes_nothing_new_and_succeeds(llmctl: Llmctl) -> None:
    for _ in range(2):
        llmctl("import", "-", input=to_lines(GOOD), check=True)


def test_import_into_a_hub_with_settings_of_its_own_succeeds(llmctl: Llmctl, tmp_path: Path) -> None:
    llmctl("chat", "-m", "echo", "hello", check=True)
    text = llmctl("export", "--all", check=True).stdout
    other = llmctl.with_env(LLMCTL_DB=str(tmp_path / "other.db"))
    other("chat", "-m", "echo", "hello", check=True)
    assert other("import", "-", input=text).returncode == 0


def encrypt(path: Path) -> None:
    """Set the flag that says that the first member is encrypted."""
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def test_encrypted_archive_is_refused(llmctl: Llmctl, tmp_path: Path) -> None:
    write_archive(tmp_path / "a.zip", [CHATGPT])
    encrypt(tmp_path / "a.zip")
    done = llmctl("import", str(tmp_path / "a.zip"))
    assert (done.returncode, "is encrypted" in done.stderr) == (2, True), done.stderr


def test_damaged_archive_is_refused(llmctl: Llmctl, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_archive(path, [CHATGPT])
    data = bytearray(path.read_bytes())
    data[60:70] = b"\xff" * 10
    path.write_bytes(data)
    done = llmctl("import", str(path))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["text", "blank", "nested"])
def test_zip_bomb_is_refused_without_filling_the_memory(llmctl: Llmctl, tmp_path: Path, shape: str) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("conversations.json", "w") as member:
        member.write(b'[{"messages": [{"role": "user", "content": "' if shape == "text" else b"[")
        for _ in range(120):
            member.write({"text": b"a", "blank": b" ", "nested": b"["}[shape] * (1 << 20))
    limited = f"ulimit -v 900000; llmctl import {path}"
    done: Result = llmctl.shell(limited)
    assert done.returncode == 2, done.stderr
    assert "larger than" in done.stderr or "unknown format" in done.stderr


def test_archive_that_unpacks_to_far_more_is_refused(llmctl: Llmctl, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    write_archive(path, [CHATGPT])
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (3 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    done = llmctl("import", str(path))
    assert (done.returncode, "more than 100 times its size" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("requests", {"cost": []}),
        ("requests", {"cost": "much"}),
        ("requests", {"cost": 1e308}),
        ("requests", {"time_to_first_token": [None]}),
        ("requests", {"input_tokens": "x"}),
        ("requests", {"input_tokens": 1.5}),
        ("requests", {"created_at": "2026-99-99T00:00:00.000+00:00"}),
        ("requests", {"parameters": [1]}),
        ("requests", {"usage_details": "x"}),
        ("chats", {"metadata": [1]}),
        ("chats", {"name": 5}),
        ("chats", {"settings": 5}),
        ("messages", {"content": 5}),
        ("messages", {"seq": {}}),
    ],
    ids=str,
)
def test_row_with_a_wrong_type_costs_itself_only(llmctl: Llmctl, tmp_path: Path, table: str, changes: Any) -> None:
    llmctl("chat", "-m", "echo", "--name", "one", "hello", check=True)
    lines = [json.loads(line) for line in llmctl("export", "--all", check=True).stdout.splitlines()]
    bad = next(line for line in lines if line.get("table") == table)
    copy = json.loads(json.dumps(bad)) | {"row": bad["row"] | {"id": "bad"} | changes}
    text = to_lines(*lines, copy, {"table": [], "row": {}}, {"table": "chats", "row": 5})
    other = llmctl.with_env(LLMCTL_DB=str(tmp_path / "other.db"))
    done = other("import", "-", "--json", input=text)
    assert (done.returncode, parse_json(Result(0, done.stdout, ""))["problem_count"]) == (14, 3), done.stderr
    assert query(other.env, f"SELECT count(*) FROM {table} WHERE id = 'bad'") == [(0,)]
    assert query(other.env, "SELECT count(*) FROM messages") == [(2,)]
    other("stats", "--group-by", "model", check=True)


@pytest.mark.parametrize("first", ['{"format":"llmctl","version":1,"fields":[1]}', '{"format":"llmctl","version":"x"}'])
def test_export_with_an_invalid_first_line_is_refused(llmctl: Llmctl, first: str) -> None:
    assert llmctl("import", "-", input=first + "\n").returncode == 2


def test_help_names_every_format(llmctl: Llmctl) -> None:
    from llmctl.engine.transfer.import_ import NAMES

    shown = llmctl("import", "--help", check=True).stdout
    assert not [name for name in NAMES if name not in shown]
