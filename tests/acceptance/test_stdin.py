"""How ``chat`` uses standard input, as the server sees it: loops, files, sockets, binaries and silence."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from typing import Any

from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import FakeServer
from tests.harness import LLMCTL, TIMEOUT_S, Llmctl, Result

LEFT_ALONE = "not reading standard input: another process has read part of it"
SHARED = "reading standard input that is shared with the calling shell"


def prompts(server: FakeServer) -> list[str]:
    return [request.messages[-1][1] for request in server.requests]


def chat_with_stdin(llmctl: Llmctl, stdin: Any, *words: str) -> Result:
    """Chat with text, bytes or an open file as stdin."""
    option = {"input": stdin} if isinstance(stdin, str | bytes) else {"stdin": stdin}
    return llmctl("chat", *words, **option)


def test_prompt_then_a_blank_line_then_stdin(llmctl: Llmctl, server: FakeServer) -> None:
    assert chat_with_stdin(llmctl, "a diff\n", "review", "this").returncode == 0
    assert chat_with_stdin(llmctl, "alone\n").returncode == 0
    assert chat_with_stdin(llmctl, "", "only words").returncode == 0
    assert prompts(server) == ["review this\n\na diff", "alone", "only words"]


def test_no_stdin_never_touches_it(llmctl: Llmctl, server: FakeServer) -> None:
    for words, env in ((("--no-stdin", "hi"), {}), (("hi",), {"LLMCTL_NO_STDIN": "1"})):
        reader, writer = os.pipe()
        os.write(writer, b"not yours")
        assert chat_with_stdin(llmctl.with_env(**env), reader, *words).returncode == 0
        os.close(writer)
        assert os.read(reader, 100) == b"not yours"
        os.close(reader)
    assert prompts(server) == ["hi", "hi"]


def test_closed_stdin_is_no_prompt_and_no_trouble(llmctl: Llmctl, server: FakeServer) -> None:
    done = llmctl.shell("llmctl chat hi <&-; llmctl chat <&-")
    assert (done.returncode, done.stdout) == (2, "echo: hi\n")
    assert done.stderr.startswith("llmctl: no prompt\n")


def test_loop_over_a_pipe_reads_the_rest_and_says_so(llmctl: Llmctl, server: FakeServer) -> None:
    done = llmctl.shell("printf 'a\\nb\\nc\\n' | while read -r line; do llmctl chat \"$line\"; done")
    assert prompts(server) == ["a\n\nb\nc"]
    assert done.stderr.count(SHARED) == 1
    assert "--no-stdin" in done.stderr


def test_loop_over_a_file_leaves_it_alone_and_says_so(llmctl: Llmctl, server: FakeServer) -> None:
    with open(f"{llmctl.cwd}/lines", "w") as file:
        file.write("a\nb\nc\n")
    done = llmctl.shell('while read -r line; do llmctl chat "$line"; done < lines')
    assert (done.returncode, prompts(server)) == (0, ["a", "b", "c"])
    assert done.stderr.count(LEFT_ALONE) == 3


def test_loop_with_no_stdin_is_quiet(llmctl: Llmctl, server: FakeServer) -> None:
    done = llmctl.shell("printf 'a\\nb\\n' | while read -r line; do llmctl chat --no-stdin \"$line\"; done")
    assert (prompts(server), done.stderr) == (["a", "b"], "")


def test_socket_is_read(llmctl: Llmctl, server: FakeServer) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall("from a socket ä".encode())
        ours.shutdown(socket.SHUT_WR)
        assert chat_with_stdin(llmctl, theirs).returncode == 0
    assert prompts(server) == ["from a socket ä"]


def test_binary_is_refused_and_nothing_is_sent(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    done = chat_with_stdin(llmctl, b"\x7fELF\0\0", "what is this?")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("llmctl: standard input is not text: it contains NUL bytes\nhint: ")
    assert server.requests == []
    assert hub.messages == []


def test_bad_utf8_is_sent_with_replacements_and_a_note(llmctl: Llmctl, server: FakeServer) -> None:
    done = chat_with_stdin(llmctl, b"caf\xe9\n")
    assert (done.returncode, prompts(server)) == (0, ["caf\ufffd"])
    assert done.stderr == "llmctl: standard input is not valid UTF-8; invalid bytes were replaced with U+FFFD\n"


def test_silent_pipe_is_noted_after_three_seconds_and_waited_for(llmctl: Llmctl, server: FakeServer) -> None:
    started = time.monotonic()
    with subprocess.Popen(
        [*LLMCTL, "chat", "hi"],
        env=llmctl.env,
        cwd=llmctl.cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        note = process.stderr.readline().decode()
        assert time.monotonic() - started >= 3
        assert all(way in note for way in ("--no-stdin", "</dev/null", "ssh -n"))
        assert server.requests == []
        _, err = process.communicate(b"late\n", timeout=TIMEOUT_S)
    assert (process.returncode, err) == (0, b"")
    assert prompts(server) == ["hi\n\nlate"]


def test_partly_read_file_is_continued_when_named(llmctl: Llmctl, server: FakeServer) -> None:
    with open(f"{llmctl.cwd}/lines", "w") as file:
        file.write("head\nrest\n")
    done = llmctl.shell('{ read -r line; llmctl chat - "about $line"; } < lines')
    assert (done.returncode, done.stderr, prompts(server)) == (0, "", ["about head\n\nrest"])


def test_input_of_several_megabytes_is_whole(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    text = "0123456789abcdef" * 200_000
    assert chat_with_stdin(llmctl, text, "--json", "sum up").json["content"] == f"echo: sum up\n\n{text}"
    assert hub.messages[0]["content"] == f"sum up\n\n{text}"
