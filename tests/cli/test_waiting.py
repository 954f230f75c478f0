"""What a terminal shows while a turn waits: on stderr, after half a second, and without a trace afterwards."""

from __future__ import annotations

import pytest

from tests.fakes.openai_server import FakeServer, refusal
from tests.harness import LLMCTL, Llmctl, require_success
from tests.terminal import Terminal

pytestmark = pytest.mark.slow

CHAT = ("chat", "-m", "echo", "--no-log", "--quiet")


@pytest.fixture
def color_env(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name != "NO_COLOR"}


@pytest.mark.parametrize(
    ("options", "label", "shown"),
    [
        (["stall=2"], "connecting 1 s", ["a b"]),
        (["thinking=one two three four", "delay=0.4"], "thinking 1 s", ["a b"]),
        (["fail=503", "fail_times=1", "retry_after=2"], "retrying in 1 s: 503 from echo", ["a b"]),
    ],
    ids=["connecting", "thinking", "retrying"],
)
def test_a_wait_is_told_and_leaves_nothing_behind(
    color_env: dict[str, str], options: list[str], label: str, shown: list[str]
) -> None:
    flags = [word for option in options for word in ("-o", option)]
    with Terminal([*LLMCTL, "chat", "-m", "echo", "--no-log", *flags, "a b"], color_env) as terminal:
        assert terminal.wait_for(label)[-1].endswith(label)
        assert terminal.finish() == 0
        assert [line for line in terminal.text() if " in, " not in line] == shown


def test_a_running_tool_is_named(llmctl: Llmctl, color_env: dict[str, str]) -> None:
    require_success(llmctl("tool", "add", "slow", "--command", "sleep 2"))
    command = [*LLMCTL, "chat", "-m", "echo", "-T", "slow:auto", "-o", "tool=slow", "done"]
    with Terminal(command, color_env) as terminal:
        terminal.wait_for("tool slow … 1 s")
        assert terminal.finish() == 0
        assert not [line for line in terminal.text() if "…" in line]


def test_a_chat_that_another_process_uses_is_waited_for_visibly(llmctl: Llmctl, color_env: dict[str, str]) -> None:
    words = ["chat", "-m", "echo", "--name", "busy"]
    require_success(llmctl(*words, "first"))
    with llmctl.start(*words, "--jsonl", "-o", "stall=3", "second") as other:
        other.wait_for_output('"start"')
        with Terminal([*LLMCTL, *words, "--wait", "100", "third"], color_env) as terminal:
            terminal.wait_for("waiting for the chat to be released 1 s")
            assert terminal.finish() == 0
            assert terminal.text()[0] == "third"


@pytest.mark.parametrize(
    ("flags", "variables", "redirect"),
    [(["--quiet"], {}, ""), ([], {"TERM": "dumb"}, ""), ([], {}, "2>/dev/null")],
    ids=["quiet", "dumb", "no stderr"],
)
def test_nothing_is_told(color_env: dict[str, str], flags: list[str], variables: dict[str, str], redirect: str) -> None:
    script = f'"$@" {redirect}'
    command = ["bash", "-c", script, "_", *LLMCTL, "chat", "-m", "echo", "--no-log", "-o", "stall=0.8", *flags, "a"]
    with Terminal(command, color_env, term=variables.get("TERM", "xterm")) as terminal:
        assert terminal.finish() == 0
        assert terminal.text()[0] == "a"
        assert b"connecting" not in terminal.raw


def test_a_pipe_gets_no_byte_of_it(color_env: dict[str, str]) -> None:
    """The answer goes into a pipe; only stderr is the terminal."""
    chat = " ".join([*LLMCTL, "chat", "-m", "echo", "--no-log", "-o", "stall=1.5", "-o", "delay=0.01", "one", "two"])
    with Terminal(["bash", "-c", f"{chat} | od -c"], color_env) as terminal:
        terminal.wait_for("connecting 0 s")
        assert terminal.finish() == 0
        assert terminal.text()[0].split() == ["0000000", *"one", "t", "w", "o", "\\n"]


def test_an_error_of_a_busy_provider_names_status_and_connection_before_the_usage_line(
    llmctl: Llmctl, server: FakeServer
) -> None:
    add = ("connection", "add", "work", "--provider", "openai", "--base-url", server.url, "--model", "gpt-5")
    require_success(llmctl(*add, "--key-stdin", input="sk-test"))
    server.answer(*[refusal(status, "slow down") for status in (429, 503, 401)])
    for status in (429, 503):
        done = llmctl("chat", "-u", "-m", "work", "--retries", "0", "hi")
        assert (done.returncode, done.stdout) == (6, "")
        lines = done.stderr.splitlines()
        assert lines[0] == f"llmctl: slow down ({status} from work)"
        assert ", gpt-5, chat " in lines[-1]
    assert "llmctl connection edit work --key" in llmctl("chat", "-m", "work", "hi").stderr
