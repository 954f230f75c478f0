"""Files made to hurt whoever imports them: each row is one that no llmctl would write.

Witnesses: a server that must not be reached, and a file that must not be made.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.engine.billing.cost import price_list_version
from tests.cli.test_trust import SECRET
from tests.fakes.openai_server import FakeServer
from tests.harness import Result, query, require_failure, run_in_process

TIME = "2030-01-01T00:00:00.000+00:00"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def server(shared_server: FakeServer) -> FakeServer:
    shared_server.requests.clear()
    return shared_server


@pytest.fixture
def victim(env: dict[str, str]) -> dict[str, str]:
    """The environment of a user with a key and a hub in use."""
    mine = {**env, "OPENAI_API_KEY": SECRET, "LLMCTL_NO_STDIN": "1"}
    assert run_in_process("chat", "-m", "echo", "--name", "mine", "hi", env=mine).returncode == 0
    return mine


def receive(victim: dict[str, str], tmp_path: Path, *rows: tuple[str, dict[str, Any]]) -> Result:
    """Import a file with these rows."""
    lines: list[dict[str, Any]] = [{"format": "llmctl", "version": 1, "schema": 3, "fields": {}}]
    for table, row in rows:
        times = {"created_at": TIME, "updated_at": TIME}
        lines.append({"table": table, "row": {"id": f"theirs-{len(lines)}", "references": {}, **times, **row}})
    file = tmp_path / "hostile.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_in_process("import", str(file), env=victim)


def connection(name: str, provider: str, data: Any) -> tuple[str, dict[str, Any]]:
    columns = {"id": f"c-{name}", "name": name, "provider": provider, "model_id": "m", "type": "chat", "data": data}
    return "model_connections", columns


@pytest.mark.parametrize("provider", ["echo", "ECHO", "Echo"])
@pytest.mark.parametrize("wire", [None, "openai-chat"])
def test_connection_to_echo_reaches_nobody_and_runs_nothing(
    provider: str, wire: str | None, victim: dict[str, str], server: FakeServer, tmp_path: Path
) -> None:
    """It needs no trust, since it sends nothing: whatever else the file says of it."""
    witness = tmp_path / "witness"
    touch = f"command:touch {witness}; echo k"
    for name, data in (
        ("key", {"base_url": server.url, "wire": wire, "key": touch}),
        ("variable", {"base_url": server.url, "wire": wire, "key": "env:OPENAI_API_KEY"}),
        ("header", {"base_url": server.url, "wire": wire, "headers": {"X": touch}}),
        ("query", {"wire": wire, "query": {"key": touch}}),
    ):
        receive(victim, tmp_path, connection(f"the-{name}", provider, data))
        for arguments in (["chat", "-m", f"the-{name}", "hi"], ["connection", "test", f"the-{name}"], ["doctor"]):
            run_in_process(*arguments, env=victim)
        for arguments in (["embed", "--connection", f"the-{name}", "text"], ["connection", "models", f"the-{name}"]):
            run_in_process(*arguments, env=victim)
        done = run_in_process("chat", "-m", f"the-{name}", "hello", env=victim)
        assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert server.requests == []
    assert not witness.exists()


def test_connection_with_data_of_a_wrong_type_is_told(victim: dict[str, str], tmp_path: Path) -> None:
    odd = [{"headers": ["a"]}, {"headers": {"X": 7}}, {"base_url": 7}, {"key": 7}, {"wire": 9}, {"options": [1]}]
    receive(victim, tmp_path, *(connection(f"odd-{place}", "groq", data) for place, data in enumerate(odd)))
    for place in range(len(odd)):
        for arguments in (["chat", "-m", f"odd-{place}", "hi"], ["connection", "test", f"odd-{place}"]):
            done = run_in_process(*arguments, env=victim)
            assert done.returncode == 4, done.stderr
            assert f'connection "odd-{place}" cannot be used' in done.stderr
        assert run_in_process("connection", "show", f"odd-{place}", env=victim).returncode == 0
    assert run_in_process("doctor", "--json", env=victim).returncode != 1
    assert run_in_process("connection", "list", env=victim).returncode == 0


def test_chat_of_a_file_is_not_what_continue_takes(victim: dict[str, str], tmp_path: Path) -> None:
    """Not even if the file knows the folder, and says that the chat is from here."""
    for terminal in (True, False):
        chat: dict[str, Any] = {
            "name": f"theirs-{terminal}",
            "type": "chatModel",
            "source_id": "c-e",
            "model": "echo",
            "settings": {},
        }
        place: dict[str, Any] = {
            "last_turn_at": TIME,
            "last_turn_folder": str(Path.cwd()),
            "last_turn_terminal": terminal,
        }
        chat = {**chat, **place, "id": f"chat-{terminal}", "origin": "llmctl"}
        receive(victim, tmp_path, connection("e", "echo", {}), ("chats", chat))
    done = run_in_process("chat", "-c", "again", env=victim)
    assert done.returncode == 0, done.stderr
    assert 'continuing "mine"' in done.stderr


def test_command_of_an_imported_job_is_not_run_again(victim: dict[str, str], tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    payload = {"command": ["touch", str(witness)], "folder": None, "timeout": None, "once_per": None}
    done = receive(
        victim,
        tmp_path,
        ("jobs", {"id": "job-1234", "name": "digest", "type": "command", "status": "failed", "payload": payload}),
    )
    assert done.returncode == 0, done.stderr
    done = run_in_process("job", "retry", "job-1234", env=victim)
    assert "llmctl job run --name digest -- touch" in require_failure(done, 4)
    assert not witness.exists()


def test_newer_row_of_an_own_job_does_not_change_its_command(victim: dict[str, str], tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    assert run_in_process("job", "run", "--name", "nightly", "--", "false", env=victim).returncode == 1
    [(job,)] = query(victim, "SELECT id FROM jobs WHERE name = 'nightly'")
    payload = {"command": ["touch", str(witness)]}
    row = {"id": job, "name": "nightly", "type": "command", "status": "failed", "payload": payload}
    receive(victim, tmp_path, ("jobs", row))
    run_in_process("job", "retry", job, env=victim)
    assert not witness.exists()


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "gpt-5", "groq", "openai:gpt-5", "gpt-9-of-tomorrow"])
def test_alias_of_a_file_does_not_redirect_a_model(name: str, victim: dict[str, str], tmp_path: Path) -> None:
    done = receive(victim, tmp_path, ("model_aliases", {"name": name, "target": "echo:x", "options": {}}))
    assert f'alias "{name}" is left out' in done.stderr
    assert run_in_process("chat", "-m", name, "hi", "--dry-run", "--json", env=victim).stdout.count("echo") == 0


def test_alias_of_a_file_with_a_name_of_its_own_comes(victim: dict[str, str], tmp_path: Path) -> None:
    receive(victim, tmp_path, ("model_aliases", {"name": "fast", "target": "echo:x", "options": {}}))
    assert run_in_process("chat", "-m", "fast", "hi", env=victim).stdout == "hi\n"


def test_older_connection_of_a_file_does_not_become_the_default(env: dict[str, str], tmp_path: Path) -> None:
    """It needs no trust: it names a vendor's own host, for which the user has a key."""
    mine = {**env, "ANTHROPIC_API_KEY": "sk-ant-000000000000000", "LLMCTL_NO_STDIN": "1"}
    assert run_in_process("chat", "-m", "echo", "hi", env=mine).returncode == 0
    table, row = connection("theirs", "openai", {"key": "env:OPENAI_API_KEY"})
    receive(mine, tmp_path, (table, {**row, "created_at": "2020-01-01T00:00:00.000+00:00"}))
    done = run_in_process("chat", "--dry-run", "--json", "hi", env={**mine, "OPENAI_API_KEY": SECRET})
    assert done.json["url"].startswith("https://api.anthropic.com/")


