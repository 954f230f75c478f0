"""``llmctl chats`` through the front door."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.engine.jobs import lease
from llmctl.store.opening import open_hub
from llmctl.store.schema import custom_fields
from tests.conftest import Run
from tests.store.rows import Rows, event

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def hub(env: Mapping[str, str]) -> Rows:
    """A hub with two chats: ``fix`` of two turns, one with a tool, and a nameless one."""
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        rows = Rows(database)
        chat = rows.chat("fix", source_id=rows.connection("work"), metadata='{"ticket":42}')
        rows.turn(chat, "what is c++?", "a language\nof two lines")
        rows.tool_turn(chat)
        rows.turn(rows.chat(), "hello", "hi there")
        yield rows


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def parsed(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(ok(done))


def failed(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def on_terminal(*arguments: str, env: Mapping[str, str], typed: bytes = b"") -> tuple[int, str]:
    """Run llmctl on a terminal; return the exit code and the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(sys.executable, [sys.executable, "-m", "llmctl", *arguments], {**env, "COLUMNS": "100"})
    screen = b""
    try:
        while piece := os.read(terminal, 4096):
            screen += piece
            if typed and screen.endswith(b"[y/N] "):
                os.write(terminal, typed)
                typed = b""
    except OSError:
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode().replace("\r\n", "\n")


def test_list_is_tab_separated_in_a_pipe(hub: Rows, llmctl: Run) -> None:
    first, second = ok(llmctl("chats", "list")).splitlines()
    assert first.split("\t")[1:5] == ["", "hello", "gpt-5", "2"]
    assert second.split("\t")[1:5] == ["fix", "what is c++?", "gpt-5", "4"]


def test_list_is_a_table_on_a_terminal(hub: Rows, env: Mapping[str, str]) -> None:
    code, screen = on_terminal("chats", "list", env=env)
    assert code == 0
    assert screen.splitlines()[0].split() == ["ID", "NAME", "BEGINS", "WITH", "MODEL", "MESSAGES", "LAST", "TURN"]
    assert "fix" in screen
    assert len(screen.splitlines()[1].split()[0]) == 8


def test_list_as_json_has_every_column(hub: Rows, llmctl: Run) -> None:
    found = parsed(llmctl("chats", "list", "--json"))
    assert [chat["name"] for chat in found] == [None, "fix"]
    fix = found[1]
    assert (fix["metadata"], fix["references"], fix["settings"]) == ({"ticket": 42}, {}, {})
    assert (fix["last_turn_terminal"], fix["connection"], fix["message_count"]) == (False, "work", 4)
    assert "refs" not in fix
    lines = ok(llmctl("chats", "list", "--jsonl")).splitlines()
    assert [json.loads(line) for line in lines] == found


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--where", "ticket=42"], ["fix"]),
        (["--where", "ticket=43"], []),
        (["--limit", "1"], [""]),
        (["--limit", "0"], ["", "fix"]),
        (["--connection", "work"], ["fix"]),
        (["--model", "sonnet"], []),
        (["--since", "2026-10-05T12:00:00Z"], ["", "fix"]),
        (["--since", "2999-01-01"], []),
    ],
)
def test_list_filters(hub: Rows, llmctl: Run, flags: list[str], names: list[str]) -> None:
    assert ok(llmctl("chats", "list", "--columns", "name", *flags)).split("\n")[:-1] == names


def test_list_takes_custom_fields(llmctl: Run, env: Mapping[str, str]) -> None:
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        custom_fields.add(database, [custom_fields.parse("chats.user_id:text")])
    ok(llmctl("chats", "new", "a", "-m", "echo", "--field", "user_id=u_1"))
    ok(llmctl("chats", "new", "b", "-m", "echo", "--metadata", "user_id=u_2"))
    assert ok(llmctl("chats", "list", "--where", "user_id=u_2", "--columns", "name,user_id")) == "b\tu_2\n"
    assert parsed(llmctl("chats", "list", "--json"))[1]["user_id"] == "u_1"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--limit", "-1"], 2, "less than 0"),
        (["--since", "soon"], 2, 'no time "soon"'),
        (["--where", "ticket"], 2, "is not FIELD=VALUE"),
        (["--connection", "nope"], 3, 'no connection "nope"'),
        (["--agent", "nope"], 3, 'no agent "nope"'),
        (["--columns", "nope"], 2, 'no column "nope"'),
    ],
)
def test_list_refuses_what_it_cannot_mean(hub: Rows, llmctl: Run, flags: list[str], code: int, words: str) -> None:
    assert words in failed(llmctl("chats", "list", *flags), code)


