"""``llmctl agent``: definitions that count as they are now, sessions that go on, agents that ask agents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.harness import (
    LLMCTL,
    Llmctl,
    RunInProcess,
    parse_json,
    query_dicts,
    require_failure,
    require_success,
    run_on_terminal,
)

TIME = 'tool=time {"zone":"UTC"}'


@pytest.fixture
def helper(llmctl: Llmctl) -> str:
    """An agent on echo that has to know its user."""
    instructions = "You help {{ user }}{% if team is defined %} of {{ team }}{% endif %}."
    llmctl("agent", "create", "helper", "-m", "echo", "--instructions", instructions, check=True)
    return "helper"


def test_created_agent_is_shown_with_its_settings(llmctl: Llmctl) -> None:
    made = parse_json(
        llmctl("agent", "create", "a", "--connection", "echo", "--tool", "time:auto", "-o", "x=1", "--json")
    )
    shown = parse_json(llmctl("agent", "show", "a", "--json"))
    assert made["id"] == shown["id"]
    assert (shown["connection"], shown["tools"], shown["options"]) == ("echo", {"time": "automatic"}, {"x": 1})
    assert len(shown["version_hash"]) == 16
    assert parse_json(llmctl("agent", "list", "--json"))[0]["name"] == "a"


def test_session_is_continued_with_instructions_over_its_metadata(llmctl: Llmctl, helper: str) -> None:
    first = parse_json(llmctl("agent", "run", helper, "--metadata", "user=ann", "hello", "--json"))
    again = parse_json(llmctl("agent", "run", helper, "-c", "--metadata", "team=x", "and?", "--json"))
    assert first["session_id"] == again["session_id"]
    assert first["chat_id"] == again["chat_id"]
    said = query_dicts(llmctl.env, "SELECT role, content, type FROM v_thread_messages ORDER BY seq")
    assert [row["content"] for row in said if row["role"] == "system"] == ["You help ann.", "You help ann of x."]
    assert {row["type"] for row in said if row["role"] == "assistant"} == {"agent"}
    assert parse_json(llmctl("agent", "session", "show", first["session_id"], "--json"))["metadata"] == {
        "user": "ann",
        "team": "x",
    }


def test_value_for_one_turn_is_not_kept(llmctl: Llmctl, helper: str) -> None:
    words = ("agent", "run", helper, "--metadata", "user=ann", "-p", "team=now", "hello", "--json")
    session = parse_json(llmctl(*words))["session_id"]
    system = query_dicts(llmctl.env, "SELECT content FROM messages WHERE role = 'system'")
    assert system == [{"content": "You help ann of now."}]
    assert parse_json(llmctl("agent", "session", "show", session, "--json"))["metadata"] == {"user": "ann"}


def test_missing_metadata_is_named_and_nothing_is_sent(llmctl: Llmctl, helper: str) -> None:
    done = llmctl("agent", "run", helper, "hello")
    assert done.returncode == 2
    assert '"agent helper" requires a value for "user"' in done.stderr
    assert "--metadata user=VALUE" in done.stderr
    assert query_dicts(llmctl.env, "SELECT * FROM v_requests") == []


def test_current_definition_is_used_and_a_change_is_reported(llmctl: Llmctl, helper: str) -> None:
    session = parse_json(llmctl("agent", "run", helper, "--metadata", "user=ann", "hello", "--json"))["session_id"]
    llmctl(
        "agent", "edit", helper, "--instructions", "New.", "-o", "temperature=0.5", "--tool", "time:deny", check=True
    )
    diff = llmctl("agent", "session", "diff", session).stdout
    assert "+instructions: New." in diff
    assert parse_json(llmctl("agent", "session", "diff", session, "--json"))["changed"] is True
    again = llmctl("agent", "run", helper, "--session", session[:8], "again")
    assert f"llmctl agent session diff {session[:8]}" in again.stderr
    assert "+" not in llmctl("agent", "session", "diff", session).stdout
    request = query_dicts(
        llmctl.env, "SELECT agent, agent_version, session_id, parameters FROM requests ORDER BY created_at"
    )
    assert [row["agent"] for row in request] == [helper, helper]
    assert request[0]["agent_version"] != request[1]["agent_version"]
    assert json.loads(request[1]["parameters"])["options"] == {"temperature": 0.5}
    assert "changed" not in llmctl("agent", "run", helper, "-c", "third").stderr


def test_flag_goes_before_the_definition(llmctl: Llmctl) -> None:
    llmctl("agent", "create", "a", "-m", "echo", "-o", "temperature=1", "-o", "top_p=1", check=True)
    body = parse_json(llmctl("agent", "run", "a", "-o", "temperature=0", "hi", "--dry-run", "--json"))["body"]
    assert (body["temperature"], body["top_p"]) == (0, 1)


def test_session_of_another_agent_is_refused_in_the_words_of_the_original(llmctl: Llmctl, helper: str) -> None:
    llmctl("agent", "create", "other", "-m", "echo", check=True)
    session = parse_json(llmctl("agent", "run", "other", "hello", "--json"))["session_id"]
    words = ("agent", "run", helper, "--session", session, "--metadata", "user=ann", "again")
    done = llmctl(*words)
    assert done.returncode == 2
    text = f'agent class mismatch: session "{session}" was created for "other", but is being loaded with "helper"'
    assert text in done.stderr
    assert llmctl(*words, "--force").returncode == 0
    assert parse_json(llmctl("agent", "session", "show", session, "--json"))["agent_class"] == helper
    assert parse_json(llmctl("agent", "session", "diff", session, "--json"))["changed"] is False
    assert parse_json(llmctl("agent", "run", helper, "-c", "more", "--json"))["session_id"] == session
    assert llmctl("agent", "run", "other", "-c", "more").returncode == 3


def test_chat_of_a_session_is_continued_by_its_agent(llmctl: Llmctl, helper: str) -> None:
    llmctl("agent", "run", helper, "--metadata", "user=ann", "--name", "talk", "hello", check=True)
    done = llmctl("chat", "--chat", "talk", "again", "--json")
    assert parse_json(done)["session_id"]
    assert llmctl("chat", "-c", "not here").returncode == 3


def test_new_session_has_what_it_should_know_before_its_first_turn(llmctl: Llmctl, helper: str) -> None:
    llmctl("init", "--no-detect", "--field", "chats.user_id:text", check=True)
    made = parse_json(
        llmctl(
            *("agent", "session", "new", helper, "--name", "s", "--metadata", "user=bob"),
            *("--metadata", "n:=[1]", "--field", "user_id=u_1", "--json"),
        )
    )
    assert made["metadata"] == {"user": "bob", "n": [1]}
    assert query_dicts(llmctl.env, "SELECT name, type, user_id FROM chats") == [
        {"name": "s", "type": "agent", "user_id": "u_1"}
    ]
    assert llmctl("agent", "run", helper, "--session", made["id"], "hi").returncode == 0
    assert parse_json(llmctl("agent", "sessions", helper, "--json"))[0]["turns"] == 1
    assert llmctl("agent", "session", "delete", made["id"], "--yes").returncode == 0
    assert parse_json(llmctl("agent", "sessions", "--json")) == []


def test_agent_tool_waits_for_approval_and_is_continued(llmctl: Llmctl) -> None:
    llmctl("agent", "create", "clock", "-m", "echo", "--tool", "time", "-o", TIME, check=True)
    assert llmctl("agent", "run", "clock", "what time?").returncode == 8
    (waiting,) = parse_json(llmctl("tool", "pending", "--json"))
    assert waiting["agent"] == "clock"
    llmctl("tool", "approve", waiting["id"], check=True)
    done = llmctl("agent", "run", "clock", "-c")
    assert (done.returncode, done.stdout) == (0, "what time?\n")
    assert [row["status"] for row in query_dicts(llmctl.env, "SELECT status FROM tool_invocations")] == ["completed"]


def test_file_counts_and_narrows_but_never_grants(llmctl: Llmctl, tmp_path: Path) -> None:
    file = tmp_path / "clock.toml"
    file.write_text('model = "echo"\ninstructions = "One."\ntools = ["time"]\n[options]\ntool = "time {}"\n')
    assert llmctl("agent", "run", str(file), "what time?").returncode == 8
    llmctl("agent", "attach", "clock", "time:auto", check=True)
    assert llmctl("agent", "run", str(file), "what time?").returncode == 0
    file.write_text(file.read_text().replace("One.", "Two."))
    assert "updated agent" in llmctl("agent", "run", "clock", "-c", "and now?").stderr
    assert parse_json(llmctl("agent", "show", "clock", "--json"))["tools"] == {"time": "automatic"}
    assert llmctl("agent", "edit", "clock", "--instructions", "Mine.").returncode == 2
    file.write_text('model = "echo"\ntools = ["time:auto"]\n')
    refused = llmctl("agent", "run", "clock", "-c", "and now?")
    assert (refused.returncode, "cannot grant" in refused.stderr) == (2, True)
    file.unlink()
    assert "no longer exists" in llmctl("agent", "run", "clock", "-c", "still there?").stderr


def test_file_does_not_replace_an_agent_made_by_command(llmctl: Llmctl, helper: str, tmp_path: Path) -> None:
    file = tmp_path / "helper.toml"
    file.write_text('model = "echo"\n')
    assert llmctl("agent", "run", str(file), "hi").returncode == 2
    assert llmctl("agent", "apply", str(file)).returncode == 0
    assert llmctl("agent", "run", str(file), "hi").returncode == 0


def test_agent_asks_an_agent_in_a_session_of_its_own(llmctl: Llmctl, helper: str) -> None:
    llmctl("agent", "edit", helper, "--instructions", "Help.", check=True)
    asking = 'tool=helper {"prompt":"sub question"}'
    llmctl("agent", "create", "boss", "-m", "echo", "--agent", helper, "-o", asking, check=True)
    done = parse_json(llmctl("agent", "run", "boss", "ask", "--json"))
    assert done["tool_calls"][0]["result"] == "sub question"
    requests = query_dicts(llmctl.env, "SELECT agent, session_id FROM requests ORDER BY created_at")
    assert sorted(row["agent"] for row in requests) == ["boss", "boss", "helper"]
    assert len({row["session_id"] for row in requests}) == 2


def test_agents_that_ask_themselves_come_to_an_end(llmctl: Llmctl) -> None:
    llmctl("agent", "create", "self", "-m", "echo", "-o", 'tool=self {"prompt":"again"}', check=True)
    llmctl("agent", "edit", "self", "--agent", "self", check=True)
    done = parse_json(llmctl("agent", "run", "self", "go", "--json"))
    assert done["status"] == "completed"
    assert query_dicts(llmctl.env, "SELECT count(*) AS n FROM agent_sessions")[0]["n"] == 3


def test_removed_agent_leaves_its_history_and_says_so(llmctl: Llmctl, helper: str) -> None:
    session = parse_json(llmctl("agent", "run", helper, "--metadata", "user=ann", "hello", "--json"))
    assert llmctl("agent", "remove", helper).returncode == 2
    assert llmctl("agent", "remove", helper, "--yes").returncode == 0
    assert "hello" in llmctl("chats", "show", session["chat_id"]).stdout
    assert llmctl("chat", "--chat", session["chat_id"], "again").returncode == 4


def test_no_log_stores_no_text_of_an_agent(llmctl: Llmctl, helper: str, env: Mapping[str, str]) -> None:
    assert llmctl("agent", "run", helper, "--metadata", "user=annabelle", "--no-log", "a secret").returncode == 0
    assert query_dicts(llmctl.env, "SELECT count(*) AS n FROM agent_sessions")[0]["n"] == 0
    assert query_dicts(llmctl.env, "SELECT agent, session_id FROM requests") == [{"agent": helper, "session_id": None}]
    with open(env["LLMCTL_DB"], "rb") as file:
        assert b"annabelle" not in file.read()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["create", "x"], 2),
        (["create", "helper", "-m", "echo"], 2),
        (["create", "x", "-m", "echo", "--tool", "nope"], 3),
        (["create", "x", "-m", "echo", "--tool", "time:perhaps"], 2),
        (["create", "x", "-m", "echo", "--agent", "nobody"], 3),
        (["run", "nobody", "hi"], 3),
        (["run", "missing.toml", "hi"], 3),
        (["run", "helper", "-c", "hi"], 3),
        (["run", "helper", "--session", "abcdef12", "hi"], 3),
        (["detach", "helper", "time"], 3),
        (["session", "show", "abcdef12"], 3),
    ],
)
def test_invalid_arguments_have_their_exit_code(llmctl: Llmctl, helper: str, arguments: list[str], code: int) -> None:
    assert llmctl("agent", *arguments).returncode == code


def test_every_key_of_a_file_counts_or_is_refused(llmctl: Llmctl, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        'connection = "echo"\nextract = true\ninstructions = "For {{ who }}."\n'
        'options = { reply = "so:\\n```\\ncode\\n```" }\n[metadata]\nwho = "ann"\n'
    )
    first = llmctl("agent", "run", str(file), "hi")
    assert (first.returncode, first.stdout) == (0, "code\n"), first.stderr
    assert parse_json(llmctl("agent", "sessions", "--json"))[0]["metadata"] == {"who": "ann"}
    for key in ("no_log = true", 'attach = ["x.txt"]'):
        file.write_text(f'connection = "echo"\n{key}\n')
        refused = llmctl("agent", "run", str(file), "hi")
        assert (refused.returncode, key.split()[0] in refused.stderr) == (2, True)


def test_missing_agent_file_is_reported_once(llmctl: Llmctl, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('connection = "echo"\n')
    llmctl("agent", "apply", str(file), check=True)
    file.unlink()
    assert llmctl("agent", "run", "a", "hi").stderr.count("no longer exists") == 1


def test_agent_is_not_called_like_a_file(llmctl: Llmctl) -> None:
    assert llmctl("agent", "create", "x.toml", "-m", "echo").returncode == 2
    assert llmctl("agent", "create", "x/y", "-m", "echo").returncode == 2


def test_preview_of_a_file_keeps_nothing(llmctl: Llmctl, tmp_path: Path) -> None:
    llmctl("chat", "-m", "echo", "hi", check=True)
    file = tmp_path / "a.toml"
    file.write_text('connection = "echo"\ninstructions = "Be brief."\ntools = ["time"]\n')
    body = parse_json(llmctl("agent", "run", str(file), "--dry-run", "--json", "hello"))["body"]
    assert body["messages"][0]["content"] == "Be brief."
    assert [tool["function"]["name"] for tool in body["tools"]] == ["time"]
    assert parse_json(llmctl("agent", "list", "--json")) == parse_json(llmctl("tool", "list", "--json")) == []


def test_named_session_is_continued_or_created(llmctl: Llmctl) -> None:
    for name in ("a", "b"):
        llmctl("agent", "create", name, "-m", "echo", check=True)
    first = parse_json(llmctl("agent", "run", "a", "--name", "talk", "hi", "--json"))
    again = parse_json(llmctl("agent", "run", "a", "--name", "talk", "more", "--json"))
    assert again["session_id"] == first["session_id"]
    assert "agent class mismatch" in llmctl("agent", "run", "b", "--name", "talk", "hi").stderr
    llmctl("chat", "-m", "echo", "--name", "plain", "hi", check=True)
    assert llmctl("agent", "run", "a", "--name", "plain", "hi").returncode == 2


def test_run_takes_a_chat_as_chat_does(llmctl_in_process: RunInProcess) -> None:
    run = llmctl_in_process
    require_success(run("agent", "create", "clerk", "--connection", "echo"))
    require_success(run("agent", "create", "boss", "--connection", "echo"))
    require_success(run("agent", "run", "clerk", "--name", "case-7", "--no-stdin", "one"))
    require_success(run("agent", "run", "clerk", "--no-stdin", "two"))
    answer = parse_json(run("agent", "run", "clerk", "--chat", "case-7", "--no-stdin", "--json", "three"))
    assert answer["chat_id"] == parse_json(run("chats", "show", "case-7", "--json"))["id"]
    last = parse_json(run("agent", "run", "clerk", "--chat", "last", "--no-stdin", "--json", "four"))
    assert last["chat_id"] == answer["chat_id"]
    require_success(run("chats", "new", "plain", "-m", "echo"))
    for flags, code, words in (
        (("clerk", "--chat", "nope"), 3, 'no chat "nope"'),
        (("boss", "--chat", "case-7"), 2, "agent class mismatch"),
        (("boss", "--chat", "last"), 3, "no session to continue"),
        (("clerk", "--chat", "plain"), 2, "make it one: llmctl chats edit plain --agent clerk"),
        (("clerk", "--chat", "case-7", "--session", "last"), 2, "--session and --chat cannot be combined"),
    ):
        assert words in require_failure(run("agent", "run", *flags, "--no-stdin", "hi"), code)
    require_success(run("agent", "run", "boss", "--chat", "case-7", "--force", "--no-stdin", "five"))
    require_success(run("chats", "edit", "plain", "--agent", "clerk"))
    require_success(run("agent", "run", "clerk", "--chat", "plain", "--no-stdin", "six"))


def test_terminal_shows_the_whole_definition(llmctl: Llmctl) -> None:
    instructions = "You help {{ user }}.\nBe brief."
    flags = ("--tool", "time:auto", "--tool", "read_file", "-o", "temperature=0", "--thinking", "low")
    llmctl("agent", "create", "clerk", "-m", "echo", "--instructions", instructions, *flags, check=True)
    code, screen = run_on_terminal([*LLMCTL, "agent", "show", "clerk"], llmctl.env)
    assert code == 0
    for line in ("You help {{ user }}.", "Be brief.", "temperature=0", "thinking=low", "time: automatic"):
        assert line in screen
    assert "read_file: user-permitted" in screen
    assert llmctl("agent", "show", "clerk", "--json", check=True).json["version_hash"] in screen
    llmctl("connection", "add", "gone", "--provider", "openai", "--key-env", "K", check=True)
    llmctl("agent", "create", "lost", "--connection", "gone", "--instructions", "x", check=True)
    llmctl("connection", "remove", "gone", "--yes", check=True)
    assert run_on_terminal([*LLMCTL, "agent", "show", "lost"], llmctl.env)[0] == 0


def test_edit_without_flags_says_what_can_be_set(llmctl: Llmctl) -> None:
    llmctl("agent", "create", "clerk", "-m", "echo", "--instructions", "x", check=True)
    done = llmctl("agent", "edit", "clerk")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--instructions" in done.stderr