def test_settings_of_a_file_do_not_replace_those_of_this_hub(victim: dict[str, str], tmp_path: Path) -> None:
    """Whoever once got an export of everything knows the id of the row."""
    assert run_in_process("settings", "set", "budget.day", "1", env=victim).returncode == 0
    [(id,)] = query(victim, "SELECT id FROM user_settings")
    done = receive(victim, tmp_path, ("user_settings", {"id": id, "settings": {}, "theme": "dark"}))
    assert "settings are kept as they are here" in done.stderr
    assert run_in_process("settings", "get", "budget.day", env=victim).stdout.strip() == "1"


def test_trust_question_shows_options_that_name_servers(victim: dict[str, str], tmp_path: Path) -> None:
    data = {"options": {"tools": [{"type": "mcp", "server_url": "https://theirs.example"}]}}
    receive(victim, tmp_path, connection("hosted", "openai", data))
    assert "https://theirs.example" in require_failure(run_in_process("chat", "-m", "hosted", "hi", env=victim), 4)


def test_detached_turn_on_an_untrusted_connection_is_refused_at_once(
    victim: dict[str, str], server: FakeServer, tmp_path: Path
) -> None:
    """Before there is a job: through chat, a chat of the file, an agent and a prompt file."""
    agent = {"id": "agent-1", "name": "clerk", "chat_model_id": "c-shop", "options": {}, "settings": {}}
    chat = {"id": "chat-1", "name": "theirs", "type": "chatModel", "source_id": "c-shop", "model": "m", "settings": {}}
    shop = connection("shop", "groq", {"base_url": server.url, "key": "env:OPENAI_API_KEY"})
    receive(victim, tmp_path, shop, ("agents", agent), ("chats", chat))
    file = tmp_path / "file.toml"
    file.write_text('prompt = "hi"\nmodel = "shop"\n')
    jobs = query(victim, "SELECT count(*) FROM jobs")
    for arguments in (
        *(["chat", "-m", "shop", "hi"], ["chat", "--chat", "theirs", "hi"]),
        *(["agent", "run", "clerk", "hi"], ["run", str(file)]),
    ):
        assert "is not trusted here" in require_failure(run_in_process(*arguments, "--detach", env=victim), 4)
    assert query(victim, "SELECT count(*) FROM jobs") == jobs
    assert server.requests == []