def test_list_says_that_no_chat_has_such_a_field(hub: Rows, llmctl: Run) -> None:
    done = llmctl("chats", "list", "--where", "nope=1")
    assert (done.returncode, done.stdout) == (0, "")
    assert 'no chat has a field "nope"' in done.stderr


def test_no_hub_is_said_with_exit_code_4(llmctl: Run, env: Mapping[str, str]) -> None:
    for command in (["list"], ["show", "x"], ["search", "x"], ["delete", "x", "--yes"], ["render", "x"]):
        assert "no hub" in failed(llmctl("chats", *command), 4)
    assert not os.path.exists(env["LLMCTL_DB"])


def test_show_is_readable_text(hub: Rows, llmctl: Run) -> None:
    assert ok(llmctl("chats", "show", "fix")) == (
        "user:\nwhat is c++?\n\nassistant (gpt-5):\na language\nof two lines\n\n"
        'user:\nweather?\n\nassistant (gpt-5):\nweather({"city":"Paris"})\n-> sunny\nIt is sunny.\n'
    )


def test_show_all_has_the_steps(hub: Rows, llmctl: Run) -> None:
    text = ok(llmctl("chats", "show", "fix", "--all"))
    assert text.endswith(
        'assistant (gpt-5):\nweather({"city":"Paris"})\n\ntool:\nsunny\n\nassistant (gpt-5):\nIt is sunny.\n'
    )


def test_show_raw_is_the_thread_row_by_row(hub: Rows, llmctl: Run) -> None:
    lines = ok(llmctl("chats", "show", "fix", "--raw")).splitlines()
    assert lines[0].startswith("#1 user user completed ")
    assert '[{"type":"tool_result","call_id":"call_1","name":"weather","content":"sunny"}]' in lines


def test_show_as_json_is_the_chat_with_messages_and_stats(hub: Rows, llmctl: Run) -> None:
    found = parsed(llmctl("chats", "show", "fix", "--json"))
    assert found["thread_id"]
    assert found["metadata"] == {"ticket": 42}
    assert [message["role"] for message in found["messages"]] == ["user", "assistant", "user", "assistant"]
    assert found["messages"][3]["tool_calls"][0]["arguments"] == {"city": "Paris"}
    assert all(message["references"] == {} for message in found["messages"])
    assert all(isinstance(message["attachments"], list) for message in found["messages"])
    assert (found["stats"]["chat_id"], found["stats"]["requests"]) == (found["id"], 3)
    every = parsed(llmctl("chats", "show", "fix", "--json", "--all"))
    assert [message["role"] for message in every["messages"]][3:] == ["assistant", "tool", "assistant"]


def test_show_on_a_terminal_shows_control_characters_and_obeys_none(hub: Rows, env: Mapping[str, str]) -> None:
    hub.turn(hub.chat("evil"), "a\x1b[2Jb", "c\x07d")
    code, screen = on_terminal("chats", "show", "evil", env=env)
    assert code == 0
    assert "\x1b" not in screen
    assert "a␛[2Jb" in screen
    assert screen.startswith("evil  ")


def test_show_has_what_came_of_a_running_answer_and_writes_nothing(
    hub: Rows, llmctl: Run, env: Mapping[str, str]
) -> None:
    chat = hub.chat("now")
    hub.message(chat, "user", "go")
    hub.running(chat, [event("Hel"), event("lo")[:20], event("lo")[20:], b"data: {"])
    before = hub.database.query("SELECT * FROM {messages}")
    assert ok(llmctl("chats", "show", "now")).endswith("assistant (still being written):\nHello\n")
    (_, answer) = parsed(llmctl("chats", "show", "last", "--json"))["messages"]
    assert (answer["content"], answer["status"]) == ("Hello", "pending")
    assert hub.database.query("SELECT * FROM {messages}") == before


def test_a_chat_is_found_by_id_name_beginning_and_last(hub: Rows, llmctl: Run) -> None:
    (last, fix) = [chat["id"] for chat in parsed(llmctl("chats", "list", "--json"))]
    for ref in (fix, "fix", fix[:8], fix[:4].upper()):
        assert parsed(llmctl("chats", "show", ref, "--json"))["id"] == fix
    assert parsed(llmctl("chats", "show", "last", "--json"))["id"] == last
    for ref in ("nope", "fi", fix[:3], ""):
        assert f'no chat "{ref}"' in failed(llmctl("chats", "show", ref), 3)


