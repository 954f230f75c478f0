"""The interactive chat: what is entered, what is a command, and what is kept; in a pipe and on terminals."""

from __future__ import annotations

import os
import select
from subprocess import PIPE

import pytest

from tests.fakes.openai_server import HOLD, FakeServer, Reply, delta, event, stream
from tests.harness import LLMCTL, TIMEOUT_S, Llmctl, Result, query
from tests.terminal import CAPABLE, Terminal

ECHO = ("chat", "-m", "echo", "-i", "--no-stdin")
PROMPTS = "SELECT content FROM messages WHERE role = 'user' ORDER BY rowid"
LINES = "\n".join(f"line {number}" for number in range(5000))


def converse(llmctl: Llmctl, entries: list[str], *flags: str) -> Result:
    """Run an interactive chat in a pipe; each entry is written when there is a prompt for it."""
    with llmctl.start(*ECHO, *flags, stdin=PIPE) as running:
        assert running.process.stdout is not None
        for entry in entries:
            while not running.output.endswith(b"> "):
                assert select.select([running.process.stdout], [], [], TIMEOUT_S)[0], running.output
                running.output += os.read(running.process.stdout.fileno(), 65536)
            running.output += b"|"
            running.write(entry.encode())
        return running.wait()


@pytest.fixture(params=["dumb", CAPABLE])
def term(request: pytest.FixtureRequest) -> str:
    """A terminal that can do nothing, and one with a line editor."""
    return str(request.param)


def connect(llmctl: Llmctl, server: FakeServer) -> None:
    """Make the fake provider the default."""
    llmctl.env["K"] = "key-0123456789"
    llmctl("connection", "add", "fake", "--base-url", server.url, "-m", "m", "--key-env", "K", "--default", check=True)


def call_tool(name: str) -> Reply:
    """Return the answer of a model that calls a tool after its first word."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
    steps = (delta("one"), HOLD, event({"id": "c", "model": "m", "choices": [choice]}), event("[DONE]"))
    return Reply(200, {"content-type": "text/event-stream"}, steps, chunked=True)


def prompts(env: dict[str, str]) -> list[str]:
    return [str(content) for (content,) in query(env, PROMPTS)]


def test_repl_continues_undoes_and_survives_errors(llmctl: Llmctl, env: dict[str, str]) -> None:
    lines = ("one", "/nope", "two", "/undo", "/system be brief", "three", "/stats", "//slash", "/exit", "never said")
    done = converse(llmctl, [f"{line}\n" for line in lines[:-1]], "--name", "x")
    assert done.returncode == 0
    assert 'no command "/nope"' in done.stderr
    said = (
        "SELECT role, content FROM messages JOIN chats ON chats.id = messages.chat_id"
        " WHERE chats.name = ? AND role <> 'assistant' ORDER BY seq"
    )
    assert query(env, said, "x") == [("user", "one"), ("system", "be brief"), ("user", "three"), ("user", "/slash")]
    assert query(env, said, "x~1") == [("user", "one"), ("user", "two")]


@pytest.mark.parametrize("word", ["exit", "quit", "/exit", "/quit"])
def test_words_that_leave_are_not_sent(llmctl: Llmctl, env: dict[str, str], word: str) -> None:
    assert converse(llmctl, ["one\n", f"{word}\n"]).returncode == 0
    assert prompts(env) == ["one"]


@pytest.mark.parametrize(
    ("pasted", "message"),
    [
        (LINES + "\n", LINES),
        ("one\r\ntwo\r\n", "one\ntwo"),
        ("one\n\ntwo", "one\n\ntwo"),
        ("/help\n/exit\n!ls\nexit\n", "/help\n/exit\n!ls\nexit"),
        ("\x1b[200~one\ntwo\x1b[201~ three\n", "one\ntwo three"),
        ("\x1b[200~/exit\x1b[201~\n", "/exit"),
    ],
    ids=["5000 lines", "crlf", "no newline at the end", "commands", "marked", "marked command"],
)
def test_what_arrives_together_in_a_pipe_is_one_message(
    llmctl: Llmctl, env: dict[str, str], pasted: str, message: str
) -> None:
    done = llmctl(*ECHO, input=pasted)
    assert done.returncode == 0
    assert prompts(env) == [message]
    assert query(env, "SELECT count(*) FROM requests") == [(1,)]


@pytest.mark.parametrize("end", ["", "\n"])
def test_paste_into_a_dumb_terminal_is_one_message(llmctl: Llmctl, env: dict[str, str], end: str) -> None:
    with Terminal([*LLMCTL, "chat", "-m", "echo"], env, term="dumb") as terminal:
        terminal.wait_for_prompt()
        terminal.send(f"/exit\ntwo\n{LINES[:5000]}{end}")
        terminal.send("" if end else "\r")
        terminal.wait_for("in, ")
        terminal.wait_for_prompt()
        terminal.send("quit\r")
        assert terminal.finish() == 0
    assert prompts(env) == [f"/exit\ntwo\n{LINES[:5000]}"]


def test_typing_during_an_answer_is_not_shown_in_it(
    llmctl: Llmctl, env: dict[str, str], server: FakeServer, term: str
) -> None:
    connect(llmctl, server)
    server.answer(stream("one two three", hold=2))
    with Terminal([*LLMCTL, "chat"], env, term=term) as terminal:
        terminal.wait_for_prompt()
        terminal.send("hello\r")
        terminal.wait_for("one two")
        terminal.send("next\r")
        server.release()
        assert "one two three" in terminal.wait_for("> next")
        terminal.wait_until(lambda lines: len(server.requests) == 2)
        terminal.wait_for_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0
    assert prompts(env) == ["hello", "next"]


def test_typing_ahead_answers_no_question(llmctl: Llmctl, env: dict[str, str], server: FakeServer, term: str) -> None:
    connect(llmctl, server)
    llmctl("tool", "add", "mark", "--command", "touch ran", check=True)
    server.answer(call_tool("mark"))
    with Terminal([*LLMCTL, "chat", "-T", "mark"], env, term=term, cwd=llmctl.cwd) as terminal:
        terminal.wait_for_prompt()
        terminal.send("hello\r")
        terminal.wait_for("one")
        terminal.send("y\ry\r")
        server.release()
        terminal.wait_for("uit: ")
        terminal.send("n\r")
        terminal.wait_for_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0
    assert not os.path.exists(os.path.join(llmctl.cwd, "ran"))
    assert prompts(env) == ["hello"]