def test_curl_command_of_an_imported_request_runs_nothing_else(victim: dict[str, str], tmp_path: Path) -> None:
    """The name of the key's variable stands in double quotes, where a shell would run what it holds."""
    evil = 'X"; touch PWNED; "$(touch PWNED)'
    shop = connection("shop", "groq", {"base_url": "http://127.0.0.1:1/v1", "key": f"env:{evil}"})
    receive(victim, tmp_path, shop)
    row = {"provider": "groq", "model": "m", "connection": "shop", "status": "completed"}
    headers = {"Authorization": "[redacted]", f"X-Key-{evil}": "[redacted]"}
    url = "http://127.0.0.1:1/v1/chat/completions"
    call = {"request_id": "r-theirs", "attempt": 1, "method": "PUT; touch PWNED", "endpoint": url, "status": "success"}
    call |= {"request_headers": headers, "body": "{}"}
    receive(victim, tmp_path, ("requests", {"id": "r-theirs", **row}), ("network_calls", call))
    done = run_in_process("request", "curl", "r-theirs", env=victim)
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout.replace("\\\n", " "))
    assert "touch" not in words
    assert "Authorization: Bearer $GROQ_API_KEY" in words


# --- prices and limits


def price(source: str, rate: float) -> tuple[str, dict[str, Any]]:
    columns = {"provider": "openai", "model": "gpt-4o", "source": source, "valid_from": "2020-01-01T00:00:00.000+00:00"}
    return "model_prices", {**columns, "input_per_million": rate, "output_per_million": rate, "details": {}}


def ask_limited(env: dict[str, str], server: FakeServer) -> Result:
    """Ask a model with a price in the list for more than the limit allows."""
    where = ("--provider", "openai", "--base-url", server.url, "--model", "gpt-4o")
    run_in_process("connection", "add", "own", *where, "--key-env", "MY_KEY", env=env)
    return run_in_process("chat", "-m", "own", "--max-cost", "0.000001", "hi", env={**env, "MY_KEY": "k"})


@pytest.mark.parametrize("source", ["user", "list"])
def test_price_of_a_file_does_not_lower_what_a_limit_counts(
    source: str, victim: dict[str, str], server: FakeServer, tmp_path: Path
) -> None:
    done = receive(victim, tmp_path, price(price_list_version() or "" if source == "list" else source, 0.0))
    assert ("llmctl model price openai:gpt-4o --set input=0 --set output=0" in done.stderr) is (source == "user")
    require_failure(ask_limited(victim, server), 7)
    assert server.requests == []


@pytest.mark.parametrize("source", ["user", "list"])
def test_price_in_a_hub_of_someone_else_does_not_lower_what_a_limit_counts(
    source: str, env: dict[str, str], server: FakeServer, tmp_path: Path
) -> None:
    theirs = {**env, "HOME": str(tmp_path / "theirs"), "LLMCTL_NO_STDIN": "1"}
    assert run_in_process("chat", "-m", "echo", "hi", env=theirs).returncode == 0
    assert run_in_process("model", "price", "openai:gpt-4o", "--set", "input=0", "--set", "output=0", env=theirs)
    if source == "list":
        with closing(sqlite3.connect(env["LLMCTL_DB"])) as connection, connection:
            connection.execute("UPDATE model_prices SET source = ?", (price_list_version(),))
            connection.execute("UPDATE model_prices SET input_per_million = 0, output_per_million = 0")
    require_failure(ask_limited({**env, "LLMCTL_NO_STDIN": "1"}, server), 7)
    assert server.requests == []


@pytest.mark.parametrize("column", ["cost", "reserved_cost"])
def test_requests_of_a_file_do_not_widen_a_limit(column: str, victim: dict[str, str], tmp_path: Path) -> None:
    columns = {"provider": "openai", "model": "gpt-4o", "status": "completed", column: -1000.0, "origin": "llmctl"}
    receive(victim, tmp_path, ("requests", columns))
    [(value,)] = query(victim, f"SELECT coalesce(sum({column}), 0) FROM requests")
    assert value == 0
