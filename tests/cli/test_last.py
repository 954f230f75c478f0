"""``last`` means the same in every command: what ``chat -c`` would take, and never what comes from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from llmctl import Hub
from llmctl.errors import NotFoundError
from tests.harness import Llmctl, parse_json, query, require_failure, require_success, run_command


@pytest.fixture
def other(llmctl: Llmctl, tmp_path: Path) -> Llmctl:
    """llmctl on the same hub, in another folder, where the newest of everything was made."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    return Llmctl(llmctl.env, str(elsewhere))


def make_all(llmctl: Llmctl, name: str) -> None:
    """Make a chat, a session, an invocation and a job of a name."""
    llmctl("tool", "add", "shout", "--command", "echo hey", check=True) if name == "here" else None
    llmctl("agent", "create", "clerk", "--connection", "echo", check=True) if name == "here" else None
    llmctl("agent", "run", "clerk", "--name", f"session-{name}", "hi", check=True)
    llmctl("chat", "-m", "echo", "--name", name, "-T", "shout:auto", "-o", "tool=shout", "hi", check=True)
    llmctl("job", "run", "--name", f"job-{name}", "--", "true", check=True)


#: A command with ``last``, and what its output names.
COMMANDS: dict[str, tuple[list[str], str]] = {
    "chats show": (["chats", "show", "last", "--json"], "name"),
    "request show": (["request", "show", "last", "--json"], "chat_id"),
    "job show": (["job", "show", "last", "--json"], "name"),
    "session show": (["agent", "session", "show", "last", "--json"], "chat_id"),
    "invocations": (["tool", "invocations", "last", "--json"], "id"),
}


def first_of(llmctl: Llmctl, arguments: Sequence[str], key: str) -> object:
    return parse_json(llmctl(*arguments))[key]


@pytest.mark.parametrize(("arguments", "key"), COMMANDS.values(), ids=COMMANDS)
def test_last_is_the_newest_of_this_folder(
    llmctl: Llmctl, other: Llmctl, arguments: list[str], key: str, tmp_path: Path
) -> None:
    make_all(llmctl, "here")
    here = first_of(llmctl, arguments, key)
    make_all(other, "there")
    assert first_of(llmctl, arguments, key) == here
    assert first_of(other, arguments, key) != here
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    stderr = require_failure(Llmctl(llmctl.env, str(nowhere))(*arguments[:-1]), 3)
    assert f'from "{nowhere}"' in stderr
    assert "the newest one" in stderr


def test_last_chat_is_the_same_in_every_command(llmctl: Llmctl, other: Llmctl) -> None:
    make_all(llmctl, "here")
    make_all(other, "there")
    assert require_success(llmctl("chats", "rename", "last", "renamed")) is not None
    assert "renamed" in llmctl("chat", "-c", "again").stderr
    for words in (["stats", "--chat"], ["export", "--chat"], ["request", "list", "--chat"], ["chats", "render"]):
        assert llmctl(*words, "last").stdout == llmctl(*words, "renamed").stdout, words
    with_variable = llmctl.with_env(LLMCTL_CHAT="last")
    id = query(llmctl.env, "SELECT id FROM chats WHERE name = 'renamed'")[0][0]
    assert parse_json(with_variable("chat", "--json", "once more"))["chat_id"] == id
    llmctl("chats", "delete", "last", "--yes", check=True)
    assert query(llmctl.env, "SELECT name FROM chats WHERE type <> 'agent' ORDER BY name") == [("there",)]


def test_last_on_a_terminal_is_the_newest_from_a_terminal(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "piped", "hi", check=True)
    query(llmctl.env, "UPDATE chats SET last_turn_terminal = 1")
    llmctl("chat", "-m", "echo", "--name", "newer", "hi", check=True)
    assert first_of(llmctl, COMMANDS["chats show"][0], "name") == "newer"
    script = 'script -qec "python -m llmctl chats show last --json" /dev/null'
    shown = run_command(["bash", "-c", script], env=llmctl.env | {"TERM": "dumb"}, cwd=llmctl.cwd)
    if shown.returncode == 0:  # `script` is not everywhere
        assert '"piped"' in shown.stdout


def test_last_session_of_an_agent_is_the_one_that_it_continues(llmctl: Llmctl, other: Llmctl) -> None:
    make_all(llmctl, "here")
    make_all(other, "there")
    last = parse_json(llmctl("agent", "run", "clerk", "--session", "last", "--json", "more"))
    assert query(llmctl.env, "SELECT name FROM chats WHERE id = ?", last["chat_id"]) == [("session-there",)]


def test_last_of_a_hub_with_imported_chats_says_what_there_is(llmctl: Llmctl, tmp_path: Path) -> None:
    llmctl("init", "--no-detect", check=True)
    assert "start one" in require_failure(llmctl("chats", "show", "last"), 3)
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    llmctl("import", "chat.jsonl", "--format", "openai", check=True)
    [(id,)] = query(llmctl.env, "SELECT id FROM chats")
    stderr = require_failure(llmctl("chats", "show", "last"), 3)
    assert f'no chat from "{llmctl.cwd}"' in stderr
    assert f"the newest chat is imported: llmctl chats show {id[:8]}" in stderr


def test_last_request_can_be_shown_as_curl_and_replayed(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "hi", check=True)
    llmctl("embed", "-m", "echo", "text", check=True)
    assert parse_json(llmctl("request", "show", "last", "--json"))["type"] == "embedding"
    llmctl("chat", "-m", "echo", "again", check=True)
    assert "again" in require_success(llmctl("request", "curl", "last"))
    assert require_success(llmctl("request", "replay", "last")) == "again\n"


def test_last_in_python_is_the_one_of_this_folder(
    llmctl: Llmctl, other: Llmctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    other("chat", "-m", "echo", "--name", "there", "hi", check=True)
    monkeypatch.chdir(llmctl.cwd)
    with Hub(llmctl.env["LLMCTL_DB"], env=llmctl.env) as hub:
        with pytest.raises(NotFoundError, match="no chat from"):
            hub.load_chat("last")
        monkeypatch.chdir(other.cwd)
        assert hub.load_chat("last").ask("more").content == "more"
        assert hub.stats(chat="last")["requests"] == 2
