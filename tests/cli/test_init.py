"""``llmctl init``: made, found, adopted, renamed, emitted; and again without a change."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import orm_hubs
from tests.harness import LLMCTL, Llmctl, query, run_on_terminal


@pytest.fixture
def hub_path(env: dict[str, str]) -> str:
    return env["LLMCTL_DB"]


def test_init_makes_a_hub_and_says_where(llmctl: Llmctl, hub_path: str) -> None:
    done = llmctl("init")
    assert (done.returncode, done.stdout) == (0, f"{hub_path}\n")
    assert f'created hub "{hub_path}"' in done.stderr
    assert stat.S_IMODE(os.stat(hub_path).st_mode) == 0o600
    assert query(hub_path, "SELECT bootstrapped FROM user_settings") == [(1,)]


def test_init_again_changes_nothing(llmctl: Llmctl, hub_path: str) -> None:
    llmctl("init", check=True)
    before = {path.name: path.read_bytes() for path in Path(hub_path).parent.glob("*.*")}
    again = llmctl("init")
    assert again.returncode == 0
    assert "made" not in again.stderr
    assert "wrote" not in again.stderr
    assert {path.name: path.read_bytes() for path in Path(hub_path).parent.glob("*.*")} == before


def test_init_makes_missing_folders_for_this_user_only(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "hub.db"
    llmctl("--db", str(place), "init", check=True)
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o700


def test_init_without_a_home_says_what_to_set(llmctl: Llmctl) -> None:
    done = llmctl("init", env={"PATH": os.environ["PATH"]})
    assert done.returncode == 4
    assert "set LLMCTL_DB" in done.stderr


def test_init_makes_connections_for_keys_in_the_environment(llmctl: Llmctl, env: dict[str, str], hub_path: str) -> None:
    keys = {"OPENAI_API_KEY": "sk-1234567890abcdef", "GROQ_API_KEY": "gsk_1234567890abcdef"}
    done = llmctl("init", "--json", env=env | keys)
    report = json.loads(done.stdout)
    assert [(c["name"], c["new"]) for c in report["connections"]] == [("openai", True), ("groq", True)]
    assert report["default_connection"] == "openai"
    assert query(hub_path, "SELECT name, data FROM model_connections WHERE name <> 'echo' ORDER BY rowid") == [
        ("openai", '{"key":"env:OPENAI_API_KEY"}'),
        ("groq", '{"key":"env:GROQ_API_KEY"}'),
    ]
    assert 'added connection "openai"' in done.stderr
    assert 'default connection: "openai"' in done.stderr
    again = json.loads(llmctl("init", "--json", env=env | keys).stdout)
    assert [c["new"] for c in again["connections"]] == [False, False]
    for name in os.listdir(os.path.dirname(hub_path)):
        path = os.path.join(os.path.dirname(hub_path), name)
        if os.path.isfile(path):
            assert b"1234567890abcdef" not in Path(path).read_bytes()


def test_init_keeps_the_default_that_was_chosen(llmctl: Llmctl, env: dict[str, str]) -> None:
    keys = env | {"OPENAI_API_KEY": "sk-1234567890abcdef", "GROQ_API_KEY": "gsk_1234567890abcdef"}
    llmctl("init", env=keys, check=True)
    llmctl("connection", "default", "groq", check=True)
    assert json.loads(llmctl("init", "--json", env=keys).stdout)["default_connection"] == "groq"


def test_init_without_detection_looks_for_nothing(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("init", "--no-detect", "--json", env=env | {"OPENAI_API_KEY": "sk-1234567890abcdef"})
    assert json.loads(done.stdout)["connections"] == []
    assert 'except "echo"' in done.stderr


@contextmanager
def local_server() -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"data":[{"id":"nomic-embed-text"},{"id":"qwen3:8b"}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_init_finds_a_local_server_and_a_chat_model(llmctl: Llmctl, env: dict[str, str], hub_path: str) -> None:
    with local_server() as port:
        for _ in range(20):  # a busy machine may miss the 0.3 s that llmctl gives a server
            report = llmctl("init", "--json", env=env | {"OLLAMA_HOST": f"127.0.0.1:{port}"}).json
            if report["connections"]:
                break
    assert [(c["name"], c["model"]) for c in report["connections"]] == [("ollama", "qwen3:8b")]
    assert report["default_connection"] == "ollama"
    data = json.loads(query(hub_path, "SELECT data FROM model_connections WHERE name = 'ollama'")[0][0])
    assert data["base_url"].endswith(f":{port}/v1")


def test_init_does_not_wait_for_a_server_that_is_silent(llmctl: Llmctl, env: dict[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        report = json.loads(llmctl("init", "--json", env=env | {"OLLAMA_HOST": f"127.0.0.1:{port}"}).stdout)
    assert report["connections"] == []


def test_init_writes_the_schema_and_its_config_beside_the_hub(llmctl: Llmctl, hub_path: str, tmp_path: Path) -> None:
    llmctl("init", check=True)
    schema = (tmp_path / "schema.prisma").read_text()
    assert "model Chat {" in schema
    assert "url" not in schema.partition("datasource")[2].partition("}")[0]
    assert f"file:{hub_path}" in (tmp_path / "prisma.config.ts").read_text()


def test_init_writes_for_the_prisma_that_is_asked_for_and_remembers_it(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    llmctl("init", "--prisma", "app", "--prisma-major", "6", "--prisma-provider", "postgresql", check=True)
    schema = (tmp_path / "app" / "schema.prisma").read_text()
    assert 'provider = "postgresql"' in schema
    assert "DATABASE_URL" in schema
    assert not (tmp_path / "app" / "prisma.config.ts").exists()
    assert not (tmp_path / "schema.prisma").exists()
    llmctl("init", "--field", "chats.user_id:text", check=True)
    assert "userId" in (tmp_path / "app" / "schema.prisma").read_text()
    assert not (tmp_path / "schema.prisma").exists()


def test_init_writes_no_schema_when_told_so(llmctl: Llmctl, tmp_path: Path) -> None:
    llmctl("init", "--no-prisma", check=True)
    assert not (tmp_path / "schema.prisma").exists()
    assert llmctl("init", "--no-prisma", "--prisma-major", "6").returncode == 2


def test_hub_that_moved_gets_its_schema_beside_itself(llmctl: Llmctl, hub_path: str, tmp_path: Path) -> None:
    llmctl("init", check=True)
    before = (tmp_path / "schema.prisma").read_text()
    (tmp_path / "new").mkdir()
    os.rename(hub_path, tmp_path / "new" / "hub.db")
    llmctl("--db", "new/hub.db", "init", "--field", "chats.user_id:text", check=True)
    assert (tmp_path / "schema.prisma").read_text() == before
    assert "userId" in (tmp_path / "new" / "schema.prisma").read_text()


def test_schema_that_the_user_changed_is_left_alone(llmctl: Llmctl, tmp_path: Path) -> None:
    llmctl("init", check=True)
    file = tmp_path / "schema.prisma"
    file.write_text(file.read_text() + "\nmodel Mine {\n  id String @id\n}\n")
    edited = file.read_text()
    done = llmctl("init", "--field", "chats.user_id:text", "--json")
    assert file.read_text() == edited
    assert "userId" in (tmp_path / "schema.prisma.new").read_text()
    assert "because it was edited" in done.stderr
    assert {"path": f"{file}.new", "state": "edited"} in json.loads(done.stdout)["files"]


def test_schema_of_another_hub_in_the_folder_is_left_alone(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "schema.prisma").write_text("// mine\n")
    done = llmctl("init", check=True)
    assert (tmp_path / "schema.prisma").read_text() == "// mine\n"
    assert 'left "' in done.stderr
    assert not list(tmp_path.rglob("*.new"))
    llmctl("init", "--prisma", "schema.prisma", check=True)
    assert "model" in (tmp_path / "schema.prisma.new").read_text()


@pytest.mark.parametrize(("answer", "names"), [(b"\n", ["openai", "groq"]), (b"2\n", ["groq"]), (b"n\n", [])])
def test_init_offers_what_it_found(
    llmctl: Llmctl, env: dict[str, str], hub_path: str, answer: bytes, names: list[str]
) -> None:
    keys = {"OPENAI_API_KEY": "sk-1234567890abcdef", "GROQ_API_KEY": "gsk_1234567890abcdef"}
    answers = [("none [a]:", answer), *([] if names else [("[n]:", b"\n")])]
    code, screen = run_on_terminal([*LLMCTL, "init", "--no-prisma"], env | keys, answers)
    assert code == 0, screen
    assert "1  openai" in screen
    added = query(hub_path, "SELECT name FROM model_connections WHERE name <> 'echo' ORDER BY rowid")
    assert [name for (name,) in added] == names
    assert ("llmctl connection add" in screen) == (not names)


def test_init_where_the_schema_cannot_be_written_says_what_to_do(llmctl: Llmctl) -> None:
    done = llmctl("init", "--prisma", "/proc/nowhere/schema.prisma")
    assert done.returncode == 2
    assert "--prisma" in done.stderr


def test_init_gives_tables_names_on_a_new_hub(llmctl: Llmctl, hub_path: str) -> None:
    llmctl("init", "--table", "chats=Assistant Chats", "--table", "jobs=a=b", check=True)
    assert query(hub_path, 'SELECT count(*) FROM "Assistant Chats"') == [(0,)]
    assert query(hub_path, 'SELECT count(*) FROM "a=b"') == [(0,)]
    assert llmctl("chat", "-m", "echo", "hello").returncode == 0


def test_init_gives_tables_names_on_a_hub_in_use_and_nobody_repeats_them(
    llmctl: Llmctl, hub_path: str, tmp_path: Path
) -> None:
    llmctl("chat", "-m", "echo", "hello", check=True)
    done = llmctl("init", "--table", "chats=talks")
    assert done.returncode == 0
    assert 'renamed table "chats" to "talks"' in done.stderr
    assert json.loads(llmctl("chats", "list", "--json").stdout)[0]["model"] == "echo"
    assert '@@map("talks")' in (tmp_path / "schema.prisma").read_text()
    assert llmctl("schema", "check").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "talk=x"], "agent_sessions, "),
        (["--table", "chats"], "LOGICAL=PHYSICAL"),
        (["--table", "chats=v_jobs"], "taken"),
        (["--table", "chats=x", "--table", "chats=y"], "two names"),
        (["--field", "chats.name:text"], "is a built-in column"),
        (["--field", "chats.x:blob"], "choose one of: text, integer"),
        (["--field", "talk.x:text"], 'no table "talk"'),
        (["--prisma-major", "5"], "5"),
    ],
)
def test_invalid_options_are_usage_errors_and_change_nothing(
    llmctl: Llmctl, hub_path: str, arguments: list[str], said: str
) -> None:
    llmctl("init", check=True)
    before = query(hub_path, "SELECT name, sql FROM sqlite_master")
    done = llmctl("init", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert query(hub_path, "SELECT name, sql FROM sqlite_master") == before


def test_impossible_names_make_no_hub(llmctl: Llmctl, hub_path: str) -> None:
    assert llmctl("init", "--table", "chats=jobs").returncode == 2
    assert not os.path.exists(hub_path)


def test_tables_are_not_renamed_under_a_running_turn(
    llmctl: Llmctl, env: dict[str, str], hub_path: str, tmp_path: Path
) -> None:
    llmctl("init", check=True)
    with llmctl.start("chat", "-m", "echo", "one two", "-o", "stall=300", "-o", "after=1") as chat:
        chat.wait_for_output("one")
        done = llmctl("init", "--table", "chats=talks", "--json")
        assert (done.returncode, done.error["code"]) == (9, "locked")
    assert llmctl("init", "--table", "chats=talks").returncode == 0


def test_init_adopts_a_database_of_the_orm(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")
    orm_hubs.make_orm_hub(path, chat=', "userId" TEXT NOT NULL DEFAULT "u1"')
    orm_hubs.fill_orm_hub(path)
    refused = llmctl("--db", path, "init")
    assert refused.returncode == 13
    assert "--adopt" in refused.stderr
    done = llmctl("--db", path, "init", "--adopt", "--json")
    report = json.loads(done.stdout)
    assert report["adopted"]["rows"]["LlmMessage"] == [8, 8]
    assert '"LlmMessage": 8 rows before, 8 after' in done.stderr
    assert 'renamed columns of "LlmMessage": chatId to chat_id, ' in done.stderr
    assert "npx prisma generate" in done.stderr
    assert os.path.exists(report["backup"])
    shown = llmctl("--db", path, "chats", "show", "c1")
    assert "what time is it?" in shown.stdout
    models = re.findall(r"^model (\w+)", (tmp_path / "schema.prisma").read_text(), re.MULTILINE)
    assert {"LlmChat", "LlmMessage", "LlmToolCall", "LlmRequest", "ModelConnection"} <= set(models)
    assert "userId" in (tmp_path / "schema.prisma").read_text()
    assert llmctl("--db", path, "schema", "check").returncode == 0
    assert llmctl("--db", path, "db", "check", "--quick").returncode in (0, 13)
    again = llmctl("--db", path, "init", "--adopt")
    assert again.returncode == 0
    assert "already a hub" in again.stderr


@pytest.mark.parametrize(
    ("version", "prefix", "models"),
    [
        ("s0", "", {"Chat", "Message", "ToolCall", "Request"}),
        ("v07", "Assistant", {"AssistantChat", "AssistantMessage", "AssistantToolCall", "AssistantRequest"}),
        ("v07", "llm ", {"LlmChat", "LlmMessage", "LlmToolCall", "LlmRequest"}),
    ],
)
def test_adopted_tables_keep_the_models_of_the_application(
    llmctl: Llmctl, tmp_path: Path, version: str, prefix: str, models: set[str]
) -> None:
    path = str(tmp_path / "app.db")
    orm_hubs.make_orm_hub(path, version)
    with closing(sqlite3.connect(path)) as connection:
        for name in ("Chat", "Message", "ToolCall", "Request") if prefix else ():
            connection.execute(f'ALTER TABLE "Llm{name}" RENAME TO "{prefix}{name}"')
    llmctl("--db", path, "init", "--adopt", "--no-detect", check=True)
    found = set(re.findall(r"^model (\w+)", (tmp_path / "schema.prisma").read_text(), re.MULTILINE))
    assert models <= found


def test_adopting_another_programs_database_says_that_nothing_was_found(llmctl: Llmctl, tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (id, name)")
    done = llmctl("--db", path, "init", "--adopt", "--no-detect", check=True)
    assert "no tables of @node-llm/orm were found" in done.stderr


@pytest.mark.parametrize(
    ("name", "table"),
    [
        *(("CHATS", "chats"), ("chat", "chats"), ("LlmChat", "chats"), ("toolCall", "tool_invocations")),
        *(("Tool_Invocations", "tool_invocations"), ("AGENTSESSION", "agent_sessions")),
        ("ModelConnection", "model_connections"),
    ],
)
def test_tables_are_named_in_any_case_and_as_the_orm_does(llmctl: Llmctl, name: str, table: str) -> None:
    report = llmctl("init", "--no-detect", "--no-prisma", "--table", f"{name}=My Rows", "--json", check=True).json
    assert query(llmctl.env, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'My Rows'") == [(1,)]
    for asked in (name, table, "MY ROWS"):
        assert llmctl("schema", "show", asked, "--json", check=True).json[0]["name"] == "My Rows"
    assert report["created"]


def test_field_is_added_to_a_table_under_any_of_its_names(llmctl: Llmctl) -> None:
    done = llmctl("init", "--no-detect", "--no-prisma", "--field", "toolCall.cost_center:text", "--json", check=True)
    assert done.json["fields"] == ["tool_invocations.cost_center"]


def test_table_with_two_names_is_refused(llmctl: Llmctl) -> None:
    done = llmctl("init", "--no-detect", "--no-prisma", "--table", "chats=a", "--table", "CHAT=b")
    assert (done.returncode, "has two names" in done.stderr) == (2, True)


def test_init_adopts_nothing_where_nothing_is(llmctl: Llmctl, hub_path: str) -> None:
    done = llmctl("init", "--adopt")
    assert done.returncode == 3
    assert not os.path.exists(hub_path)


def test_hub_in_memory_cannot_be_set_up(llmctl: Llmctl) -> None:
    assert llmctl("--db", ":memory:", "init").returncode == 2


@pytest.mark.slow
def test_twenty_inits_at_once_all_succeed(llmctl: Llmctl, hub_path: str) -> None:
    llmctl = llmctl.with_env(OPENAI_API_KEY="sk-1234567890abcdef")
    command = ("init", "--table", "chats=talks", "--field", "chats.user_id:text")
    processes = [llmctl.start(*command) for _ in range(20)]
    results = [process.wait() for process in processes]
    assert [result.returncode for result in results] == [0] * 20, results
    assert query(hub_path, "PRAGMA integrity_check") == [("ok",)]
    assert query(hub_path, "SELECT count(*) FROM model_connections") == [(2,)]


@pytest.mark.slow
def test_first_chats_at_once_with_a_key_in_the_environment_all_succeed(llmctl: Llmctl, hub_path: str) -> None:
    llmctl = llmctl.with_env(OPENAI_API_KEY="sk-1234567890abcdef", GROQ_API_KEY="gsk_1234567890abcdef")
    processes = [llmctl.start("chat", "-m", "echo", "hello") for _ in range(20)]
    results = [process.wait() for process in processes]
    assert [result.returncode for result in results] == [0] * 20, results
    assert query(hub_path, "SELECT name FROM model_connections ORDER BY name") == [("echo",), ("groq",), ("openai",)]


@pytest.mark.parametrize(
    ("type", "given", "kept"),
    [
        ("text", "7", "7"),
        ("integer", "7", 7),
        ("boolean", "yes", 1),
        ("datetime", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05.000+00:00"),
        ("json", '{"a": [1]}', '{"a":[1]}'),
    ],
)
def test_chat_fills_a_field_of_its_type(llmctl: Llmctl, hub_path: str, type: str, given: str, kept: str | int) -> None:
    llmctl("init", "--field", f"chats.own:{type}", check=True)
    llmctl("chat", "-m", "echo", "hello", "--metadata", f"own={given}", check=True)
    assert query(hub_path, "SELECT own FROM chats") == [(kept,)]


@pytest.mark.parametrize(("type", "given"), [("integer", "x"), ("boolean", "x"), ("datetime", "soon"), ("json", "7")])
def test_value_that_does_not_fit_a_field_is_a_usage_error(llmctl: Llmctl, hub_path: str, type: str, given: str) -> None:
    llmctl("init", "--field", f"chats.own:{type}", check=True)
    done = llmctl("chat", "-m", "echo", "hello", "--metadata", f"own={given}")
    assert done.returncode == 2
    assert 'field "own" must be' in done.stderr
    assert query(hub_path, "SELECT count(*) FROM chats") == [(0,)]
