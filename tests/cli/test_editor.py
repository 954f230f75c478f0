"""The line editor of the interactive chat: keys in, entries out, through prompt_toolkit's pipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from llmctl.cli.console.console import process_streams
from llmctl.cli.turn.editor import Editor, EditorSources
from llmctl.cli.turn.line_input import Candidate, Entry, find_dropped_paths, find_mentions, format_mention
from llmctl.core.signals import Signalled
from tests.terminal import paste

#: Messages of the hub, newest first: more than the editor loads at first.
MESSAGES = [f"message {number}" for number in range(3000)]
LINES = "\n".join(map(str, range(5000)))
UP, CTRL_C, CTRL_D, CTRL_R, ALT_ENTER = "\x1b[A", "\x03", "\x04", "\x12", "\x1b\r"


TypeKeys = Callable[..., Entry]


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    with create_pipe_input() as keys:
        yield keys


@pytest.fixture
def type_keys(keyboard: PipeInput) -> TypeKeys:
    """Types into one editor, and returns the entry that this ends."""

    def read_prompts(before: int | None, limit: int) -> list[tuple[int, str]]:
        start = 0 if before is None else before + 1
        if start + limit > len(MESSAGES):
            keyboard.send_text("\r\r")
        return [(key, MESSAGES[key]) for key in range(start, min(start + limit, len(MESSAGES)))]

    def complete(text: str) -> list[Candidate]:
        keyboard.send_text("\r")
        return [Candidate("/model ", len(text), "change the model")]

    def edit_text(text: str) -> str:
        keyboard.send_text("\r")
        return f"{text}, edited\n"

    sources = EditorSources(read_prompts, complete, lambda: ["m"], edit_text)
    editors: dict[str, Editor] = {}

    def type_all(text: str, keys: str = "emacs") -> Entry:
        if keys not in editors:
            editors[keys] = Editor(
                process_streams(), {"TERM": "xterm"}, sources, keys=keys, input=keyboard, output=DummyOutput()
            )
        keyboard.send_text(text)
        return editors[keys].read_entry()

    return type_all


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("hello\r", "hello"),
        (f"one{ALT_ENTER}two\r", "one\ntwo"),
        (f"forgotten{CTRL_C}kept\r", "kept"),
        ("größer 漢字 👩‍👩‍👧 שלום\r", "größer 漢字 👩‍👩‍👧 שלום"),
        (f"see {paste(LINES)} there\r", f"see {LINES} there"),
        (f"{paste('one')} two\r", "one two"),
        ("\x1b[200~one\r\ntwo\r\n\x1b[201~\r", "one\ntwo"),
        ("draft\x18\x05", "draft, edited"),  # the editor sends Enter when it has ended
        (UP + "\r", "message 0"),
        (UP + UP + "\r", "message 1"),
        (CTRL_R + "ssage 7\r\r", "message 7"),
        ("/mo\t", "/model"),  # Enter follows with the completions
        (CTRL_R + "ssage 2987", "message 2987"),  # Enter follows with the last page of the history
    ],
)  # fmt: skip
def test_keys_make_an_entry(type_keys: TypeKeys, typed: str, text: str) -> None:
    assert type_keys(typed).text.rstrip() == text


@pytest.mark.parametrize(
    ("typed", "is_pasted"),
    [
        ("/exit\r", False),
        (f"{paste('/exit')}\r", True),
        (f"{paste('!ls' + chr(10) + '/exit')}\r", True),
        (f"/system {paste('be' + chr(10) + 'brief')}\r", False),
        (f"{paste('/exit')}\x7f\x7f\x7f\x7f\x7f/exit\r", False),
        (f"{paste('/x')}{CTRL_C}/exit\r", False),
        ("/exit\ra second line\r", True),
    ],
)
def test_what_begins_with_a_paste_is_no_command(type_keys: TypeKeys, typed: str, is_pasted: bool) -> None:
    assert type_keys(typed).is_pasted is is_pasted


def test_old_messages_are_loaded_as_far_as_the_user_goes_back(type_keys: TypeKeys) -> None:
    assert type_keys(UP * 90 + "\r").text == "message 89"
    assert type_keys(UP + "\r").text == "message 89"  # what was entered last


def test_ctrl_d_and_ctrl_c_at_an_empty_prompt(type_keys: TypeKeys) -> None:
    with pytest.raises(EOFError):
        type_keys(CTRL_D)
    with pytest.raises(Signalled):
        type_keys(CTRL_C)


def test_vi_keys(type_keys: TypeKeys) -> None:
    assert type_keys("wrong\x1bccright\r", keys="vi").text == "right"


def test_dropped_file_becomes_a_mention(type_keys: TypeKeys, tmp_path: Path) -> None:
    path = tmp_path / "my notes.txt"
    path.write_text("x")
    for dropped in (f"'{path}' ", str(path).replace(" ", "\\ "), f"file://{str(path).replace(' ', '%20')}"):
        entry = type_keys(f"read {paste(dropped)}\r")
        assert (entry.text.strip(), entry.mentions) == (f'read @"{path}"', (str(path),))
    assert find_dropped_paths("/no/such/file") == []
    assert find_dropped_paths("/") == []
    assert find_dropped_paths("it's") == []


def test_mentions_are_files_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b c.txt"):
        (tmp_path / name).write_text("x")
    text = 'see @a.txt, @"b c.txt" and @b\\ c.txt; mail me@a.txt, @property, @https://x.test/y'
    assert find_mentions(text) == ["a.txt", "b c.txt", "b c.txt", "https://x.test/y"]
    assert find_mentions(f"{format_mention('b c.txt')} {format_mention('a.txt')}") == ["b c.txt", "a.txt"]
    assert find_mentions(os.path.join("x@", "a.txt")) == []
