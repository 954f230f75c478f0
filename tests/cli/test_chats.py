"""``llmctl chats`` on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.engine.jobs import lease
from llmctl.store.opening import open_hub
from llmctl.store.schema import custom_names
from tests.fakes.hub_builder import HubBuilder, event
from tests.harness import LLMCTL, Llmctl, RunInProcess, parse_json, require_failure, require_success, run_on_terminal

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def hub(env: Mapping[str, str]) -> Iterator[HubBuilder]:
    """A hub with two chats: ``fix`` of two turns, one with a tool, and a nameless one."""
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        rows = HubBuilder(database)
        chat = rows.chat("fix", source_id=rows.connection("work"), metadata='{"ticket":42}')
        rows.turn(chat, "what is c++?", "a language\nof two lines")
        rows.tool_turn(chat)
        rows.turn(rows.chat(), "hello", "hi there")
        yield rows


def test_list_is_tab_separated_in_a_pipe(hub: HubBuilder, llmctl: Llmctl) -> None:
    first, second = require_success(llmctl("chats", "list")).splitlines()
    assert first.split("\t")[1:5] == ["", "hello", "gpt-5", "2"]
    assert second.split("\t")[1:5] == ["fix", "what is c++?", "gpt-5", "4"]


def test_list_is_a_table_on_a_terminal(hub: HubBuilder, env: Mapping[str, str]) -> None:
    code, screen = run_on_terminal([*LLMCTL, "chats", "list"], env)
    assert code == 0
    titles = ["ID", "TITLE", "COST", "LAST", "TURN", "TOKENS", "MODEL", "MESSAGES"]
    assert screen.splitlines()[0].split() == titles
    assert "fix" in screen
    assert len(screen.splitlines()[1].split()[0]) == 8


def test_list_as_json_has_every_column(hub: HubBuilder, llmctl: Llmctl) -> None:
    found = parse_json(llmctl("chats", "list", "--json"))
    assert [chat["name"] for chat in found] == [None, "fix"]
    fix = found[1]
    assert (fix["metadata"], fix["references"], fix["settings"]) == ({"ticket": 42}, {}, {})
    assert (fix["last_turn_terminal"], fix["connection"], fix["message_count"]) == (False, "work", 4)
    assert "refs" not in fix
    lines = require_success(llmctl("chats", "list", "--jsonl")).splitlines()
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
def test_list_filters(hub: HubBuilder, llmctl: Llmctl, flags: list[str], names: list[str]) -> None:
    assert require_success(llmctl("chats", "list", "--columns", "name", *flags)).split("\n")[:-1] == names


def test_list_takes_custom_fields(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        custom_names.add_fields(database, [custom_names.parse_field("chats.user_id:text")])
    require_success(llmctl("chats", "new", "a", "-m", "echo", "--field", "user_id=u_1"))
    require_success(llmctl("chats", "new", "b", "-m", "echo", "--metadata", "user_id=u_2"))
    assert require_success(llmctl("chats", "list", "--where", "user_id=u_2", "--columns", "name,user_id")) == "b\tu_2\n"
    assert parse_json(llmctl("chats", "list", "--json"))[1]["user_id"] == "u_1"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--limit", "-1"], 2, "must be 0 or more"),
        (["--since", "soon"], 2, 'cannot parse the time "soon"'),
        (["--where", "ticket"], 2, "must be FIELD=VALUE"),
        (["--connection", "nope"], 3, 'no connection "nope"'),
        (["--agent", "nope"], 3, 'no agent "nope"'),
        (["--columns", "nope"], 2, 'no column "nope"'),
    ],
)
def test_list_refuses_contradictory_flags(
    hub: HubBuilder, llmctl: Llmctl, flags: list[str], code: int, words: str
) -> None:
    assert words in require_failure(llmctl("chats", "list", *flags), code)


def test_list_says_that_no_chat_has_such_a_field(hub: HubBuilder, llmctl: Llmctl) -> None:
    done = llmctl("chats", "list", "--where", "nope=1")
    assert (done.returncode, done.stdout) == (0, "")
    assert 'no chat has a field "nope"' in done.stderr


def test_missing_hub_is_exit_code_4(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    for command in (["list"], ["show", "x"], ["search", "x"], ["delete", "x", "--yes"], ["render", "x"]):
        assert "no hub" in require_failure(llmctl("chats", *command), 4)
    assert not os.path.exists(env["LLMCTL_DB"])


def test_show_is_readable_text(hub: HubBuilder, llmctl: Llmctl) -> None:
    assert require_success(llmctl("chats", "show", "fix")) == (
        "user:\nwhat is c++?\n\nassistant (gpt-5):\na language\nof two lines\n\n"
        'user:\nweather?\n\nassistant (gpt-5):\nweather({"city":"Paris"})\n-> sunny\nIt is sunny.\n'
    )


def test_show_all_has_the_steps(hub: HubBuilder, llmctl: Llmctl) -> None:
    text = require_success(llmctl("chats", "show", "fix", "--all"))
    assert text.endswith(
        'assistant (gpt-5):\nweather({"city":"Paris"})\n\ntool:\nsunny\n\nassistant (gpt-5):\nIt is sunny.\n'
    )


def test_show_raw_is_the_thread_row_by_row(hub: HubBuilder, llmctl: Llmctl) -> None:
    lines = require_success(llmctl("chats", "show", "fix", "--raw")).splitlines()
    assert lines[0].startswith("#1 user user completed ")
    assert '[{"type":"tool_result","call_id":"call_1","name":"weather","content":"sunny"}]' in lines


def test_show_as_json_is_the_chat_with_messages_and_stats(hub: HubBuilder, llmctl: Llmctl) -> None:
    found = parse_json(llmctl("chats", "show", "fix", "--json"))
    assert found["thread_id"]
    assert found["metadata"] == {"ticket": 42}
    assert [message["role"] for message in found["messages"]] == ["user", "assistant", "user", "assistant"]
    assert found["messages"][3]["tool_calls"][0]["arguments"] == {"city": "Paris"}
    assert all(message["references"] == {} for message in found["messages"])
    assert all(isinstance(message["attachments"], list) for message in found["messages"])
    assert (found["stats"]["chat_id"], found["stats"]["requests"]) == (found["id"], 3)
    every = parse_json(llmctl("chats", "show", "fix", "--json", "--all"))
    assert [message["role"] for message in every["messages"]][3:] == ["assistant", "tool", "assistant"]


def test_show_on_a_terminal_shows_control_characters_and_obeys_none(hub: HubBuilder, env: Mapping[str, str]) -> None:
    hub.turn(hub.chat("evil"), "a\x1b[2Jb", "c\x07d")
    code, screen = run_on_terminal([*LLMCTL, "chats", "show", "evil"], env)
    assert code == 0
    assert "\x1b" not in screen
    assert "a␛[2Jb" in screen
    assert screen.startswith("evil  ")


def test_show_has_the_partial_answer_of_a_running_turn_and_writes_nothing(
    hub: HubBuilder, llmctl: Llmctl, env: Mapping[str, str]
) -> None:
    chat = hub.chat("now")
    hub.message(chat, "user", "go")
    hub.running(chat, [event("Hel"), event("lo")[:20], event("lo")[20:], b"data: {"])
    before = hub.database.query("SELECT * FROM {messages}")
    assert require_success(llmctl("chats", "show", "now")).endswith("assistant (still being written):\nHello\n")
    (_, answer) = parse_json(llmctl("chats", "show", "last", "--json"))["messages"]
    assert (answer["content"], answer["status"]) == ("Hello", "pending")
    assert hub.database.query("SELECT * FROM {messages}") == before


def test_a_chat_is_found_by_id_name_beginning_and_last(hub: HubBuilder, llmctl: Llmctl) -> None:
    (last, fix) = [chat["id"] for chat in parse_json(llmctl("chats", "list", "--json"))]
    for ref in (fix, "fix", fix[:8], fix[:4].upper()):
        assert parse_json(llmctl("chats", "show", ref, "--json"))["id"] == fix
    assert parse_json(llmctl("chats", "show", "last", "--json"))["id"] == last
    for ref in ("nope", "fi", fix[:3], ""):
        assert f'no chat "{ref}"' in require_failure(llmctl("chats", "show", ref), 3)


def test_new_makes_a_chat_that_continue_uses(llmctl: Llmctl) -> None:
    done = llmctl("chats", "new", "fix", "-m", "echo", "-s", "be terse", "-o", "repeat=2", "--metadata", "k:=[1]")
    chat_id = require_success(done).strip()
    assert 'created chat "fix"' in done.stderr
    body = parse_json(llmctl("chat", "--name", "fix", "--dry-run", "--json", "hi"))["body"]
    assert [message["content"] for message in body["messages"]] == ["be terse", "hi"]
    assert require_success(llmctl("chat", "--name", "fix", "hi")) == "hi hi\n"
    found = parse_json(llmctl("chats", "show", "fix", "--json"))
    assert (found["id"], found["metadata"], found["instructions"]) == (chat_id, {"k": [1]}, "be terse")
    assert [message["role"] for message in found["messages"]] == ["system", "user", "assistant"]


def test_new_refuses_a_name_that_is_taken(hub: HubBuilder, llmctl: Llmctl) -> None:
    assert 'chat "fix" already exists' in require_failure(llmctl("chats", "new", "fix"), 2)


def test_edit_changes_what_later_turns_use(llmctl: Llmctl) -> None:
    require_success(
        llmctl("chat", "-m", "echo", "--name", "fix", "-s", "one", "-o", "repeat=2", "--metadata", "a=1", "hi")
    )
    require_success(
        llmctl("chats", "edit", "fix", "-s", "two", "-o", "repeat=null", "-m", "echo:other", "--metadata", "b=2")
    )
    require_success(
        llmctl("chats", "edit", "fix", "--name", "fox", "--description", "of foxes", "--metadata", "a:=null")
    )
    assert require_success(llmctl("chat", "--chat", "fox", "once")) == "once\n"
    found = parse_json(llmctl("chats", "show", "fox", "--json"))
    assert (found["model"], found["description"], found["metadata"]) == ("other", "of foxes", {"b": "2"})
    said = [(message["role"], message["content"]) for message in found["messages"]]
    assert said[3:5] == [("system", "two"), ("user", "once")]
    body = parse_json(llmctl("chat", "--chat", "fox", "--dry-run", "--json", "hi"))["body"]
    assert [message["content"] for message in body["messages"] if message["role"] == "system"] == ["two"]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ([], 2, "nothing to change"),
        (["--metadata", "x"], 2, "must be K=V"),
        (["--metadata", "x:={"], 2, "not valid JSON"),
        (["--field", "nope=1"], 2, 'no custom field "nope"'),
        (["--connection", "nope"], 3, 'no connection "nope"'),
        (["--name", ""], 2, "must not be empty"),
    ],
)
def test_edit_refuses_contradictory_flags(
    hub: HubBuilder, llmctl: Llmctl, flags: list[str], code: int, words: str
) -> None:
    assert words in require_failure(llmctl("chats", "edit", "fix", *flags), code)


def hold(hub: HubBuilder, name: str, **job: Any) -> None:
    job_id = hub.insert("jobs", name="chat", type="turn", status="running", **job)
    sql = "UPDATE {message_threads} SET locking_job_id = ? WHERE chat_id = (SELECT id FROM {chats} WHERE name = ?)"
    hub.database.execute(sql, (job_id, name))


def test_a_chat_in_use_is_not_touched(hub: HubBuilder, llmctl: Llmctl) -> None:
    hold(hub, "fix", **lease.process_identity().to_dict(), lease_expires_at=lease.lease_expiry())
    for command in (["edit", "fix", "-s", "x"], ["delete", "fix", "--yes"], ["unlock", "fix"]):
        assert "in use by process" in require_failure(llmctl("chats", *command), 9)
    require_success(llmctl("chats", "rename", "fix", "fox"))
    assert "a running process held it" in llmctl("chats", "unlock", "fox", "--force").stderr
    require_success(llmctl("chats", "edit", "fox", "-s", "x"))


def test_unlock_frees_what_a_dead_process_holds(hub: HubBuilder, llmctl: Llmctl) -> None:
    hold(hub, "fix", host="elsewhere", pid=1)
    done = llmctl("chats", "unlock", "fix")
    assert (done.returncode, done.stdout) == (0, "")
    assert "is unlocked" in done.stderr
    assert "was not locked" in llmctl("chats", "unlock", "fix").stderr


@pytest.mark.parametrize("query", ["c++", "what is c++?", "langu", '"two lines"'])
def test_search_finds_what_it_says(hub: HubBuilder, llmctl: Llmctl, query: str) -> None:
    found = parse_json(llmctl("chats", "search", query, "--json"))
    assert [row["chat"] for row in found] == ["fix"]
    assert not set(found[0]["snippet"]) & set("\x02\x03")


@pytest.mark.parametrize("query", ['"', "'", "foo-bar", "a@b.com", "(", "*", "NOT", "\\"])
def test_search_without_a_hit_is_no_error(hub: HubBuilder, llmctl: Llmctl, query: str) -> None:
    assert require_success(llmctl("chats", "search", "--", query)) == ""


def test_search_filters_and_raw_queries(hub: HubBuilder, llmctl: Llmctl) -> None:
    assert require_success(llmctl("chats", "search", "hi", "--role", "user", "--columns", "snippet")) == ""
    assert require_success(llmctl("chats", "search", "hel", "--chat", "last", "--columns", "snippet")) == "hello\n"
    assert (
        require_success(llmctl("chats", "search", "--fts", "langu* NOT c", "--columns", "snippet"))
        == "a language\\nof two lines\n"
    )
    assert "invalid full-text query" in require_failure(llmctl("chats", "search", "--fts", '"'), 2)
    assert 'no role "robot"' in require_failure(llmctl("chats", "search", "x", "--role", "robot"), 2)
    assert "the search text is empty" in require_failure(llmctl("chats", "search", " "), 2)


def test_rename(hub: HubBuilder, llmctl: Llmctl) -> None:
    chat_id = require_success(llmctl("chats", "rename", "fix", "fox")).strip()
    assert parse_json(llmctl("chats", "show", "fox", "--json"))["id"] == chat_id
    assert "already" in require_failure(llmctl("chats", "rename", "last", "fox"), 2)
    assert 'no chat "fix"' in require_failure(llmctl("chats", "rename", "fix", "x"), 3)


def test_fork_at_a_place_or_a_message(hub: HubBuilder, llmctl: Llmctl) -> None:
    every = parse_json(llmctl("chats", "show", "fix", "--json", "--all"))["messages"]
    fork = require_success(llmctl("chats", "fork", "fix", "--at", every[1]["id"][:8], "--name", "b")).strip()
    found = parse_json(llmctl("chats", "show", fork, "--json"))
    assert [message["content"] for message in found["messages"]] == ["what is c++?", "a language\nof two lines"]
    assert found["name"] == "b"
    assert len(parse_json(llmctl("chats", "fork", "fix", "--at", "1", "--json"))["id"]) == 36
    assert "between the tool call" in require_failure(llmctl("chats", "fork", "fix", "--at", "4"), 2)
    assert 'no message number "9"' in require_failure(llmctl("chats", "fork", "fix", "--at", "9"), 3)


def test_chat_continue_goes_on_with_the_fork(llmctl: Llmctl) -> None:
    require_success(llmctl("chat", "-m", "echo", "--name", "a", "one"))
    require_success(llmctl("chat", "-m", "echo", "--name", "b", "two"))
    fork = parse_json(llmctl("chats", "fork", "a", "--json"))["id"]
    assert parse_json(llmctl("chat", "-c", "--json", "three"))["chat_id"] == fork


@pytest.mark.parametrize(
    ("format", "begin"),
    [
        ("text", "user:\nwhat is c++?\n"),
        ("markdown", "## User\n\nwhat is c++?\n\n## Assistant (gpt-5)\n\na language\n"),
        ("json", '[{"type":"user","content":"what is c++?"},{"type":"chatModel","content":"a language'),
    ],
)
def test_render_writes_a_format(hub: HubBuilder, llmctl: Llmctl, format: str, begin: str) -> None:
    assert require_success(llmctl("chats", "render", "fix", "--format", format)).startswith(begin)


def test_render_keeps_a_snapshot(hub: HubBuilder, llmctl: Llmctl) -> None:
    kept = parse_json(llmctl("chats", "render", "fix", "--save", "--reason", "before", "--json"))
    assert (kept["upto_seq"], kept["reason"]) == (6, "before")
    assert kept["messages"][0] == {"type": "user", "content": "what is c++?"}
    assert kept["messages"][4] == {"type": "toolCall", "content": "sunny"}
    assert json.loads(require_success(llmctl("chats", "render", "fix", "--json"))) == kept["messages"]
    assert 'no format "pdf"' in require_failure(llmctl("chats", "render", "fix", "--format", "pdf"), 2)
    assert "--reason requires --save" in require_failure(llmctl("chats", "render", "fix", "--reason", "x"), 2)


def test_snapshots_are_listed_shown_and_compared(hub: HubBuilder, llmctl: Llmctl) -> None:
    first = parse_json(llmctl("chats", "render", "fix", "--save", "--reason", "before", "--json"))
    require_success(llmctl("message", "add", "--chat", "fix", "and now?"))
    second = parse_json(llmctl("chats", "render", "fix", "--save", "--json"))
    found = parse_json(llmctl("chats", "render", "fix", "--list", "--json"))
    assert [(row["id"], row["reason"]) for row in found] == [(first["id"], "before"), (second["id"], None)]
    assert found[1]["message_count"] == found[0]["message_count"] + 1
    assert parse_json(llmctl("chats", "render", "fix", "--snapshot", first["id"], "--json")) == first["messages"]
    added = ["+user:", "+and now?", "+"]
    lines = require_success(llmctl("chats", "render", "fix", "--diff", f"{first['id']},{second['id']}")).splitlines()
    assert lines[:2] == [f"--- {first['id'][:8]}", f"+++ {second['id'][:8]}"]
    assert [line for line in lines[2:] if line.startswith(("+", "-"))] == added
    lines = require_success(llmctl("chats", "render", "fix", "--diff", first["id"][:8])).splitlines()
    assert [line for line in lines[2:] if line.startswith(("+", "-"))] == added
    assert require_success(llmctl("chats", "render", "fix", "--diff", second["id"])) == ""
    assert "cannot be combined" in require_failure(llmctl("chats", "render", "fix", "--list", "--save"), 2)
    other = hub.chat("other")
    hub.turn(other, "a", "b")
    assert "belongs to another chat" in require_failure(
        llmctl("chats", "render", "other", "--snapshot", first["id"]), 3
    )


def test_delete_needs_a_word(hub: HubBuilder, llmctl: Llmctl) -> None:
    assert "--yes" in require_failure(llmctl("chats", "delete", "fix"), 2)
    assert hub.database.value("SELECT count(*) FROM {chats}") == 2


def test_delete_asks_on_a_terminal(hub: HubBuilder, env: Mapping[str, str]) -> None:
    code, screen = run_on_terminal([*LLMCTL, "chats", "delete", "fix"], env, answers=[("[y/N]", b"n\n")])
    assert (code, hub.database.value("SELECT count(*) FROM {chats}")) == (10, 2)
    assert 'Delete chat "fix" (4 messages) and every copy of the text? [y/N]' in screen
    code, screen = run_on_terminal([*LLMCTL, "chats", "delete", "fix"], env, answers=[("[y/N]", b"y\n")])
    assert (code, hub.database.value("SELECT count(*) FROM {chats}")) == (0, 1)
    assert 'deleted chat "fix"' in screen


def test_delete_leaves_no_text_in_any_file_and_keeps_the_numbers(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    for word in ("zanzibar", "barbados"):
        require_success(llmctl("chat", "-m", "echo", "--name", word, "-s", f"of {word}", f"tell me of {word}"))
        require_success(llmctl("chat", "--chat", word, "--attach", "-", "see", input=f"{word} in a file"))
    before = parse_json(llmctl("stats", "--json"))
    chat_id = parse_json(llmctl("chats", "show", "zanzibar", "--json"))["id"]
    assert require_success(llmctl("chats", "delete", "zanzibar", "--yes")) == f"{chat_id}\n"
    folder = Path(env["LLMCTL_DB"]).parent
    left = b"".join(path.read_bytes() for path in folder.glob("hub.db*"))
    assert b"zanzibar" not in left
    assert b"barbados" in left
    after = parse_json(llmctl("stats", "--json"))
    assert after == before
    assert require_success(llmctl("chats", "search", "zanzibar")) == ""
    with closing(open_hub(env["LLMCTL_DB"], "write")) as database:
        assert database.value("PRAGMA integrity_check") == "ok"
        database.execute("INSERT INTO message_search (message_search) VALUES ('integrity-check')")


def test_delete_with_usage_forgets_the_numbers_too(llmctl: Llmctl) -> None:
    require_success(llmctl("chat", "-m", "echo", "--name", "a", "one two three"))
    require_success(llmctl("chat", "-m", "echo", "--name", "b", "one"))
    require_success(llmctl("chats", "delete", "a", "--yes", "--with-usage"))
    found = parse_json(llmctl("stats", "--json"))
    assert (found["requests"], found["input_tokens"]) == (1, 1)


def test_delete_takes_many_or_none(hub: HubBuilder, llmctl: Llmctl) -> None:
    assert 'no chat "nope"' in require_failure(llmctl("chats", "delete", "fix", "nope", "--yes"), 3)
    assert len(require_success(llmctl("chats", "delete", "fix", "last", "fix", "--yes")).splitlines()) == 2
    assert require_success(llmctl("chats", "list")) == ""


def test_delete_names_the_forks_that_keep_copies(hub: HubBuilder, llmctl: Llmctl) -> None:
    fork = require_success(llmctl("chats", "fork", "fix")).strip()
    assert f"fork {fork[:8]} keeps the messages it copied" in llmctl("chats", "delete", "fix", "--yes").stderr


# --- what a chat keeps for its later turns


def settings_of(llmctl_in_process: RunInProcess, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = parse_json(llmctl_in_process("chats", "show", ref, "--json"))["settings"]
    return {name: value for name, value in found.items() if name != "provider"}


@pytest.mark.parametrize("verb", ["new", "edit"])
@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (["--thinking", "low"], {"thinking": "low"}),
        (["--thinking", "0"], {"thinking": 0}),
        (["-T", "time:auto"], {"tools": {"time": "automatic"}}),
        (["-T", "time", "-T", "read_file:deny"], {"tools": {"time": "user-permitted", "read_file": "denied"}}),
        (["--no-persist", "streams,network"], {"without": ["network", "streams"]}),
        (["-o", "temperature=0"], {"options": {"temperature": 0}}),
    ],
)
def test_new_and_edit_keep_what_a_first_turn_keeps(
    llmctl_in_process: RunInProcess, verb: str, flags: list[str], settings: dict[str, Any]
) -> None:
    run = llmctl_in_process
    require_success(run("chat", "-m", "echo", "--name", "first", *flags, "hi"))
    if verb == "edit":
        require_success(run("chats", "new", "fix", "-m", "echo"))
        assert settings_of(run, "fix") == {}
    require_success(run("chats", verb, "fix", *flags, *(["-m", "echo"] if verb == "new" else [])))
    assert settings_of(run, "fix") == settings_of(run, "first") == settings


def test_edit_takes_away_thinking_tools_and_persistence(llmctl_in_process: RunInProcess) -> None:
    run = llmctl_in_process
    flags = ("--thinking", "low", "-T", "time:auto", "-T", "read_file", "--no-persist", "streams")
    require_success(run("chats", "new", "fix", "-m", "echo", *flags))
    require_success(run("chats", "edit", "fix", "-T", "time:null", "-T", "read_file:deny", "--no-persist", "requests"))
    left = {"thinking": "low", "tools": {"read_file": "denied"}, "without": ["requests"]}
    assert settings_of(run, "fix") == left
    require_success(run("chats", "edit", "fix", "--thinking", "null", "-T", "read_*:null", "--no-persist", "none"))
    assert settings_of(run, "fix") == {}
    stderr = require_failure(run("chats", "edit", "fix", "-T", "time:null"), 3)
    assert 'this chat has no tool "time"' in stderr


def test_a_turn_uses_what_edit_set(llmctl_in_process: RunInProcess) -> None:
    run = llmctl_in_process
    require_success(run("chats", "new", "fix", "-m", "echo"))
    require_success(run("chats", "edit", "fix", "-T", "time:auto", "-o", "tool=time", "--no-persist", "streams"))
    answer = parse_json(run("chat", "--chat", "fix", "--no-stdin", "--json", "late?"))
    assert [call["status"] for call in answer["tool_calls"]] == ["completed"]
    assert parse_json(run("db", "query", "SELECT count(*) AS n FROM response_streams", "--json")) == [{"n": 0}]


@pytest.mark.parametrize("flags", [["--thinking", "lots"], ["-T", "time:maybe"], ["-T", "tyme"], ["--no-persist", "x"]])
def test_edit_refuses_what_chat_refuses_in_the_same_words(llmctl_in_process: RunInProcess, flags: list[str]) -> None:
    run = llmctl_in_process
    require_success(run("chats", "new", "fix", "-m", "echo"))
    turn = run("chat", "--chat", "fix", "--no-stdin", *flags, "hi")
    for verb in (("edit", "fix"), ("new", "other", "-m", "echo")):
        changed = run("chats", *verb, *flags)
        assert (changed.returncode, changed.stderr) == (turn.returncode, turn.stderr)
    assert settings_of(run, "fix") == {}


def test_thinking_null_is_the_providers_default_for_one_turn(llmctl_in_process: RunInProcess) -> None:
    run = llmctl_in_process
    require_success(run("connection", "add", "own", "--base-url", "http://127.0.0.1:9/v1", "--model", "gpt-5"))
    require_success(run("chats", "new", "fix", "-m", "own", "--thinking", "low"))

    def effort(*flags: str) -> str | None:
        found = run("chat", "--chat", "fix", "--no-stdin", "--dry-run", "--json", *flags, "hi")
        value: str | None = parse_json(found)["body"].get("reasoning_effort")
        return value

    assert (effort(), effort("--thinking", "null")) == ("low", None)


def test_edit_switches_between_model_and_agent(llmctl_in_process: RunInProcess) -> None:
    run = llmctl_in_process
    require_success(run("agent", "create", "clerk", "--connection", "echo", "--instructions", "You help {{ user }}."))
    require_success(run("agent", "create", "boss", "--connection", "echo", "-o", "reply=no"))
    require_success(run("chat", "-m", "echo", "--name", "fix", "--no-stdin", "-o", "reply=x", "-T", "time", "hi"))
    require_success(run("chats", "edit", "fix", "--metadata", "user=ann", "--agent", "clerk"))
    assert settings_of(run, "fix") == {}
    assert require_success(run("chat", "--chat", "fix", "--no-stdin", "who?")) == "who?\n"
    shown = parse_json(run("chats", "show", "fix", "--json"))
    assert (shown["type"], shown["agent"], shown["instructions"]) == ("agent", "clerk", "You help ann.")
    (session,) = parse_json(run("agent", "sessions", "clerk", "--json"))
    assert (session["chat_id"], session["turns"]) == (shown["id"], 2)

    require_success(run("chats", "edit", "fix", "--agent", "boss"))
    assert require_success(run("agent", "run", "boss", "-c", "--no-stdin", "more?")) == "no\n"
    require_success(run("chats", "edit", "fix", "-m", "echo", "--thinking", "low"))
    assert require_success(run("chat", "--chat", "fix", "--no-stdin", "again")) == "again\n"
    assert parse_json(run("agent", "sessions", "boss", "--json")) == []


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--agent", "nope"], 3, 'no agent "nope"'),
        (["--agent", "clerk", "-m", "echo"], 2, "--agent and --model cannot be combined"),
        (["--agent", "clerk", "--thinking", "low"], 2, "llmctl agent edit clerk --thinking"),
        (["--agent", "clerk", "-T", "time"], 2, "llmctl agent edit clerk --tool"),
    ],
)
def test_edit_refuses_an_agent_together_with_what_its_definition_has(
    llmctl_in_process: RunInProcess, flags: list[str], code: int, words: str
) -> None:
    run = llmctl_in_process
    require_success(run("agent", "create", "clerk", "--connection", "echo"))
    require_success(run("chats", "new", "fix", "-m", "echo"))
    assert words in require_failure(run("chats", "edit", "fix", *flags), code)


@pytest.mark.parametrize("door", [("chats", "edit", "fix"), ("chats", "new", "b"), ("chat", "--chat", "fix", "hi")])
def test_reference_to_no_record_is_refused_as_ref_set_does(
    llmctl_in_process: RunInProcess, door: tuple[str, ...]
) -> None:
    run = llmctl_in_process
    require_success(run("chats", "new", "fix", "-m", "echo"))
    require_success(run("chats", "new", "goal", "-m", "echo"))
    refused = run("ref", "set", "fix", "k=nope")
    wrong = run(*door, *(["-m", "echo"] if "new" in door else []), "--reference", "k=nope")
    assert (wrong.returncode, wrong.stderr) == (refused.returncode, refused.stderr) == (3, refused.stderr)
    require_success(run(*door, "--reference", "k=goal"))
    goal = parse_json(run("chats", "show", "goal", "--json"))["id"]
    changed = door[2] if door[0] == "chats" else "fix"
    assert parse_json(run("chats", "show", changed, "--json"))["references"] == {"k": goal}


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("deep.a.b=1", ["one"]),
        ("deep.a.b=2", []),
        ("deep.on=true", ["one"]),
        ("tags=red", ["one", "two"]),
        ("tags=blue", ["one"]),
        ("items.id=7", ["one"]),
        ("dotted.key=x", ["two"]),
        ("deep.a=1", []),
        ("b=1", []),
    ],
)
def test_list_finds_nested_metadata_and_members_of_arrays(
    llmctl_in_process: RunInProcess, where: str, names: list[str]
) -> None:
    run = llmctl_in_process
    one = {"deep": {"a": {"b": 1}, "on": True}, "tags": ["red", "blue"], "items": [{"id": 6}, {"id": 7}]}
    two = {"tags": "red", "dotted.key": "x", "deep": "flat"}
    for name, metadata in (("one", one), ("two", two)):
        flags = [word for key, value in metadata.items() for word in ("--metadata", f"{key}:={json.dumps(value)}")]
        require_success(run("chats", "new", name, "-m", "echo", *flags))
    found = run("chats", "list", "--where", where, "--json")
    assert sorted(chat["name"] for chat in parse_json(found)) == names
    assert ("no chat has a field" in found.stderr) == (where in ("b=1",))


@pytest.mark.parametrize("name", ["last", "69dc", "DEADBEEF", "3f2a9c1e-12ab"])
def test_name_that_could_mean_another_chat_is_refused_at_every_door(llmctl_in_process: RunInProcess, name: str) -> None:
    run = llmctl_in_process
    require_success(run("chats", "new", "fix", "-m", "echo"))
    require_success(run("agent", "create", "clerk", "--connection", "echo"))
    for door in (
        ("chats", "rename", "fix", name),
        ("chats", "edit", "fix", "--name", name),
        ("chats", "new", name, "-m", "echo"),
        ("chats", "fork", "fix", "--name", name),
        ("chat", "-m", "echo", "--no-stdin", "--name", name, "hi"),
        ("agent", "run", "clerk", "--no-stdin", "--name", name, "hi"),
        ("agent", "session", "new", "clerk", "--name", name),
    ):
        assert "the name of a chat must not" in require_failure(run(*door), 2)
    assert [chat["name"] for chat in parse_json(run("chats", "list", "--json"))] == ["fix"]


@pytest.mark.parametrize("name", ["2026-10-05", "abc", "fix-42", "latest", "decades", "cafe-menu"])
def test_name_that_no_id_begins_with_is_taken(llmctl_in_process: RunInProcess, name: str) -> None:
    require_success(llmctl_in_process("chat", "-m", "echo", "--no-stdin", "--name", name, "hi"))
    require_success(llmctl_in_process("chats", "show", name))