def test_new_makes_a_chat_that_chat_goes_on_with(llmctl: Run) -> None:
    done = llmctl("chats", "new", "fix", "-m", "echo", "-s", "be terse", "-o", "repeat=2", "--metadata", "k:=[1]")
    chat_id = ok(done).strip()
    assert 'began the chat "fix"' in done.stderr
    body = parsed(llmctl("chat", "--name", "fix", "--dry-run", "--json", "hi"))["body"]
    assert [message["content"] for message in body["messages"]] == ["be terse", "hi"]
    assert ok(llmctl("chat", "--name", "fix", "hi")) == "hi hi\n"
    found = parsed(llmctl("chats", "show", "fix", "--json"))
    assert (found["id"], found["metadata"], found["instructions"]) == (chat_id, {"k": [1]}, "be terse")
    assert [message["role"] for message in found["messages"]] == ["system", "user", "assistant"]


def test_new_refuses_a_name_that_is_taken(hub: Rows, llmctl: Run) -> None:
    assert 'a chat "fix" already' in failed(llmctl("chats", "new", "fix"), 2)


def test_edit_changes_what_later_turns_use(llmctl: Run) -> None:
    ok(llmctl("chat", "-m", "echo", "--name", "fix", "-s", "one", "-o", "repeat=2", "--metadata", "a=1", "hi"))
    ok(llmctl("chats", "edit", "fix", "-s", "two", "-o", "repeat=null", "-m", "echo:other", "--metadata", "b=2"))
    ok(llmctl("chats", "edit", "fix", "--name", "fox", "--description", "of foxes", "--metadata", "a:=null"))
    assert ok(llmctl("chat", "--chat", "fox", "once")) == "once\n"
    found = parsed(llmctl("chats", "show", "fox", "--json"))
    assert (found["model"], found["description"], found["metadata"]) == ("other", "of foxes", {"b": "2"})
    said = [(message["role"], message["content"]) for message in found["messages"]]
    assert said[3:5] == [("system", "two"), ("user", "once")]
    body = parsed(llmctl("chat", "--chat", "fox", "--dry-run", "--json", "hi"))["body"]
    assert [message["content"] for message in body["messages"] if message["role"] == "system"] == ["two"]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ([], 2, "nothing to change"),
        (["--metadata", "x"], 2, "is not K=V"),
        (["--metadata", "x:={"], 2, "no JSON"),
        (["--field", "nope=1"], 2, 'no custom field "nope"'),
        (["--connection", "nope"], 3, 'no connection "nope"'),
        (["--name", ""], 2, "cannot be empty"),
    ],
)
def test_edit_refuses_what_it_cannot_mean(hub: Rows, llmctl: Run, flags: list[str], code: int, words: str) -> None:
    assert words in failed(llmctl("chats", "edit", "fix", *flags), code)


def hold(hub: Rows, name: str, **job: Any) -> None:
    job_id = hub.insert("jobs", name="chat", type="turn", status="running", **job)
    sql = "UPDATE {message_threads} SET locking_job_id = ? WHERE chat_id = (SELECT id FROM {chats} WHERE name = ?)"
    hub.database.execute(sql, (job_id, name))


def test_a_chat_in_use_is_not_touched(hub: Rows, llmctl: Run) -> None:
    hold(hub, "fix", **lease.current()._asdict(), lease_expires_at=lease.lease())
    for command in (["edit", "fix", "-s", "x"], ["delete", "fix", "--yes"], ["unlock", "fix"]):
        assert "in use by process" in failed(llmctl("chats", *command), 9)
    ok(llmctl("chats", "rename", "fix", "fox"))
    assert "taken from a live process" in llmctl("chats", "unlock", "fox", "--force").stderr
    ok(llmctl("chats", "edit", "fox", "-s", "x"))


def test_unlock_frees_what_a_dead_process_holds(hub: Rows, llmctl: Run) -> None:
    hold(hub, "fix", host="elsewhere", pid=1)
    done = llmctl("chats", "unlock", "fix")
    assert (done.returncode, done.stdout) == (0, "")
    assert "is free" in done.stderr
    assert "free already" in llmctl("chats", "unlock", "fix").stderr


@pytest.mark.parametrize("query", ["c++", "what is c++?", "langu", '"two lines"'])
def test_search_finds_what_it_says(hub: Rows, llmctl: Run, query: str) -> None:
    found = parsed(llmctl("chats", "search", query, "--json"))
    assert [row["chat"] for row in found] == ["fix"]
    assert not set(found[0]["snippet"]) & set("\x02\x03")


