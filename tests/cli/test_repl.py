"""The interactive chat: what is entered, what is a command, and what is kept; in a pipe and on terminals."""

from __future__ import annotations

import os
import select
import shutil
import signal
from pathlib import Path
from subprocess import PIPE

import pytest

from llmctl.cli.turn.slash_commands import COMMANDS
from tests.fakes.hub_builder import HubBuilder
from tests.fakes.openai_server import HOLD, FakeServer, Reply, delta, event, stream
from tests.harness import LLMCTL, TIMEOUT_S, Llmctl, Result, parse_json, query, run_command
from tests.terminal import CAPABLE, Terminal, paste

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


def test_ctrl_c_says_what_is_kept_and_stays_in_the_chat(
    llmctl: Llmctl, env: dict[str, str], server: FakeServer, term: str
) -> None:
    connect(llmctl, server)
    server.answer(stream("one two three", hold=2))
    with Terminal([*LLMCTL, "chat", "--name", "fix"], env, term=term) as terminal:
        terminal.wait_for_prompt()
        terminal.send("hello\r")
        terminal.wait_for("one two")
        terminal.send("\x03")
        terminal.wait_for('stopped; 2 words kept in "fix"; /continue goes on')
        terminal.wait_for_prompt()
        terminal.send("/continue\r")
        terminal.wait_for("echo: hello")
        terminal.wait_for_prompt()
        terminal.send("\x03")
        terminal.wait_for("press Ctrl-C again or Ctrl-D to leave")
        terminal.wait_for_prompt()
        terminal.send("\x03")
        assert terminal.finish() == -signal.SIGINT


def test_ctrl_c_in_a_single_turn_names_the_way_on(
    llmctl: Llmctl, env: dict[str, str], server: FakeServer, term: str
) -> None:
    connect(llmctl, server)
    server.answer(stream("one two three", hold=2))
    with Terminal([*LLMCTL, "chat", "--name", "fix", "hello"], env, term=term) as terminal:
        terminal.wait_for("one two")
        terminal.send("\x03")
        assert terminal.finish() == -signal.SIGINT
        assert terminal.screen()[-1] == 'llmctl: stopped; 2 words kept in "fix"; llmctl chat -c goes on'


def test_ctrl_c_in_a_pipe_says_nothing_more(llmctl: Llmctl, server: FakeServer) -> None:
    connect(llmctl, server)
    server.answer(stream("one two three", hold=2))
    with llmctl.start("chat", "hello") as running:
        running.wait_for_output("one two")
        assert running.kill(signal.SIGINT).stderr == ""


@pytest.mark.parametrize("words", [["-c"], ["--chat", "last"]], ids=" ".join)
def test_open_chat_shows_the_last_exchange(llmctl: Llmctl, env: dict[str, str], words: list[str]) -> None:
    for flags in (["--name", "fix", "first"], ["-o", "cut=1", "--name", "fix", "last words"]):
        with Terminal([*LLMCTL, "chat", "-m", "echo", *flags], env) as terminal:
            terminal.finish()
    with Terminal([*LLMCTL, "chat", *words], {**env, "NO_COLOR": ""}) as terminal:
        terminal.wait_for_prompt()
        lines = terminal.text()
        assert lines[0].startswith('llmctl: continuing "fix", 2 turns, ')
        assert "last words" in lines
        assert "first" not in lines
        assert "llmctl: the last answer broke off; /continue finishes it" in lines
        assert b"\x1b[2mlast words\x1b[0m" in terminal.raw
        terminal.send("\x04")
        assert terminal.finish() == 0
    assert query(env, "SELECT count(*) FROM requests") == [(2,)]


@pytest.mark.parametrize("words", [["list"], ["delete", "fix-42"]], ids=" ".join)
def test_verb_of_chats_is_no_prompt_on_a_terminal(llmctl: Llmctl, env: dict[str, str], words: list[str]) -> None:
    with Terminal([*LLMCTL, "chat", "-m", "echo", *words], env) as terminal:
        assert terminal.finish() == 2
        text = " ".join(words)
        assert f"command: llmctl chats {text}; prompt: llmctl chat -- {text}" in terminal.screen()[-1]
    with Terminal([*LLMCTL, "chat", "-m", "echo", "--", *words], env) as terminal:
        assert terminal.finish() == 0
    assert llmctl("chat", "-m", "echo", "list").stdout == "list\n"


