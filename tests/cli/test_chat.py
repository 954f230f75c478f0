"""``llmctl chat`` on the command line, on echo: flags, what is kept, what is sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Llmctl, query


def sent(run: Llmctl, *arguments: str, **more: Any) -> dict[str, Any]:
    """Return the body of the request that the command would send."""
    done = run("chat", "-m", "echo", "--dry-run", "--json", *arguments, **more)
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)["body"]
    return body


def test_answer_alone_is_on_stdout(llmctl: Llmctl) -> None:
    done = llmctl("chat", "-m", "echo", "hello", "there")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello there\n", "")


def test_stdin_follows_the_prompt_after_a_blank_line(llmctl: Llmctl) -> None:
    body = sent(llmctl, "review this", input="a diff\n")
    assert body["messages"] == [{"role": "user", "content": "review this\n\na diff"}]


def test_json_holds_every_documented_field(llmctl: Llmctl) -> None:
    found = json.loads(llmctl("chat", "-m", "echo", "--json", "one two").stdout)
    assert set(found) >= {
        *("chat_id", "thread_id", "message_id", "request_id", "session_id", "status", "content", "thinking", "data"),
        *("tool_calls", "provider", "model", "connection", "finish_reason", "usage", "cost", "duration_ms"),
        *("time_to_first_token_ms", "steps"),
    }
    assert (found["content"], found["status"], found["finish_reason"]) == ("one two", "completed", "stop")
    assert found["usage"]["input_tokens"] == found["usage"]["output_tokens"] == 2
    assert found["usage"]["total_tokens"] == 4
    assert found["cost"] == 0
    assert found["duration_ms"] > 0


def test_jsonl_streams_events_and_ends_with_the_object(llmctl: Llmctl) -> None:
    lines = [json.loads(line) for line in llmctl("chat", "-m", "echo", "--jsonl", "one two").stdout.splitlines()]
    assert [line["type"] for line in lines] == ["start", "text", "text", "done"]
    assert "".join(line["text"] for line in lines if line["type"] == "text") == lines[-1]["content"] == "one two"
    assert lines[0]["request_id"] == lines[-1]["request_id"]


def test_system_prompt_is_sent_first_and_again_on_every_turn(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-s", "be brief", "one", check=True)
    roles = [(message["role"], message["content"]) for message in sent(llmctl, "--name", "x", "two")["messages"]]
    assert roles == [("system", "be brief"), ("user", "one"), ("assistant", "one"), ("user", "two")]


def test_new_system_prompt_is_a_new_row_and_the_last_one_is_sent(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-s", "old", "one", check=True)
    llmctl("chat", "--name", "x", "-s", "new", "two", check=True)
    assert query(env, "SELECT content FROM messages WHERE role = 'system' ORDER BY seq") == [("old",), ("new",)]
    systems = [m["content"] for m in sent(llmctl, "--name", "x", "three")["messages"] if m["role"] == "system"]
    assert systems == ["new"]


def test_chat_keeps_model_and_options_of_its_first_turn(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-o", "temperature=0.5", "one", check=True)
    done = llmctl("chat", "--name", "x", "--dry-run", "--json", "two")
    body = json.loads(done.stdout)["body"]
    assert (body["model"], body["temperature"]) == ("echo", 0.5)


def test_later_flag_holds_for_that_turn_alone(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-o", "temperature=0.5", "one", check=True)
    assert sent(llmctl, "--name", "x", "-o", "temperature=1", "two")["temperature"] == 1
    llmctl("chat", "--name", "x", "-o", "temperature=1", "two", check=True)
    assert sent(llmctl, "--name", "x", "three")["temperature"] == 0.5


def test_null_option_takes_back_what_the_chat_keeps(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-o", "temperature=0.5", "one", check=True)
    assert "temperature" not in sent(llmctl, "--name", "x", "-o", "temperature=null", "two")


def test_history_drops_whole_oldest_turns_and_says_so(llmctl: Llmctl) -> None:
    for word in ("one", "two", "three"):
        llmctl("chat", "-m", "echo", "--name", "x", "-s", "brief", word, check=True)
    body = sent(llmctl, "--name", "x", "--history", "1", "four")
    assert [m["content"] for m in body["messages"]] == ["brief", "three", "three", "four"]
    done = llmctl("chat", "--name", "x", "--history", "1", "four")
    assert "left out the oldest 2 turns" in done.stderr


def test_continue_uses_the_newest_chat_of_this_folder(llmctl: Llmctl, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    llmctl("chat", "-m", "echo", "--name", "a", "first", cwd=here, check=True)
    llmctl("chat", "-m", "echo", "--name", "b", "second", cwd=there, check=True)
    done = llmctl("chat", "-c", "--json", "again", cwd=here)
    assert 'continuing "a", 1 turn' in done.stderr
    assert json.loads(done.stdout)["usage"]["input_tokens"] == 3


def test_continue_without_a_chat_in_this_folder_names_the_newest_other(llmctl: Llmctl, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    llmctl("chat", "-m", "echo", "--name", "b", "second", check=True)
    done = llmctl("chat", "-c", "again", cwd=here)
    assert done.returncode == 3
    assert "--chat b" in done.stderr


def test_chat_variable_serves_a_whole_shell(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "one", check=True)
    llmctl("chat", "two", env=env | {"LLMCTL_CHAT": "x"}, check=True)
    assert query(env, "SELECT count(*) FROM chats") == [(1,)]
    assert llmctl("chat", "two", env=env | {"LLMCTL_CHAT": "gone"}).returncode == 3


def test_unlogged_turn_leaves_numbers_and_no_text(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    done = llmctl("chat", "-m", "echo", "-n", "--json", "a secret word")
    assert json.loads(done.stdout)["content"] == "a secret word"
    assert query(env, "SELECT status, input_tokens, output_tokens FROM requests") == [("completed", 3, 3)]
    assert query(env, "SELECT sum(requests), sum(output_tokens) FROM usage_hourly") == [(1, 3)]
    for table in ("chats", "messages", "network_calls", "response_streams"):
        assert query(env, f"SELECT count(*) FROM {table}") == [(0,)], table
    assert b"secret" not in b"".join(path.read_bytes() for path in Path(env["LLMCTL_DB"]).parent.glob("hub.db*"))


def test_unlogged_turn_may_use_the_history_of_a_chat(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "one", check=True)
    done = llmctl("chat", "--name", "x", "-n", "--json", "two")
    assert json.loads(done.stdout)["usage"]["input_tokens"] == 3
    assert query(env, "SELECT count(*) FROM messages") == [(2,)]


@pytest.mark.parametrize(
    ("kind", "table"), [("streams", "response_streams"), ("network", "network_calls"), ("requests", "requests")]
)
def test_unpersisted_rows_go_with_the_finish_and_usage_stays(
    llmctl: Llmctl, env: dict[str, str], kind: str, table: str
) -> None:
    llmctl("chat", "-m", "echo", "--no-persist", kind, "one two", check=True)
    assert query(env, f"SELECT count(*) FROM {table}") == [(0,)]
    assert query(env, "SELECT content FROM messages WHERE role = 'assistant'") == [("one two",)]
    assert query(env, "SELECT sum(requests), sum(output_tokens) FROM usage_hourly") == [(1, 2)]


def test_unpersisted_tool_calls_go_with_the_turn(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--no-persist", "tool-calls", "-o", "tool=weather {}", "hi", check=True)
    assert query(env, "SELECT count(*) FROM tool_invocations") == [(0,)]
    assert query(env, "SELECT count(*) FROM messages") == [(4,)]


def test_rollback_removes_the_broken_answer_and_the_stream_keeps_it(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "-m", "echo", "--rollback", "-o", "cut=2", "one two three")
    assert (done.returncode, done.stdout) == (12, "one two\n")
    assert query(env, "SELECT role FROM messages") == [("user",)]
    assert "two" in query(env, "SELECT gunzip(coalesce(raw_output_gz, raw_output)) FROM response_streams")[0][0]


def test_retries_are_rows_and_are_announced(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "-m", "echo", "-o", "fail=500", "-o", "fail_times=2", "hi")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert done.stderr.count("retrying in") == 2
    calls = query(env, "SELECT attempt, status, status_code, duration > 0 FROM network_calls ORDER BY attempt")
    assert calls == [(1, "error", 500, 1), (2, "error", 500, 1), (3, "success", 200, 1)]
    assert query(env, "SELECT count(*), max(status) FROM requests") == [(1, "completed")]


def test_no_retry_once_something_was_shown(llmctl: Llmctl, env: dict[str, str]) -> None:
    assert llmctl("chat", "-m", "echo", "-o", "cut=1", "one two").returncode == 12
    assert query(env, "SELECT count(*) FROM network_calls") == [(1,)]


def test_timeout_bounds_the_whole_turn(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "-m", "echo", "--timeout", "0.3", "-o", "stall=30", "-o", "after=1", "one two")
    assert (done.returncode, done.stdout) == (12, "one\n")
    assert query(env, "SELECT error_reason FROM requests") == [("timeout",)]


def test_length_is_incomplete_unless_a_limit_was_given(llmctl: Llmctl) -> None:
    assert llmctl("chat", "-m", "echo", "-o", "length=1", "one two").returncode == 12
    done = llmctl("chat", "-m", "echo", "-o", "max_tokens=1", "one two")
    assert (done.returncode, done.stdout) == (0, "one\n")


def test_tool_call_without_tools_gets_an_error_result(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "-m", "echo", "--json", "-o", 'tool=weather {"city":"Paris"}', "hi")
    found = json.loads(done.stdout)
    assert found["tool_calls"][0]["arguments"] == {"city": "Paris"}
    assert found["tool_calls"][0]["status"] == "failed"
    assert "unavailable tool 'weather'" in found["tool_calls"][0]["result"]
    assert found["steps"] == 2
    assert query(env, "SELECT role, chat_id IS NULL FROM messages ORDER BY seq") == [
        *(("user", 0), ("assistant", 1), ("tool", 1), ("assistant", 0)),
    ]
    assert query(env, "SELECT status, parameters FROM tool_invocations") == [("failed", '{"city":"Paris"}')]


def test_max_steps_leaves_the_calls_for_continue(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "-m", "echo", "--name", "x", "--max-steps", "1", "-o", "tool=weather {}", "hi")
    assert done.returncode == 8
    assert query(env, "SELECT status FROM tool_invocations") == [("pending",)]
    assert llmctl("chat", "--name", "x").returncode == 0
    assert query(env, "SELECT status FROM tool_invocations") == [("failed",)]


def test_messages_in_and_new_messages_out(llmctl: Llmctl, tmp_path: Path, env: dict[str, str]) -> None:
    given = [
        {"role": "system", "content": "brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(given))
    done = llmctl("chat", "-m", "echo", "--messages", str(path))
    assert json.loads(done.stdout) == [{"role": "assistant", "content": "three"}]
    assert query(env, "SELECT count(*) FROM messages") == [(5,)]
    piped = llmctl("chat", "-m", "echo", "--messages", "-", input=json.dumps(given))
    assert json.loads(piped.stdout) == [{"role": "assistant", "content": "three"}]


def test_dry_run_sends_and_writes_nothing(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    done = llmctl("chat", "-m", "echo", "--dry-run", "hi")
    assert done.stdout.startswith("POST echo:")
    assert not Path(env["LLMCTL_DB"]).exists()


def test_attachment_is_sent_stored_once_and_sent_again(llmctl: Llmctl, tmp_path: Path, env: dict[str, str]) -> None:
    image = tmp_path / "dot.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    llmctl("chat", "-m", "echo", "--name", "x", "-a", str(image), "look", check=True)
    llmctl("chat", "-m", "echo", "--name", "y", "-a", str(image), "look", check=True)
    assert query(env, "SELECT media_type, size FROM attachments") == [("image/png", 28)]
    first = sent(llmctl, "--name", "x", "and now?")["messages"][0]["content"]
    assert any(part["type"] == "image_url" for part in first)


def test_extract_prints_the_first_block_alone(llmctl: Llmctl) -> None:
    reply = "Sure:\n```sh\nls -l\n```\ndone\n```\nother\n```"
    assert llmctl("chat", "-m", "echo", "-x", "-o", f"reply:={json.dumps(reply)}", "hi").stdout == "ls -l\n"
    done = llmctl("chat", "-m", "echo", "-x", "no block here")
    assert (done.returncode, done.stdout) == (11, "")


def test_output_file_is_written_on_success_alone(llmctl: Llmctl, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    llmctl("chat", "-m", "echo", "--output", str(path), "hello", check=True)
    assert path.read_text() == "hello\n"
    assert llmctl("chat", "-m", "echo", "--output", str(path), "-o", "cut=1", "a b").returncode == 12
    assert path.read_text() == "hello\n"
    assert [entry.name for entry in tmp_path.iterdir() if ".tmp" in entry.name] == []


def test_chat_followed_by_a_verb_of_chats_is_a_usage_error(llmctl: Llmctl) -> None:
    done = llmctl("chat", "delete", "fix-42")
    assert done.returncode == 2
    assert "llmctl chats delete fix-42" in done.stderr
    assert llmctl("chat", "-m", "echo", "--", "delete", "fix-42").stdout == "delete fix-42\n"


def test_no_prompt_off_the_terminal_is_usage(llmctl: Llmctl) -> None:
    assert llmctl("chat", "-m", "echo").returncode == 2


def test_continue_with_nothing_unfinished_is_usage(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "hi", check=True)
    assert llmctl("chat", "-c").returncode == 2


def test_continue_answers_an_unanswered_message(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "--retries", "0", "-o", "fail=500", "hello")
    assert query(env, "SELECT role FROM messages") == [("user",)]
    done = llmctl("chat", "--name", "x", "-o", "fail=null")
    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_continue_asks_again_where_the_answer_broke_off(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-o", "cut=1", "hello world")
    done = llmctl("chat", "--name", "x", "-o", "cut=null", "--json")
    assert json.loads(done.stdout)["usage"]["input_tokens"] == 2
    kept = query(env, "SELECT content, status, chat_id IS NOT NULL FROM messages WHERE role = 'assistant' ORDER BY seq")
    assert kept == [("hello", "incomplete", 0), ("hello world", "completed", 1)]


def test_new_prompt_takes_the_partial_answer_along(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-o", "cut=1", "hello world")
    body = sent(llmctl, "--name", "x", "-o", "cut=null", "and?")
    assert [m["content"] for m in body["messages"]] == ["hello world", "hello", "and?"]


def test_network_call_keeps_the_new_messages_alone(llmctl: Llmctl, env: dict[str, str]) -> None:
    for word in ("one", "two", "three"):
        llmctl("chat", "-m", "echo", "--name", "x", word, check=True)
    kept = query(env, "SELECT body, omitted_messages FROM network_calls ORDER BY created_at")
    assert [json.loads(body)["messages"] for body, _ in kept] == [
        *([{"role": "user", "content": word}] for word in ("one", "two", "three")),
    ]
    assert [omitted for _, omitted in kept] == [0, 2, 4]


def test_no_connection_and_no_key_shows_three_ways_in(llmctl: Llmctl) -> None:
    done = llmctl("chat", "hi")
    assert done.returncode == 4
    assert all(way in done.stderr for way in ("--key-stdin", "local server", "-m echo"))


def test_custom_field_and_metadata_are_kept(llmctl: Llmctl, env: dict[str, str]) -> None:
    assert llmctl("chat", "-m", "echo", "--field", "user_id=u_1", "hi").returncode == 2
    llmctl("chat", "-m", "echo", "--metadata", "a=1", "--metadata", 'b:={"c":[1]}', "--tag", "t", "hi", check=True)
    assert query(env, "SELECT metadata FROM chats") == [('{"a":"1","b":{"c":[1]}}',)]
    assert query(env, "SELECT tag FROM requests") == [("t",)]


def test_memory_hub_leaves_nothing_on_disk(llmctl: Llmctl, tmp_path: Path) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    assert llmctl("--db", ":memory:", "chat", "-m", "echo", "hi").stdout == "hi\n"
    assert {path.name for path in tmp_path.iterdir()} == before


def test_settings_stand_behind_flags(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    for name, value in (("retries", "0"), ("rollback", "true"), ("audit.context", "none"), ("stream.keep", "false")):
        llmctl("settings", "set", name, value, check=True)
    llmctl("chat", "-m", "echo", "-o", "fail=500", "hi")
    assert query(env, "SELECT count(*) FROM network_calls") == [(1,)]
    assert llmctl("chat", "-m", "echo", "-o", "cut=1", "one two").returncode == 12
    assert query(env, "SELECT count(*) FROM messages WHERE role = 'assistant'") == [(0,)]
    assert query(env, "SELECT count(*) FROM requests WHERE folder IS NOT NULL OR host IS NOT NULL") == [(0,)]
    assert query(env, "SELECT count(*) FROM response_streams") == [(0,)]
    llmctl("chat", "-m", "echo", "--retries", "1", "-o", "fail=500", "hi")
    assert query(env, "SELECT max(attempt) FROM network_calls") == [(2,)]


def test_chat_whose_connection_was_removed_is_not_sent_elsewhere(llmctl: Llmctl) -> None:
    add = ("connection", "add", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")
    llmctl(*add, "mine", check=True)
    llmctl("chat", "-m", "mine", "--retries", "0", "--name", "x", "private")
    llmctl(*add, "other", check=True)
    llmctl("connection", "remove", "mine", check=True)
    done = llmctl("chat", "--name", "x", "next")
    assert done.returncode == 4
    assert "was removed" in done.stderr


def test_name_of_a_provider_is_a_model_of_the_default_connection(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("connection", "add", "mine", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", check=True)
    done = llmctl("chat", "-m", "mistral", "--dry-run", "--json", "hi", env=env | {"MISTRAL_API_KEY": "k" * 20})
    assert json.loads(done.stdout)["url"].startswith("http://127.0.0.1:9/")
    assert json.loads(done.stdout)["body"]["model"] == "mistral"


def test_unlogged_turn_answers_its_tool_calls_from_memory(llmctl: Llmctl, env: dict[str, str]) -> None:
    found = json.loads(llmctl("chat", "-m", "echo", "-n", "--json", "-o", "tool=x {}", "hi").stdout)
    assert (found["steps"], found["tool_calls"][0]["status"]) == (2, "failed")
    assert query(env, "SELECT count(*) FROM messages") == [(0,)]


def test_calls_that_wait_are_in_the_json(llmctl: Llmctl) -> None:
    done = llmctl("chat", "-m", "echo", "--json", "--max-steps", "1", "-o", "tool=x {}", "hi")
    assert done.returncode == 8
    assert [(call["name"], call["status"]) for call in json.loads(done.stdout)["tool_calls"]] == [("x", "pending")]


def test_tokens_of_a_turn_in_two_commands_are_summed_on_its_message(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "--max-steps", "1", "-o", "tool=x {}", "hi")
    llmctl("chat", "--name", "x", check=True)
    total = query(env, "SELECT sum(input_tokens) FROM requests")[0][0]
    assert query(env, "SELECT input_tokens FROM messages WHERE role = 'assistant' AND chat_id IS NOT NULL") == [
        (total,)
    ]


def test_new_system_prompt_on_a_broken_answer_asks_again(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-o", "cut=1", "one two")
    done = llmctl("chat", "--name", "x", "-s", "new", "-o", "cut=null")
    assert (done.returncode, done.stdout) == (0, "one two\n")
    shown = query(env, "SELECT content FROM messages WHERE role = 'assistant' AND chat_id IS NOT NULL")
    assert shown == [("one two",)]


def test_empty_system_prompt_takes_the_old_one_back(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "-s", "old", "one", check=True)
    llmctl("chat", "--name", "x", "-s", "", "two", check=True)
    assert "system" not in [message["role"] for message in sent(llmctl, "--name", "x", "three")["messages"]]


def test_request_that_is_not_persisted_leaves_no_text(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "--rollback", "--no-persist", "requests", "-o", "cut=1", "ERASE me")
    assert (
        query(env, "SELECT count(*) FROM network_calls")
        == query(env, "SELECT count(*) FROM response_streams")
        == [(0,)]
    )


def test_messages_with_tools_come_in_and_go_out(llmctl: Llmctl) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    given = [
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "user", "content": "and?"},
    ]
    done = llmctl("chat", "-m", "echo", "--messages", "-", "-o", "tool=see {}", input=json.dumps(given))
    assert [message["role"] for message in json.loads(done.stdout)] == ["assistant", "tool", "assistant"]
    body = sent(llmctl, "--messages", "-", input=json.dumps(given))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "user"]


@pytest.mark.parametrize(
    "last", [{"role": "assistant", "content": "x"}, {"role": "user", "content": ""}, {"role": "x"}]
)
def test_messages_that_cannot_be_answered_leave_nothing(llmctl: Llmctl, env: Mapping[str, str], last: Any) -> None:
    given = json.dumps([{"role": "user", "content": "hi"}, last])
    assert llmctl("chat", "-m", "echo", "--messages", "-", input=given).returncode == 2
    assert not Path(env["LLMCTL_DB"]).exists()


def test_extract_with_json_is_checked_too(llmctl: Llmctl) -> None:
    reply = json.dumps("```\nblock\n```")
    done = llmctl("chat", "-m", "echo", "-x", "--json", "-o", f"reply:={reply}", "hi")
    assert json.loads(done.stdout)["data"] == "block\n"
    done = llmctl("chat", "-m", "echo", "-x", "--json", "none")
    assert (done.returncode, done.stdout) == (11, "")
    assert json.loads(done.stderr.splitlines()[-1])["error"]["chat_id"]


def test_output_takes_any_format(llmctl: Llmctl, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert llmctl("chat", "-m", "echo", "--json", "--output", str(path), "hi").stdout == ""
    assert json.loads(path.read_text())["content"] == "hi"
    assert llmctl("chat", "-m", "echo", "--output", "-", "hi").stdout == "hi\n"


def test_usage_of_a_broken_turn_is_reported_and_never_guessed(llmctl: Llmctl) -> None:
    assert "echo, chat" in llmctl("chat", "-m", "echo", "-u", "-o", "cut=1", "one two").stderr
    assert "0 in" not in llmctl("chat", "-m", "echo", "-u", "-o", "usage=false", "one two").stderr


def test_same_content_under_two_names_keeps_both(llmctl: Llmctl, tmp_path: Path, env: dict[str, str]) -> None:
    for name in ("data.json", "other.py"):
        (tmp_path / name).write_text("1")
        llmctl("chat", "-m", "echo", "-a", str(tmp_path / name), "look", check=True)
    assert query(env, "SELECT count(*) FROM attachments") == [(1,)]
    assert query(env, "SELECT name FROM message_attachments ORDER BY created_at") == [("data.json",), ("other.py",)]


def test_alias_options_stay_with_the_chat(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    with closing(sqlite3.connect(env["LLMCTL_DB"])) as connection:
        connection.execute(
            """INSERT INTO model_aliases (id, name, target, options) VALUES ('a', 'al', 'echo', '{"reply":"so"}')"""
        )
        connection.execute("INSERT INTO model_aliases (id, name, target) VALUES ('b', 'loop', 'loop')")
        connection.commit()
    assert llmctl("chat", "-m", "al", "--name", "x", "one").stdout == "so\n"
    assert llmctl("chat", "--name", "x", "two").stdout == "so\n"
    assert llmctl("chat", "-m", "loop", "hi").returncode == 4


def test_connection_variable_stands_behind_a_model_of_no_connection(llmctl: Llmctl, env: dict[str, str]) -> None:
    for name in ("first", "second"):
        llmctl("connection", "add", name, "--base-url", f"http://127.0.0.1:9/{name}", "--model", "m", check=True)
    done = llmctl("chat", "-m", "foo", "--dry-run", "--json", "hi", env=env | {"LLMCTL_CONNECTION": "second"})
    assert "/second/" in json.loads(done.stdout)["url"]


def test_key_in_the_environment_serves_a_hub_that_is_there_already(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    done = llmctl("chat", "--dry-run", "--json", "hi", env=env | {"OPENAI_API_KEY": "sk-" + "a" * 40})
    assert json.loads(done.stdout)["url"].startswith("https://api.openai.com/")


def test_packed_refs_of_a_worktree_are_found(llmctl: Llmctl, tmp_path: Path, env: dict[str, str]) -> None:
    inner = tmp_path / "inner"
    git = tmp_path / "repo" / ".git"
    (git / "worktrees" / "w").mkdir(parents=True)
    inner.mkdir()
    (inner / ".git").write_text(f"gitdir: {git / 'worktrees' / 'w'}\n")
    (git / "worktrees" / "w" / "HEAD").write_text("ref: refs/heads/topic\n")
    (git / "worktrees" / "w" / "commondir").write_text("../..\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{'b' * 40} refs/heads/topic\n")
    llmctl("chat", "-m", "echo", "hi", cwd=inner, check=True)
    assert query(env, "SELECT git_commit FROM requests") == [("b" * 40,)]


def test_fallback_answers_where_the_first_cannot_be_reached(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("connection", "add", "gone", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", check=True)
    done = llmctl("chat", "-m", "gone", "--fallback", "echo", "--retries", "0", "--json", "hello")
    assert (done.returncode, json.loads(done.stdout)["content"]) == (0, "hello")
    assert "falling back to echo" in done.stderr
    assert query(env, "SELECT role FROM messages ORDER BY seq") == [("user",), ("assistant",)]
    assert query(env, "SELECT connection, status FROM requests ORDER BY created_at") == [
        *(("gone", "failed"), ("echo", "completed")),
    ]
    assert query(env, "SELECT model FROM chats") == [("m",)]


def test_fallback_keeps_out_of_a_refusal_and_of_a_broken_answer(llmctl: Llmctl, env: dict[str, str]) -> None:
    for option, code in (("fail=context_length", 5), ("cut=1", 12)):
        done = llmctl("chat", "-m", "echo", "--fallback", "echo", "-o", option, "one two")
        assert done.returncode == code
    assert query(env, "SELECT count(*) FROM requests") == [(2,)]


def test_fallback_that_fails_too_gives_one_error(llmctl: Llmctl) -> None:
    done = llmctl("chat", "-m", "echo", "--fallback", "echo", "--retries", "0", "--json", "-o", "fail=500", "hi")
    assert done.returncode == 6
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "unavailable"


def test_first_prompt_of_an_open_conversation_belongs_to_it(llmctl: Llmctl, env: dict[str, str]) -> None:
    llmctl("chat", "-m", "echo", "-i", "--no-stdin", "one", input="two\n", check=True)
    assert query(env, "SELECT count(*) FROM chats") == [(1,)]
    assert query(env, "SELECT input_tokens FROM requests ORDER BY created_at") == [(1,), (3,)]