@pytest.mark.parametrize("query", ['"', "'", "foo-bar", "a@b.com", "(", "*", "NOT", "\\"])
def test_search_without_a_hit_is_no_error(hub: Rows, llmctl: Run, query: str) -> None:
    assert ok(llmctl("chats", "search", "--", query)) == ""


def test_search_filters_and_raw_queries(hub: Rows, llmctl: Run) -> None:
    assert ok(llmctl("chats", "search", "hi", "--role", "user", "--columns", "snippet")) == ""
    assert ok(llmctl("chats", "search", "hel", "--chat", "last", "--columns", "snippet")) == "hello\n"
    assert (
        ok(llmctl("chats", "search", "--fts", "langu* NOT c", "--columns", "snippet")) == "a language\\nof two lines\n"
    )
    assert "is no full-text query" in failed(llmctl("chats", "search", "--fts", '"'), 2)
    assert 'no role "robot"' in failed(llmctl("chats", "search", "x", "--role", "robot"), 2)
    assert "nothing to search for" in failed(llmctl("chats", "search", " "), 2)


def test_rename(hub: Rows, llmctl: Run) -> None:
    chat_id = ok(llmctl("chats", "rename", "fix", "fox")).strip()
    assert parsed(llmctl("chats", "show", "fox", "--json"))["id"] == chat_id
    assert "already" in failed(llmctl("chats", "rename", "last", "fox"), 2)
    assert 'no chat "fix"' in failed(llmctl("chats", "rename", "fix", "x"), 3)


def test_fork_at_a_place_or_a_message(hub: Rows, llmctl: Run) -> None:
    every = parsed(llmctl("chats", "show", "fix", "--json", "--all"))["messages"]
    fork = ok(llmctl("chats", "fork", "fix", "--at", every[1]["id"][:8], "--name", "b")).strip()
    found = parsed(llmctl("chats", "show", fork, "--json"))
    assert [message["content"] for message in found["messages"]] == ["what is c++?", "a language\nof two lines"]
    assert found["name"] == "b"
    assert len(parsed(llmctl("chats", "fork", "fix", "--at", "1", "--json"))["id"]) == 36
    assert "between the tool call" in failed(llmctl("chats", "fork", "fix", "--at", "4"), 2)
    assert 'no message at place "9"' in failed(llmctl("chats", "fork", "fix", "--at", "9"), 3)


def test_chat_continue_goes_on_with_the_fork(llmctl: Run) -> None:
    ok(llmctl("chat", "-m", "echo", "--name", "a", "one"))
    ok(llmctl("chat", "-m", "echo", "--name", "b", "two"))
    fork = parsed(llmctl("chats", "fork", "a", "--json"))["id"]
    assert parsed(llmctl("chat", "-c", "--json", "three"))["chat_id"] == fork


@pytest.mark.parametrize(
    ("format", "begin"),
    [
        ("text", "user:\nwhat is c++?\n"),
        ("markdown", "## User\n\nwhat is c++?\n\n## Assistant (gpt-5)\n\na language\n"),
        ("json", '[{"type":"user","content":"what is c++?"},{"type":"chatModel","content":"a language'),
    ],
)
def test_render_writes_a_format(hub: Rows, llmctl: Run, format: str, begin: str) -> None:
    assert ok(llmctl("chats", "render", "fix", "--format", format)).startswith(begin)


def test_render_keeps_a_snapshot(hub: Rows, llmctl: Run) -> None:
    kept = parsed(llmctl("chats", "render", "fix", "--save", "--reason", "before", "--json"))
    assert (kept["upto_seq"], kept["reason"]) == (6, "before")
    assert kept["messages"][0] == {"type": "user", "content": "what is c++?"}
    assert kept["messages"][4] == {"type": "toolCall", "content": "sunny"}
    assert json.loads(ok(llmctl("chats", "render", "fix", "--json"))) == kept["messages"]
    assert 'no format "pdf"' in failed(llmctl("chats", "render", "fix", "--format", "pdf"), 2)
    assert '"--reason" needs "--save"' in failed(llmctl("chats", "render", "fix", "--reason", "x"), 2)


