"""When stdin is read, with real pipes, files, sockets, shells and terminals."""

from __future__ import annotations

import ast
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmctl.cli.console.console import Streams, read_prompt
from tests.cli.sample_commands import SAMPLE_CLI

LEFT_ALONE = (
    "llmctl: not reading standard input: another process has read part of it; "
    "pass - to read the rest, --no-stdin to hide this\n"
)
SHARED = "llmctl: reading standard input that is shared with the calling shell; pass - if intended, --no-stdin if not\n"


def ask(*words: str, **more: object) -> tuple[str | None, str]:
    """Return the prompt and what was noted."""
    done = subprocess.run([*SAMPLE_CLI, "ask", *words], capture_output=True, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout.decode()), done.stderr.decode()


def shell(script: str, **more: object) -> tuple[list[str | None], str]:
    """Run a bash script in which ``ask`` is the command; return every prompt, and the notes."""
    script = f'ask() {{ {" ".join(map(repr, SAMPLE_CLI))} ask "$@"; }}\n{script}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize(
    ("words", "data", "prompt"),
    [
        ((), b"piped\n", "piped"),
        (("review", "this"), b"diff\n", "review this\n\ndiff"),
        (("review",), b"", "review"),
        (("review",), b"\n\n", "review"),
        ((), b"", None),
        ((), b"  \n", None),
        (("-",), b"named", "named"),
        (("a", "-", "b"), b"named\r\n", "a b\n\nnamed"),
        (("--no-stdin", "only"), b"never", "only"),
        (("--stdin",), b"asked", "asked"),
    ],
)
def test_prompt_is_words_then_a_blank_line_then_stdin(words: tuple[Any, ...], data: bytes, prompt: str | None) -> None:
    assert ask(*words, input=data) == (prompt, "")


def test_pipe_is_left_alone_with_the_environment_unless_asked_for() -> None:
    env = os.environ | {"LLMCTL_NO_STDIN": "1"}
    assert ask("w", input=b"x", env=env) == ("w", "")
    assert ask("w", "--stdin", input=b"x", env=env) == ("w\n\nx", "")
    assert ask("w", "-", input=b"x", env=env) == ("w\n\nx", "")
    assert ask("w", input=b"x", env=os.environ | {"LLMCTL_NO_STDIN": "0"}) == ("w\n\nx", "")


def test_naming_stdin_and_forbidding_it_is_a_usage_error() -> None:
    done = subprocess.run([*SAMPLE_CLI, "ask", "-", "--no-stdin"], input=b"x", capture_output=True)
    assert done.returncode == 2


def test_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("from a file\n")
    with path.open() as file:
        assert ask(stdin=file) == ("from a file", "")
    path.write_text("")
    with path.open() as file:
        assert ask("w", stdin=file) == ("w", "")


def test_file_that_a_loop_reads_is_left_alone_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\nthree\n")
    prompts, notes = shell(f'while read -r line; do ask "$line"; done < {path}')
    assert prompts == ["one", "two", "three"]
    assert notes == LEFT_ALONE * 3


def test_partly_read_file_is_continued_when_named(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\nthree\n")
    assert shell(f"{{ read -r line; ask -; }} < {path}") == (["two\nthree"], "")


def test_pipe_that_the_calling_shell_holds_is_read_with_a_note() -> None:
    prompts, notes = shell("printf 'one\\ntwo\\n' | while read -r line; do ask \"$line\"; done")
    assert prompts == ["one\n\ntwo"]
    assert notes == SHARED


def test_shared_pipe_is_read_silently_when_named_and_left_alone_when_forbidden() -> None:
    assert shell("printf 'one\\ntwo\\n' | { read -r x; ask -; }") == (["two"], "")
    assert shell("printf 'one\\ntwo\\n' | { read -r x; ask --no-stdin $x; cat >/dev/null; }") == (["one"], "")


def test_pipe_of_a_plain_pipeline_makes_no_note() -> None:
    assert shell(f"echo hi | {' '.join(SAMPLE_CLI)} ask") == (["hi"], "")
    assert shell(f"echo hi | timeout 20 {' '.join(SAMPLE_CLI)} ask") == (["hi"], "")


def test_notes_are_silent_with_quiet(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\n")
    assert shell(f"{{ read -r line; ask --quiet x; }} < {path}") == (["x"], "")


def test_socket_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall("sock\u00e9".encode())
        ours.shutdown(socket.SHUT_WR)
        assert ask(stdin=theirs) == ("sock\u00e9", "")


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_device_is_not_read(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        assert ask("w", stdin=fd) == ("w", "")
    finally:
        os.close(fd)


def test_closed_stdin_is_no_prompt() -> None:
    assert shell("ask w <&-") == (["w"], "")
    assert shell("ask w - <&-") == (["w"], "")


def test_terminal_is_read_only_when_named() -> None:
    ours, theirs = pty.openpty()
    assert ask("w", stdin=theirs) == ("w", "")
    os.write(ours, b"typed\n\x04")
    assert ask("-", stdin=theirs) == ("typed", "")
    os.close(ours)
    os.close(theirs)


def test_bad_utf8_becomes_replacement_characters_with_a_note() -> None:
    prompt, note = ask(input=b"a\xffb")
    assert prompt == "a\ufffdb"
    assert note == "llmctl: standard input is not valid UTF-8; invalid bytes were replaced with U+FFFD\n"
    prompt, note = ask(b"w\xff", input=b"")  # type: ignore[arg-type]
    assert prompt == "w\ufffd"
    assert note.startswith("llmctl: an argument is not valid UTF-8")


def test_nul_is_a_usage_error() -> None:
    done = subprocess.run([*SAMPLE_CLI, "ask"], input=b"a\0b", capture_output=True, text=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"llmctl: standard input is not text")


def test_large_input_is_whole() -> None:
    text = "line\u00e9\n" * 200_000
    prompt, _ = ask(input=text.encode())
    assert prompt == text.rstrip("\n")


def _streams(fd: int) -> Streams:
    return Streams(os.fdopen(fd), sys.__stdout__, sys.__stderr__)  # type: ignore[arg-type]


def test_silent_stdin_is_noted_once_and_waited_for() -> None:
    read_end, write_end = os.pipe()
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        os.write(write_end, b"late")
        os.close(write_end)

    prompt = read_prompt(["w"], io=_streams(read_end), env={}, note=note, note_after_s=0.05)
    assert prompt == "w\n\nlate"
    assert notes == ["waiting for standard input; to skip it use --no-stdin, </dev/null or ssh -n"]


def test_pipe_that_does_not_block_is_read_to_its_end() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    script = f"import os, time; os.write({write_end}, b'a'); time.sleep(0.2); os.write({write_end}, b'b')"
    with subprocess.Popen([sys.executable, "-c", script], pass_fds=[write_end]):
        os.close(write_end)
        assert read_prompt([], io=_streams(read_end), env={}, note=print) == "ab"


@pytest.mark.slow
def test_three_seconds_of_silence_are_noted() -> None:
    with subprocess.Popen(
        [*SAMPLE_CLI, "ask", "w"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        assert process.stderr.readline().startswith(b"llmctl: waiting for standard input")
        process.stdin.close()
        assert process.wait() == 0
