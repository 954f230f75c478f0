"""``llmctl connection``: made, shown, changed, tried; and no secret ever kept or shown."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.providers import PROVIDERS
from tests.fakes.openai_server import FakeServer, Reply
from tests.harness import LLMCTL, Llmctl, query, run_on_terminal

KEY = "sk-proj-0123456789abcdefghij"
MODELS = {"object": "list", "data": [{"id": "gpt-5"}, {"id": "text-embed", "context_length": 8192}]}


def reply(document: Any, status: int = 200, **headers: Any) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status, {"content-type": "application/json"} | headers, (body,), length=len(body))


def shown(llmctl: Llmctl, name: str, **more: Any) -> Any:
    return json.loads(llmctl("connection", "show", name, "--json", check=True, **more).stdout)


def key_path(llmctl: Llmctl, name: str) -> str:
    """Return the key file of a connection."""
    path: str = shown(llmctl, name)["data"]["key"]
    return path.removeprefix("file:")


def no_secret(env: dict[str, str], *secrets: Any) -> None:
    """Assert that no file that llmctl wrote holds a secret, but for key files."""
    folder = Path(env["LLMCTL_DB"]).parent
    for path in folder.rglob("*"):
        if path.is_file() and "keys" not in path.parts:
            for secret in secrets:
                assert secret.encode() not in path.read_bytes(), path


def test_add_prints_the_id_and_takes_the_provider_from_the_name(llmctl: Llmctl) -> None:
    done = llmctl("connection", "add", "groq")
    assert done.returncode == 0
    found = shown(llmctl, "groq")
    assert done.stdout == found["id"] + "\n"
    assert (found["provider"], found["type"], found["model_id"]) == ("groq", "chat", "openai/gpt-oss-120b")
    assert found["is_default"]
    assert "no key" in done.stderr


def test_key_from_stdin_goes_into_a_file_that_only_the_owner_reads(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("connection", "add", "openai", "--key-stdin", input=KEY + "\n")
    assert done.returncode == 0
    found = shown(llmctl, "openai")
    path = found["data"]["key"].removeprefix("file:")
    assert path.startswith(f"{env['HOME']}/.local/share/llmctl/keys/")
    assert os.path.basename(path) == found["id"]
    assert Path(path).read_text() == KEY + "\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert KEY not in done.stdout + done.stderr + json.dumps(found)
    assert found["key_found"] is True
    no_secret({"LLMCTL_DB": env["LLMCTL_DB"]}, KEY)


def test_key_file_goes_beside_the_hub_where_there_is_no_home(llmctl: Llmctl, env: dict[str, str]) -> None:
    homeless = {name: value for name, value in env.items() if name != "HOME"}
    homeless["XDG_STATE_HOME"] = f"{env['HOME']}/state"
    llmctl("connection", "add", "openai", "--key-stdin", input=KEY, env=homeless, check=True)
    [(data,)] = query(env, "SELECT data FROM model_connections WHERE name = 'openai'")
    path = json.loads(data)["key"].removeprefix("file:")
    assert path.startswith(f"{Path(env['LLMCTL_DB']).parent}/keys/")
    assert os.path.exists(path)


@pytest.mark.parametrize(
    ("flags", "reference"),
    [
        (["--key-env", "MY_KEY"], "env:MY_KEY"),
        (["--key-command", "pass show openai"], "command:pass show openai"),
        (["--key-file", "my.key"], "file:{cwd}/my.key"),
        (["--key-keyring", "openai"], "keyring:openai"),
    ],
)
def test_key_is_kept_as_a_reference(llmctl: Llmctl, flags: list[str], reference: str, tmp_path: Path) -> None:
    llmctl("connection", "add", "openai", *flags, check=True)
    assert shown(llmctl, "openai")["data"]["key"] == reference.format(cwd=tmp_path)


def test_provider_variable_is_used_without_an_explicit_key(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("connection", "add", "openai", env=env | {"OPENAI_API_KEY": KEY})
    assert done.returncode == 0
    assert "no key" not in done.stderr
    assert shown(llmctl, "openai")["data"]["key"] == "env:OPENAI_API_KEY"
    no_secret(env, KEY)


def test_show_says_whether_the_key_is_there_and_never_what_it_is(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("connection", "add", "openai", "--key-env", "MY_KEY", check=True)
    there = shown(llmctl, "openai", env=env | {"MY_KEY": KEY})
    assert (there["key_source"], there["key_found"]) == ("env:MY_KEY", True)
    assert KEY not in json.dumps(there)
    gone = shown(llmctl, "openai")
    assert gone["key_found"] is False
    assert "MY_KEY" in gone["key_note"]


def test_two_keys_are_one_too_many(llmctl: Llmctl, env: dict[str, str]) -> None:
    assert llmctl("connection", "add", "openai", "--key-env", "A", "--key-stdin", input=KEY).returncode == 2
    assert not os.path.exists(f"{env['HOME']}/.local/share/llmctl/keys")


@pytest.mark.parametrize("key", ["", "two\nlines and more", "\x1b[31mred", "schlüssel-0123456789"])
def test_what_is_no_key_is_refused(llmctl: Llmctl, key: str) -> None:
    done = llmctl("connection", "add", "openai", "--key-stdin", input=key)
    assert done.returncode == 2
    assert llmctl("connection", "show", "openai").returncode == 3


def test_unknown_provider_names_near_ones(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("connection", "add", "opena", "--json")
    assert (done.returncode, done.error["code"]) == (3, "not-found")
    assert "openai" in done.error["hint"]
    assert "--base-url" in done.error["hint"]
    assert llmctl("connection", "add", "x", "--provider", "mystery").returncode == 3
    assert not os.path.exists(env["LLMCTL_DB"])


def test_any_host_is_reached_by_its_base_url(llmctl: Llmctl) -> None:
    with FakeServer() as server:
        llmctl("connection", "add", "work", "--base-url", server.url, "-m", "m1", "-o", "temperature=0", check=True)
        done = llmctl("chat", "-m", "work", "hello")
        assert done.returncode == 0, done.stderr
        assert server.requests[0].json["model"] == "m1"
        assert server.requests[0].json["temperature"] == 0
    assert shown(llmctl, "work")["provider"] == "work"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--base-url", f"https://user:{KEY}@host.example/v1"],
        ["--base-url", f"https://host.example/v1?key={KEY}"],
        ["--base-url", f"https://host.example/v1?api_key=secret{KEY}"],
        ["--header", f"Authorization=Bearer {KEY}"],
        ["--header", "X-Api-Key=plainsecret"],
        ["--header", f"X-Note={KEY}"],
        ["--option", f"api_key={KEY}"],
        ["--data", json.dumps({"key": KEY})],
        ["--data", json.dumps({"headers": {"Authorization": f"Bearer {KEY}"}})],
        ["--data", json.dumps({"extra": {"deep": KEY}})],
        ["--description", f"my key is {KEY}"],
        ["--model", KEY],
        ["--key-env", "A", "--data", json.dumps({"base_url": f"https://u:{KEY}@h.example"})],
        ["--key-env", KEY],
        ["--key-file", KEY],
        ["--key-keyring", KEY],
        ["--key-command", f"echo {KEY}"],
        ["--key-env", "plainsecret-0123"],
        ["--data", json.dumps({"key": f"env:{KEY}"})],
        ["--header", f"X-Org=env:{KEY}"],
        ["--header", "X-Client-Secret=plainsecret"],
        ["--option", "api_key=plainsecret"],
        ["--option", 'extra={"client_secret": "plainsecret"}'],
        ["--data", json.dumps({"options": {"accessToken": "x", "auth_token": "plainsecret"}})],
    ],
)
def test_secret_on_the_command_line_is_refused_and_not_repeated(
    llmctl: Llmctl, env: dict[str, str], arguments: list[Any]
) -> None:
    done = llmctl("connection", "add", "openai", *arguments)
    assert done.returncode == 2
    assert KEY not in done.stdout + done.stderr
    assert "plainsecret" not in done.stderr
    assert "hint:" in done.stderr
    assert not os.path.exists(env["LLMCTL_DB"])


def test_option_whose_name_merely_ends_like_a_secret_is_kept(llmctl: Llmctl) -> None:
    llmctl("connection", "add", "groq", "-o", "stop_token=###", "-o", "max_tokens=5", "--key-env", "K", check=True)
    assert shown(llmctl, "groq")["data"]["options"] == {"stop_token": "###", "max_tokens": 5}
    done = llmctl("model", "alias", "fast", "groq", "-o", "api_key=plainsecret")
    assert (done.returncode, "plainsecret" in done.stderr) == (2, False)


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        ("openai-chat", "/v1/chat/completions"),
        ("openai-chat", "/v1/chat/completions/"),
        ("openai-responses", "/v1/responses"),
        ("anthropic", "/v1/messages"),
        ("ollama", "/api/chat"),
        ("gemini", "/v1beta/models/m:generateContent"),
    ],
)
def test_base_url_with_the_path_of_a_call_is_not_doubled(llmctl: Llmctl, wire: str, path: str) -> None:
    url = f"http://127.0.0.1:9{path}?x=1"
    llmctl("connection", "add", "work", "--base-url", url, "--wire", wire, "-m", "m", check=True)
    shown_url = json.loads(llmctl("chat", "-m", "work", "--dry-run", "--json", "--no-stream", "hi", check=True).stdout)
    assert shown_url["url"].split("?")[0] == f"http://127.0.0.1:9{path.rstrip('/')}"


def test_bedrock_wants_the_url_of_its_region(llmctl: Llmctl) -> None:
    done = llmctl("connection", "add", "bedrock", "-m", "m")
    assert "such as https://bedrock-runtime.us-east-1.amazonaws.com" in done.stderr
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com"
    llmctl("connection", "edit", "bedrock", "--base-url", url, check=True)
    there = llmctl.with_env(AWS_BEARER_TOKEN_BEDROCK="token-0123456789")
    done = there("chat", "-m", "bedrock", "--dry-run", "--json", "hi", check=True)
    assert done.json["url"] == f"{url}/openai/v1/chat/completions"
    assert "authorization" in {name.lower() for name in done.json["headers"]}
    llmctl(
        "connection", "edit", "bedrock", "--base-url", "https://evil.execute-api.eu-west-1.amazonaws.com", check=True
    )
    done = there("chat", "-m", "bedrock", "--dry-run", "--json", "hi", check=True)
    assert "authorization" not in {name.lower() for name in done.json["headers"]}


def test_header_may_be_a_reference(llmctl: Llmctl, env: dict[str, str]) -> None:
    with FakeServer() as server:
        url = ["--base-url", server.url, "--model", "m"]
        llmctl(
            "connection", "add", "gate", *url, "--header", "X-Api-Key=env:GATE", "--header", "X-Team=blue", check=True
        )
        llmctl("chat", "-m", "gate", "hi", env=env | {"GATE": "gatesecret123"}, check=True)
        assert server.requests[0].headers["x-api-key"] == "gatesecret123"
        assert server.requests[0].headers["x-team"] == "blue"
    no_secret(env, "gatesecret123")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base-url", "not a url"], "invalid base URL"),
        (["--base-url", "ftp://host.example"], "https://"),
        (["--wire", "telepathy"], "no wire"),
        (["--type", "telepathy"], "telepathy"),
        (["--header", "no-equals"], "K=V"),
        (["--header", "bad name=x"], "invalid header name"),
        (["--header", "X=a\nb"], "does not allow"),
        (["--data", "{"], "not valid JSON"),
        (["--data", "[1]"], "JSON object"),
        (["--data", '{"headers": 1}'], "must be a JSON object"),
        (["--data", '{"key": "no reference"}'], "reference"),
    ],
)
def test_impossible_connection_is_an_error_before_anything_is_made(
    llmctl: Llmctl, env: dict[str, str], arguments: list[str], said: str
) -> None:
    done = llmctl("connection", "add", "openai", *arguments)
    assert done.returncode in (2, 4)
    assert said in done.stderr
    assert not os.path.exists(env["LLMCTL_DB"])


@pytest.mark.parametrize("name", ["a:b", "-x", "", " x", "a\tb", "bad name"])
def test_impossible_name_is_refused(llmctl: Llmctl, name: str) -> None:
    assert llmctl("connection", "add", "--provider", "openai", "--", name).returncode == 2


def test_name_that_is_taken_is_refused_before_a_key_is_stored(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("connection", "add", "groq", check=True)
    done = llmctl("connection", "add", "groq", "--key-stdin", input=KEY)
    assert done.returncode == 2
    assert "connection edit groq" in done.stderr
    assert not os.path.exists(f"{env['HOME']}/.local/share/llmctl/keys")


def test_key_of_one_provider_is_not_for_anothers_host(llmctl: Llmctl) -> None:
    done = llmctl("connection", "add", "groq", "--key-env", "OPENAI_API_KEY", "--json")
    assert (done.returncode, done.error["reason"]) == (4, "foreign_key")


def test_data_comes_from_a_file(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"query": {"api-version": "2025-01-01"}}')
    llmctl("connection", "add", "azure", "--base-url", "https://x.openai.azure.com", "--data", "@data.json", check=True)
    assert shown(llmctl, "azure")["data"]["query"] == {"api-version": "2025-01-01"}
    assert llmctl("connection", "edit", "azure", "--data", "@gone.json").returncode == 3


def test_list_is_for_terminals_and_programs(llmctl: Llmctl) -> None:
    llmctl("connection", "add", "groq", "--key-env", "K", "--default", check=True)
    lines = [line.split("\t") for line in llmctl("connection", "list").stdout.splitlines()]
    assert [line[0] for line in lines] == ["echo", "groq"]
    assert lines[1] == ["groq", "groq", "openai/gpt-oss-120b", "chat", "env:K", "true"]
    found = json.loads(llmctl("connection", "list", "--json").stdout)
    assert found[1]["references"] == {}
    assert found[1]["data"] == {"key": "env:K"}


def test_edit_changes_what_is_named_and_leaves_the_rest(llmctl: Llmctl) -> None:
    llmctl("connection", "add", "groq", "--key-env", "K", "-o", "a=1", "-o", "b=2", "--header", "X-T=t", check=True)
    llmctl(
        "connection", "edit", "groq", "--model", "m2", "-o", "a:=null", "-o", "c=[1]", "--header", "X-T=", check=True
    )
    found = shown(llmctl, "groq")
    assert found["model_id"] == "m2"
    assert found["data"] == {"key": "env:K", "options": {"b": 2, "c": [1]}}
    llmctl("connection", "edit", "groq", "--no-key", "--description", "quick", check=True)
    assert shown(llmctl, "groq")["data"] == {"options": {"b": 2, "c": [1]}}
    assert shown(llmctl, "groq")["description"] == "quick"


def test_edit_of_the_name_keeps_the_default(llmctl: Llmctl) -> None:
    llmctl("connection", "add", "groq", "--default", check=True)
    llmctl("connection", "edit", "groq", "--name", "quick", check=True)
    assert llmctl("connection", "default").stdout == "quick\n"
    assert llmctl("connection", "edit", "quick", "--name", "echo").returncode == 2


def test_default_is_chosen_shown_and_missed(llmctl: Llmctl) -> None:
    llmctl("init", "--no-detect", check=True)
    assert llmctl("connection", "default").returncode == 3
    llmctl("connection", "add", "groq", check=True)
    llmctl("connection", "add", "mistral", check=True)
    assert llmctl("connection", "default").stdout == "groq\n"
    assert llmctl("connection", "default", "mistral").stdout == "mistral\n"
    assert llmctl("connection", "default", "nobody").returncode == 3
    assert llmctl("settings", "get", "default_connection").stdout == "mistral\n"


def test_remove_keeps_chats_and_ledger_and_takes_its_key_along(llmctl: Llmctl, env: dict[str, str]) -> None:
    with FakeServer() as server:
        llmctl("connection", "add", "work", "--base-url", server.url, "-m", "m", "--key-stdin", input=KEY, check=True)
        llmctl("connection", "default", "work", check=True)
        llmctl("chat", "hello", check=True)
    key = key_path(llmctl, "work")
    assert os.path.exists(key)
    llmctl("connection", "remove", "work", check=True)
    assert not os.path.exists(key)
    assert query(env, "SELECT connection, status FROM requests") == [("work", "completed")]
    assert llmctl("chats", "list").stdout
    assert llmctl("connection", "remove", "work").returncode == 3
    assert llmctl("settings", "get", "default_connection").stdout == "\n"
    assert llmctl("chat", "again").returncode == 4


def add_with_key(llmctl: Llmctl, name: str, key: str) -> str:
    """Add a connection and return its key file."""
    url = ("--base-url", "http://localhost:9/v1", "--model", "m")
    llmctl("connection", "add", name, *url, "--key-stdin", input=key, check=True)
    return key_path(llmctl, name)


def test_two_hubs_do_not_share_a_key_file(llmctl: Llmctl, tmp_path: Path) -> None:
    one, two = (llmctl.with_env(LLMCTL_DB=str(tmp_path / name)) for name in ("one.db", "two.db"))
    first, second = add_with_key(one, "shared", "sk-one"), add_with_key(two, "shared", "sk-two")
    assert (Path(first).read_text(), Path(second).read_text()) == ("sk-one\n", "sk-two\n")
    two("connection", "remove", "shared", check=True)
    assert (os.path.exists(first), os.path.exists(second)) == (True, False)


def test_name_used_again_after_a_rename_gets_its_own_key_file(llmctl: Llmctl) -> None:
    first = add_with_key(llmctl, "work", "sk-first")
    llmctl("connection", "edit", "work", "--name", "old", check=True)
    second = add_with_key(llmctl, "work", "sk-second")
    assert key_path(llmctl, "old") == first
    assert (Path(first).read_text(), Path(second).read_text()) == ("sk-first\n", "sk-second\n")
    llmctl("connection", "remove", "work", check=True)
    assert (os.path.exists(first), os.path.exists(second)) == (True, False)


def test_copy_of_a_hub_neither_changes_nor_deletes_the_keys_of_the_original(llmctl: Llmctl, tmp_path: Path) -> None:
    path = add_with_key(llmctl, "work", "sk-first")
    shutil.copy(llmctl.env["LLMCTL_DB"], tmp_path / "copy.db")
    copy = llmctl.with_env(LLMCTL_DB=str(tmp_path / "copy.db"))
    assert key_path(copy, "work") == path
    copy("connection", "edit", "work", "--key-stdin", input="sk-second", check=True)
    assert Path(key_path(copy, "work")).read_text() == "sk-second\n"
    assert Path(path).read_text() == "sk-first\n"
    copy("connection", "edit", "work", "--key-file", path, check=True)
    done = copy("connection", "remove", "work", check=True)
    assert Path(path).read_text() == "sk-first\n"
    assert f'kept its key file "{path}"' in done.stderr


def test_key_file_of_two_connections_changes_and_goes_with_neither(llmctl: Llmctl) -> None:
    path = add_with_key(llmctl, "work", "sk-first")
    header = f"X-Key=file:{path}"
    llmctl("connection", "add", "other", "--base-url", "http://localhost:9/v1", "--header", header, check=True)
    llmctl("connection", "edit", "work", "--key-stdin", input="sk-second", check=True)
    assert Path(path).read_text() == "sk-first\n"
    assert Path(second := key_path(llmctl, "work")).read_text() == "sk-second\n"
    llmctl("connection", "edit", "work", "--key-env", "K", check=True)
    assert (os.path.exists(path), os.path.exists(second)) == (True, False)


def test_key_file_is_deleted_when_the_key_comes_from_elsewhere(llmctl: Llmctl) -> None:
    path = add_with_key(llmctl, "work", "sk-first")
    llmctl("connection", "edit", "work", "--key-stdin", input="sk-second", check=True)
    assert (key_path(llmctl, "work"), Path(path).read_text()) == (path, "sk-second\n")
    llmctl("connection", "edit", "work", "--key-env", "K", check=True)
    assert not os.path.exists(path)


def test_key_file_of_an_older_version_is_used_and_left_alone(llmctl: Llmctl, env: dict[str, str]) -> None:
    old = Path(env["HOME"], ".local/share/llmctl/keys/work")
    old.parent.mkdir(parents=True)
    old.write_text("sk-old\n")
    llmctl("connection", "add", "work", "--base-url", "http://localhost:9/v1", "--key-file", str(old), check=True)
    assert shown(llmctl, "work")["key_found"] is True
    llmctl("connection", "edit", "work", "--key-stdin", input="sk-new", check=True)
    llmctl("connection", "edit", "work", "--key-file", str(old), check=True)
    llmctl("connection", "remove", "work", check=True)
    assert old.read_text() == "sk-old\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_key_from_stdin_is_kept_without_a_byte_order_mark(llmctl: Llmctl, encoding: str) -> None:
    url = ("--base-url", "http://localhost:9/v1")
    llmctl("connection", "add", "work", *url, "--key-stdin", input="sk-first\r\n".encode(encoding), check=True)
    assert Path(key_path(llmctl, "work")).read_bytes() == b"sk-first\n"


def test_remove_leaves_a_key_file_of_the_users_alone(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "my.key").write_text(KEY)
    llmctl("connection", "add", "groq", "--key-file", "my.key", check=True)
    llmctl("connection", "remove", "groq", check=True)
    assert (tmp_path / "my.key").exists()


def test_test_reports_what_works_with_one_request(llmctl: Llmctl, env: dict[str, str]) -> None:
    with FakeServer() as server:
        server.answer(reply(MODELS))
        llmctl("connection", "add", "work", "--base-url", server.url, "-m", "gpt-5", "--key-env", "K", check=True)
        done = llmctl("connection", "test", "work", "--json", env=env | {"K": KEY})
        assert done.returncode == 0, done.stderr
        assert [(r.method, r.path, r.headers["authorization"]) for r in server.requests] == [
            ("GET", "/v1/models", f"Bearer {KEY}")
        ]
    found = json.loads(done.stdout)
    assert (found["connection"], found["status_code"], found["models"], found["key"]) == ("work", 200, 2, "env:K")
    assert query(env, "SELECT method, status, status_code, request_id FROM network_calls") == [
        ("GET", "success", 200, None)
    ]
    no_secret(env, KEY)


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (reply({"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, 401), 4, "auth"),
        (reply({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, 429), 7, "quota"),
        (reply({"data": [{"id": "gpt-4"}, {"id": "gpt-5-mini"}]}), 3, "model_not_found"),
        (reply(b"<html>Sign in</html>"), 6, "not_json"),
        (reply({"error": {"message": "overloaded"}}, 503), 6, None),
    ],
)
def test_connection_test_distinguishes_failures(llmctl: Llmctl, answer: Any, code: int, reason: str | None) -> None:
    with FakeServer() as server:
        server.answer(answer)
        llmctl("connection", "add", "work", "--base-url", server.url, "-m", "gpt-5", check=True)
        done = llmctl("connection", "test", "work", "--json")
    assert done.returncode == code, done.stderr
    if reason:
        assert done.error["reason"] == reason


def test_test_of_a_host_that_is_not_there_is_unavailable(llmctl: Llmctl, env: dict[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    llmctl("connection", "add", "work", "--base-url", f"http://127.0.0.1:{port}/v1", "-m", "m", check=True)
    done = llmctl("connection", "test", "work", "--json")
    assert (done.returncode, done.error["code"]) == (6, "unavailable")
    assert query(env, "SELECT status FROM network_calls") == [("error",)]


def test_test_without_the_key_is_a_config_error(llmctl: Llmctl) -> None:
    llmctl("connection", "add", "openai", "--key-env", "NOT_SET", check=True)
    done = llmctl("connection", "test", "openai", "--json")
    assert (done.returncode, done.error["reason"]) == (4, "no_key")


def test_echo_always_works(llmctl: Llmctl) -> None:
    llmctl("init", "--no-detect", check=True)
    assert json.loads(llmctl("connection", "test", "echo", "--json").stdout)["models"] == 1
    assert llmctl("connection", "models", "echo").stdout.startswith("echo\t")


def test_models_are_the_hosts_own(llmctl: Llmctl) -> None:
    with FakeServer() as server:
        server.answer(reply(MODELS), reply(MODELS))
        llmctl("connection", "add", "work", "--base-url", server.url, "--default", check=True)
        assert [line.split("\t")[0] for line in llmctl("connection", "models").stdout.splitlines()] == [
            "gpt-5",
            "text-embed",
        ]
        assert json.loads(llmctl("connection", "models", "work", "--json").stdout)[1]["context_tokens"] == 8192


def test_connection_without_a_model_says_how_to_choose_one(llmctl: Llmctl) -> None:
    done = llmctl("connection", "add", "ollama")
    assert "llmctl connection models ollama" in done.stderr


def test_quiet_says_the_id_alone(llmctl: Llmctl) -> None:
    done = llmctl("connection", "add", "groq", "--quiet")
    assert done.stderr == ""
    assert done.stdout.strip() == shown(llmctl, "groq")["id"]


def test_key_is_asked_for_unseen_on_a_terminal(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    command = [*LLMCTL, "connection", "add", "openai", "--no-test"]
    code, screen = run_on_terminal(command, env, [(":", KEY.encode() + b"\n")], tmp_path)
    assert code == 0
    assert "Key of openai" in screen.partition("|")[0]
    assert KEY not in screen
    assert Path(key_path(llmctl, "openai")).read_text().strip() == KEY
    assert shown(llmctl, "openai")["key_found"] is True


def test_echo_stays_offline_when_its_connection_is_removed(llmctl: Llmctl) -> None:
    assert llmctl("connection", "add", "openai", "--key-env", "NO_SUCH_KEY", "--default").returncode == 0
    assert llmctl("connection", "remove", "echo").returncode == 0
    done = llmctl("chat", "-m", "echo", "hi")
    assert (done.returncode, done.stdout) == (0, "hi\n")


@pytest.mark.parametrize("type", ["CHAT", "Image", "embedding"])
def test_type_is_taken_in_any_case(llmctl: Llmctl, type: str) -> None:
    llmctl(
        "connection", "add", "x", "--provider", "openai", "--model", "m", "--type", type, "--key-env", "K", check=True
    )
    assert llmctl("connection", "show", "x", "--json", check=True).json["type"] == type.lower()


def test_edit_without_changes_says_so(llmctl: Llmctl) -> None:
    llmctl("connection", "add", "groq", check=True)
    done = llmctl("connection", "edit", "groq")
    assert (done.returncode, "nothing to change" in done.stderr) == (2, True)


def test_chat_of_another_program_uses_the_connection_to_its_provider(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "hi", check=True)
    query(env, "UPDATE chats SET source_id = NULL, provider = 'OPENAI', model = 'gpt-4o', settings = '{}'")
    assert "llmctl connection add openai --key-stdin" in llmctl("chat", "--name", "x", "more").stderr
    with FakeServer() as server:
        url = ("--provider", "openai", "--base-url", server.url, "--key-env", "K")
        llmctl("connection", "add", "work", *url, check=True)
        there = llmctl.with_env(K="key-0123456789")
        there("chat", "--name", "x", "more", check=True)
        assert server.requests[0].json["model"] == "gpt-4o"


# --- asked for on a terminal, and tried before it is stored


CATALOG = {"object": "list", "data": [{"id": id} for id in ("gpt-5", "gpt-5-nano", "o4\x1b[2J", "text-embedding-3")]}
ADD = [*LLMCTL, "connection", "add"]


def test_terminal_asks_for_everything(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    with FakeServer() as server:
        server.answer(reply({"error": {"message": "Incorrect API key"}}, 401), reply(CATALOG))
        answers = [
            ("[stop]:", b"open\n"),  # fits two
            ("[stop]:", b"openai\n"),
            ("[openai]:", b"bad name\n"),
            ("[openai]:", b"work\n"),
            ("none):", b"sk-wrong-0123456789\n"),
            ("s: stop [k]:", b"k\n"),
            ("none):", KEY.encode() + b"\n"),
            ("[gpt-5]:", b"nano\n"),
            ("[y]:", b"\n"),
        ]
        code, screen = run_on_terminal(ADD, env | {"OPENAI_API_BASE": server.url}, answers, tmp_path)
    assert code == 0, screen
    assert 'invalid connection name "bad name"' in screen
    assert '"open" fits openai, openrouter' in screen
    assert "Incorrect API key" in screen
    assert "it works: 4 models" in screen
    assert "\x1b[2J" not in screen
    assert "sk-" not in screen
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer sk-wrong-0123456789",
        f"Bearer {KEY}",
    ]
    added = shown(llmctl, "work")
    assert (added["provider"], added["model_id"], added["is_default"]) == ("openai", "gpt-5-nano", True)
    assert Path(key_path(llmctl, "work")).read_text().strip() == KEY
    assert query(env, "SELECT count(*) FROM network_calls") == [(0,)]


def test_every_step_can_be_skipped(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    answers = [
        ("[stop]:", b"azure\n"),
        ("[decide later]:", b"\n"),
        ("[azure]:", b"\n"),
        ("none):", b"\n"),
        ("[y]:", b"n\n"),
    ]
    code, screen = run_on_terminal(ADD, env, answers, tmp_path)
    assert code == 0, screen
    assert shown(llmctl, "azure")["key_found"] is not True


@pytest.mark.parametrize(("end", "code"), [(b"\x03", -2), (b"\x04", 10), (b"s\n", 10)])
def test_stopping_leaves_nothing(llmctl: Llmctl, env: dict[str, str], tmp_path: Path, end: bytes, code: int) -> None:
    with FakeServer() as server:
        server.answer(reply({"error": {"message": "Incorrect API key"}}, 401))
        answers = [("[stop]:", b"openai\n"), ("[openai]:", b"\n"), ("none):", KEY.encode() + b"\n"), ("stop [k]:", end)]
        assert run_on_terminal(ADD, env | {"OPENAI_API_BASE": server.url}, answers, tmp_path)[0] == code
    assert query(env, "SELECT name FROM model_connections") == [("echo",)]
    assert not list(Path(env["HOME"]).rglob("keys"))


def test_name_alone_is_tried_on_a_terminal(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    with FakeServer() as server:
        server.answer(reply({"error": {"message": "Incorrect API key"}}, 401), reply(CATALOG))
        there = env | {"OPENAI_API_BASE": server.url}
        answers = [("none):", KEY.encode() + b"\n"), ("stop [k]:", b"a\n")]
        code, screen = run_on_terminal([*ADD, "openai"], there, answers, tmp_path)
        assert (code, "Incorrect API key" in screen) == (0, True)
        flags = ("--provider", "openai", "--key-stdin", "--test")
        llmctl("connection", "add", "second", *flags, input=KEY, env=there, check=True)
        server.answer(reply({"error": {"message": "Incorrect API key"}}, 401))
        done = llmctl("connection", "add", "third", *flags, input=KEY, env=there)
        assert (done.returncode, done.stdout) == (4, "")
    assert query(env, "SELECT name FROM model_connections ORDER BY rowid") == [("echo",), ("openai",), ("second",)]


def test_pipe_is_asked_nothing(llmctl: Llmctl) -> None:
    done = llmctl("connection", "add")
    assert (done.returncode, done.stdout) == (2, "")
    assert "missing argument NAME" in done.stderr
    for name in ("bad name", "a:b", "-x", "tab\tname"):
        done = llmctl("connection", "add", "--", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert "invalid connection name" in done.stderr


def test_help_names_every_provider(llmctl: Llmctl) -> None:
    text = " ".join(llmctl("connection", "add", "--help").stdout.split())
    listed = text.partition("Providers: ")[2].partition("(any")[0].replace(",", " ").split()
    assert {*listed, "echo"} == set(PROVIDERS.names())


def test_hints_name_the_connection_that_they_are_about(llmctl: Llmctl, env: dict[str, str]) -> None:
    with FakeServer() as server:
        url = ("--base-url", server.url, "--key-env", "WORK_KEY")
        llmctl("connection", "add", "my-work", *url, "-m", "gpt-5", check=True)
        done = llmctl("chat", "-m", "my-work", "hi", env=env)
        assert "llmctl connection edit my-work --key-stdin" in done.stderr
        there = env | {"WORK_KEY": KEY}
        for command in (("chat", "-m", "my-work", "hi"), ("connection", "test", "my-work")):
            server.answer(reply({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}, 401))
            done = llmctl(*command, env=there)
            assert done.returncode == 4
            assert "llmctl connection edit my-work --key-env VARIABLE" in done.stderr
    llmctl("connection", "add", "cloud", "--provider", "azure", "--key-env", "K", check=True)
    assert "llmctl connection edit cloud --base-url URL" in llmctl("chat", "-m", "cloud", "hi").stderr


def test_time_limit_names_itself_and_its_flag(llmctl: Llmctl) -> None:
    done = llmctl("chat", "-m", "echo", "-o", "delay=5000", "--timeout", "0.2", "--retries", "0", "one two three")
    assert (done.returncode, "no answer within 0.2 s" in done.stderr) == (6, True), done.stderr
    assert "--timeout" in done.stderr
    done = llmctl("chat", "--name", "nosuch")
    assert 'no prompt, and there is no chat "nosuch" yet' in done.stderr