SHOWN_BY_COMMANDS = (
    *("echo (echo)", "no connection to a model", "with the next message: notes.txt", "nothing is attached"),
    *("has 2 code blocks", 'this chat has 1 answer, got "5"', "no way to the clipboard"),
    *('saved this chat to "chat.html"', "/save needs a file that ends in .md", "no tools are offered"),
    *("time: user-permitted", 'no tool "nosuch"', "no tool call waits", "thinking: high", 'got "much"'),
    *("answers need not match", "requests 1, 0 failed", "this month", 'renamed to "fix-42"', 'this is now "side"'),
    *("go on in one of them", 'nothing found for "nothing"', "forked before your last message"),
    *('begins a new chat "other"', "did you mean /copy", "/edit needs a terminal"),
    "copy the last answer, an earlier one, or its code",
)


def test_commands(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    """Each command does what its help says; what it shows is on stderr, but code on stdout."""
    (tmp_path / "notes.txt").write_text("some notes")
    answer = "```py\nprint(1)\n```\nand\n```\ntwo\n```"
    entries = [
        *("/model", "/model ehco", "/model echo", "/attach notes.txt", "/attach none", "/attach notes.txt", "hello"),
        *("/code", "/code 2 > two.txt", "/code 3", "/copy 5", "/copy code", "/save chat.html", "/save chat.odt"),
        *("/tools", "/tools time", "/tools nosuch", "/approve", "/thinking high", "/thinking much", "/schema none"),
        *("/stats", "/cost", "/rename fix-42", "/chat", "/fork side", "/chats", "/find hello", "/find nothing"),
        *("/chats fix-42", "/undo", "/retry", "/new other", "fresh", "/cop --help", "/copy --help", "/edit", "/clear"),
        *("/help", "/exit"),
    ]
    done = converse(llmctl, [f"{entry}\n" for entry in entries], "-o", f"reply={answer}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    for shown in SHOWN_BY_COMMANDS:
        assert shown in " ".join(done.stderr.split()), shown
    assert "print(1)" in done.stdout
    assert (tmp_path / "two.txt").read_text() == "two\n"
    assert "<html" in (tmp_path / "chat.html").read_text()
    assert query(env, "SELECT name, superseded_by IS NOT NULL FROM chats ORDER BY rowid") == [
        *(("fix-42~1", 1), ("side", 0), ("fix-42", 0), ("other", 0)),
    ]
    assert query(env, "SELECT count(*) FROM message_attachments") == [(3,)]  # of the chat, the fork and the retry
    assert [chat["name"] for chat in parse_json(llmctl("chats", "list", "--json"))] == ["other", "fix-42", "side"]


def test_every_command_is_in_the_help_with_its_line(llmctl: Llmctl) -> None:
    done = converse(llmctl, [*(f"/{name} --help\n" for name in COMMANDS), "/exit\n"])
    for command in COMMANDS.values():
        assert f"{command.usage:28}  {command.help}"[:60] in done.stderr


#: What could command a terminal: colors, the clipboard, the title, C1 controls, bidirectional overrides, tmux.
HOSTILE = "a\x1b[31mb\x1b]52;c;QUJD\x07c\x1b]0;title\x07d\x9b31me\u202ef\x1bPtmux;\x1b\x1b]52;c;QQ==\x07\x1b\\g\x08h"
FORBIDDEN = (b"\x1b[31m", b"\x1b]52", b"\x1b]0", b"\x9b31m", "\u202e".encode(), b"\x1bPtmux", b"g\x08h")


@pytest.mark.parametrize("columns", [40, 200])
def test_hostile_text_does_not_command_the_terminal(
    llmctl: Llmctl, hub: HubBuilder, env: dict[str, str], term: str, columns: int
) -> None:
    """In a paste, in an answer, and in names and titles that commands, the status line and Tab show."""
    hub.turn(hub.chat(f"{HOSTILE}-name", model=HOSTILE), f"{HOSTILE} asked", f"{HOSTILE} told")
    hub.database.close()
    with Terminal([*LLMCTL, "chat", "-m", "echo", "--name", "x"], env, term=term, columns=columns, rows=60) as terminal:
        terminal.wait_for_prompt()
        if term != "dumb":  # without an editor the terminal itself shows what is typed
            terminal.send(paste(HOSTILE))
            terminal.wait_for("h")
            terminal.send("\r")
            terminal.wait_for("in, ")
            terminal.wait_for_prompt()
            terminal.send("/chats a\t")
            terminal.wait_until(lambda lines: "\n".join(lines).count("title") == 3)
            terminal.send("\x03")
            terminal.wait_for_prompt()
        terminal.send("/chats\r")
        terminal.wait_for("llmctl: go on in")
        terminal.wait_for_prompt()
        terminal.send("/find told\r")
        terminal.wait_until(lambda lines: "\n".join(lines).count("llmctl: go on in") == 2)
        terminal.wait_for_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0
        assert [sequence for sequence in FORBIDDEN if sequence in terminal.raw] == []


def test_editor_files_and_commands_join_a_message(llmctl: Llmctl, env: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "editor"
    program.write_text('#!/bin/sh\necho ", edited" >> "$1"\n')
    program.chmod(0o755)
    (tmp_path / "my notes.txt").write_text("some notes")
    words = [*LLMCTL, "chat", "-m", "echo"]
    with Terminal(words, {**env, "EDITOR": str(program)}, cwd=tmp_path, rows=60) as terminal:
        terminal.wait_for_prompt()
        for typed, shown in (
            ("draft\x18\x05", ", edited"),
            ("\r", "in, "),
            ("!printf 'out\\n'; exit 3\r", "goes along"),
            ("read @my\t", 'notes.txt"'),
            ("\r", "(exit status 3)"),
            ("one\\\r", "… "),
            ("two\x1b\r", "… two"),
            ("three\r", "three"),
        ):
            terminal.send(typed)
            terminal.wait_for(shown)
            if typed.endswith("\r") and "\\" not in typed and "\x1b" not in typed:
                terminal.wait_for_prompt()
        terminal.resize(30, 20)
        terminal.send("größer 漢字 שלום and more words than fit")
        terminal.wait_for("than fit")
        terminal.resize(100, 20)
        terminal.wait_for("> größer 漢字 שלום and more words than fit")
        terminal.send("\x03\x04")
        assert terminal.finish() == 0
    edited, asked, several = prompts(env)
    assert edited == "draft, edited"
    assert asked == "$ printf 'out\\n'; exit 3\n```\nout\n```\n(exit status 3)\n\nread @\"my notes.txt\""
    assert several == "one\ntwo\nthree"
    assert query(env, "SELECT name FROM message_attachments") == [("my notes.txt",)]


def test_programs_that_write_to_a_chat_run_and_attach_nothing(llmctl: Llmctl, env: dict[str, str]) -> None:
    with open(os.path.join(llmctl.cwd, "file"), "w", encoding="utf-8") as file:
        file.write("content")
    converse(llmctl, ["!touch ran\n", "see @file\n", "/exit\n"])
    assert prompts(env) == ["!touch ran", "see @file"]
    assert query(env, "SELECT count(*) FROM attachments") == [(0,)]
    assert not os.path.exists(os.path.join(llmctl.cwd, "ran"))


@pytest.mark.slow
def test_shell_stops_and_continues_an_open_chat(env: dict[str, str], term: str) -> None:
    command = " ".join([*LLMCTL, "chat", "-m", "echo"])
    with Terminal(["bash", "--norc", "--noprofile", "-i"], {**env, "PS1": "shell$ "}, term=term) as terminal:
        terminal.wait_for("shell$")
        terminal.send(f"{command}\r")
        terminal.wait_for_prompt()
        terminal.send("\x1a")
        terminal.wait_for("Stopped")
        terminal.send("fg\r")
        terminal.wait_for_prompt("> " if term != "dumb" else "")
        terminal.send("back again\r")
        terminal.wait_for("2 in, 2 out")
        terminal.wait_for_prompt()
        terminal.send("\x04")
        terminal.wait_until(lambda lines: lines[-1] == "shell$")
        terminal.send("exit\r")
        terminal.finish()
    assert prompts(env) == ["back again"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_paste_in_tmux_is_one_message(env: dict[str, str], tmp_path: Path) -> None:
    environment = {**env, "TMUX_TMPDIR": str(tmp_path), "SHELL": "/bin/sh"}
    tmux = ["tmux", "-L", "t", "-f", "/dev/null"]
    with Terminal([*tmux, "new-session", *LLMCTL, "chat", "-m", "echo"], environment) as terminal:
        terminal.wait_for_prompt()
        (tmp_path / "pasted").write_text("one\ntwo\n/exit\n")
        run_command([*tmux, "load-buffer", str(tmp_path / "pasted")], env=environment)
        run_command([*tmux, "paste-buffer", "-p"], env=environment)
        terminal.wait_for("[3 lines]")
        terminal.send("\r")
        terminal.wait_for("3 in, 3 out")
        terminal.send("/copy\r")
        terminal.wait_for("copied 3 words")
        assert run_command([*tmux, "show-buffer"], env=environment).stdout == "one\ntwo\n/exit"
        terminal.send("\x04")
        terminal.finish()
    assert prompts(env) == ["one\ntwo\n/exit"]