def test_snapshots_are_listed_shown_and_compared(hub: Rows, llmctl: Run) -> None:
    first = parsed(llmctl("chats", "render", "fix", "--save", "--reason", "before", "--json"))
    ok(llmctl("message", "add", "--chat", "fix", "and now?"))
    second = parsed(llmctl("chats", "render", "fix", "--save", "--json"))
    found = parsed(llmctl("chats", "render", "fix", "--list", "--json"))
    assert [(row["id"], row["reason"]) for row in found] == [(first["id"], "before"), (second["id"], None)]
    assert found[1]["message_count"] == found[0]["message_count"] + 1
    assert parsed(llmctl("chats", "render", "fix", "--snapshot", first["id"], "--json")) == first["messages"]
    added = ["+user:", "+and now?", "+"]
    lines = ok(llmctl("chats", "render", "fix", "--diff", f"{first['id']},{second['id']}")).splitlines()
    assert lines[:2] == [f"--- {first['id'][:8]}", f"+++ {second['id'][:8]}"]
    assert [line for line in lines[2:] if line.startswith(("+", "-"))] == added
    lines = ok(llmctl("chats", "render", "fix", "--diff", first["id"][:8])).splitlines()
    assert [line for line in lines[2:] if line.startswith(("+", "-"))] == added
    assert ok(llmctl("chats", "render", "fix", "--diff", second["id"])) == ""
    assert "exclude each other" in failed(llmctl("chats", "render", "fix", "--list", "--save"), 2)
    other = hub.chat("other")
    hub.turn(other, "a", "b")
    assert "of another chat" in failed(llmctl("chats", "render", "other", "--snapshot", first["id"]), 3)


def test_delete_needs_a_word(hub: Rows, llmctl: Run) -> None:
    assert "--yes" in failed(llmctl("chats", "delete", "fix"), 2)
    assert hub.database.value("SELECT count(*) FROM {chats}") == 2


def test_delete_asks_on_a_terminal(hub: Rows, env: Mapping[str, str]) -> None:
    code, screen = on_terminal("chats", "delete", "fix", env=env, typed=b"n\n")
    assert (code, hub.database.value("SELECT count(*) FROM {chats}")) == (10, 2)
    assert 'Delete the chat "fix" (4 messages) with every copy of the text? [y/N]' in screen
    code, screen = on_terminal("chats", "delete", "fix", env=env, typed=b"y\n")
    assert (code, hub.database.value("SELECT count(*) FROM {chats}")) == (0, 1)
    assert 'deleted the chat "fix"' in screen


def test_delete_leaves_no_text_in_any_file_and_keeps_the_numbers(llmctl: Run, env: Mapping[str, str]) -> None:
    for word in ("zanzibar", "barbados"):
        ok(llmctl("chat", "-m", "echo", "--name", word, "-s", f"of {word}", f"tell me of {word}"))
        ok(llmctl("chat", "--chat", word, "--attach", "-", "see", input=f"{word} in a file"))
    before = parsed(llmctl("stats", "--json"))
    chat_id = parsed(llmctl("chats", "show", "zanzibar", "--json"))["id"]
    assert ok(llmctl("chats", "delete", "zanzibar", "--yes")) == f"{chat_id}\n"
    folder = Path(env["LLMCTL_DB"]).parent
    left = b"".join(path.read_bytes() for path in folder.glob("hub.db*"))
    assert b"zanzibar" not in left
    assert b"barbados" in left
    after = parsed(llmctl("stats", "--json"))
    assert after == before
    assert ok(llmctl("chats", "search", "zanzibar")) == ""
    with closing(open_hub(env["LLMCTL_DB"], "write")) as database:
        assert database.value("PRAGMA integrity_check") == "ok"
        database.execute("INSERT INTO message_search (message_search) VALUES ('integrity-check')")


def test_delete_with_usage_forgets_the_numbers_too(llmctl: Run) -> None:
    ok(llmctl("chat", "-m", "echo", "--name", "a", "one two three"))
    ok(llmctl("chat", "-m", "echo", "--name", "b", "one"))
    ok(llmctl("chats", "delete", "a", "--yes", "--with-usage"))
    found = parsed(llmctl("stats", "--json"))
    assert (found["requests"], found["input_tokens"]) == (1, 1)


def test_delete_takes_many_or_none(hub: Rows, llmctl: Run) -> None:
    assert 'no chat "nope"' in failed(llmctl("chats", "delete", "fix", "nope", "--yes"), 3)
    assert len(ok(llmctl("chats", "delete", "fix", "last", "fix", "--yes")).splitlines()) == 2
    assert ok(llmctl("chats", "list")) == ""


def test_delete_names_the_forks_that_keep_copies(hub: Rows, llmctl: Run) -> None:
    fork = ok(llmctl("chats", "fork", "fix")).strip()
    assert f"the fork {fork[:8]} keeps what it copied" in llmctl("chats", "delete", "fix", "--yes").stderr
