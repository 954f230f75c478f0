"""``chats pick`` on a real terminal."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from llmctl.cli.console.picker import Choice, rank_choices
from tests.fakes.hub_builder import HubBuilder
from tests.harness import LLMCTL, Llmctl, query, require_failure, require_success
from tests.terminal import Terminal

PICK = [*LLMCTL, "chats", "pick"]
LEAVE_SCREEN = b"\x1b[?1049l"


@pytest.fixture
def chats(hub: HubBuilder) -> HubBuilder:
    """Five chats: named, nameless, failed, with an escape in its name, with a word in an answer only."""
    hub.turn(hub.chat("fix-42"), "the build is red", "undefined symbol foo")
    hub.turn(hub.chat(), "How do I feed a sourdough starter?", "Flour and water.", cost=0.25)
    failed = hub.chat("deploy")
    hub.message(failed, "user", "ship it", job_id=hub.insert("jobs", name="chat", type="turn", status="failed"))
    hub.turn(hub.chat("evil\x1b[31m\x1b]0;title\x07"), "hi", "ho")
    hub.turn(hub.chat("rome"), "where to?", "Visit the Pantheon.")
    return hub


def test_typing_filters_titles_and_texts(chats: HubBuilder, env: Mapping[str, str]) -> None:
    with Terminal(PICK, env, columns=100) as terminal:
        screen = terminal.wait_for("5/5")
        assert screen[1].startswith("> rome")
        assert any("deploy" in line and "failed" in line for line in screen)
        terminal.send("srdgh")
        screen = terminal.wait_for("1/5")
        assert screen[1].startswith("> How do I feed a sourdough")
        assert "Flour and water." in "\n".join(screen)
        terminal.send("\x15pantheon")
        screen = terminal.wait_for("1/5  Enter")
        assert terminal.wait_for("Visit the Pantheon.")[1].startswith("> rome")
        terminal.send("\x1b")
        assert terminal.finish() == 0
        assert LEAVE_SCREEN in terminal.raw


def test_escapes_in_titles_stay_text_and_narrow_screens_are_used(chats: HubBuilder, env: Mapping[str, str]) -> None:
    with Terminal(PICK, env, columns=40, rows=20) as terminal:
        screen = terminal.wait_for("5/5")
        assert max(map(len, screen)) <= 40
        assert any("evil␛[31m␛]0;title␇" in line for line in screen)
        assert b"\x1b]0;title" not in terminal.raw
        terminal.resize(120, 30)
        terminal.wait_until(lambda lines: any("│" in line for line in lines))
        terminal.send("\x03")
        assert terminal.finish() == 0


@pytest.mark.slow
def test_enter_continues_the_chat(env: Mapping[str, str], llmctl: Llmctl) -> None:
    require_success(llmctl("chat", "-m", "echo", "--name", "first", "one"))
    require_success(llmctl("chat", "-m", "echo", "--name", "second", "two"))
    with Terminal([*PICK, "first"], env) as terminal:
        terminal.wait_for("/2")
        terminal.send("\r")
        terminal.wait_for_prompt()
        terminal.send("again\r")
        terminal.wait_until(lambda lines: sum("again" in line for line in lines) > 1)
        terminal.wait_for_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0
    rows = query(env, "SELECT c.name FROM messages m JOIN chats c ON c.id = m.chat_id WHERE m.content = 'again'")
    assert {name for (name,) in rows} == {"first"}


@pytest.mark.slow
def test_other_keys_show_export_and_delete(chats: HubBuilder, env: Mapping[str, str], tmp_path: Path) -> None:
    with Terminal([*PICK, "rome"], env) as terminal:
        terminal.wait_for("/5")
        terminal.send("\x13")
        assert terminal.finish() == 0
        assert "Visit the Pantheon." in "\n".join(terminal.text())
    with Terminal([*PICK, "sourdough"], env, cwd=tmp_path) as terminal:
        terminal.wait_for("/5")
        terminal.send("\x05")
        assert terminal.finish() == 0
    assert "Flour and water." in (tmp_path / "How-do-I-feed-a-sourdough-starter.md").read_text()
    for answer, left in (("n", "/5"), ("y", "0/4")):
        with Terminal([*PICK, "fix-42"], env) as terminal:
            terminal.wait_for("/5")
            terminal.send("\x18")
            terminal.wait_for("[y/N]")
            terminal.send(f"{answer}\r")
            terminal.wait_for(left)
            terminal.wait_until(lambda _: terminal.raw.count(b"\x1b[?1049h") == 2)
            terminal.send("\x1b")
            assert terminal.finish() == 0
    assert query(env, "SELECT count(*) FROM chats WHERE name = 'fix-42'") == [(0,)]


def test_killed_picker_leaves_the_terminal_as_it_was(chats: HubBuilder, env: Mapping[str, str]) -> None:
    with Terminal(PICK, env) as terminal:
        terminal.wait_for("5/5")
        terminal.signal(signal.SIGTERM)
        assert terminal.finish() == -signal.SIGTERM
        assert LEAVE_SCREEN in terminal.raw


def test_picker_needs_a_terminal(chats: HubBuilder, llmctl: Llmctl, env: Mapping[str, str]) -> None:
    assert "needs a terminal" in require_failure(llmctl("chats", "pick"), 2)
    with Terminal(PICK, env, term="dumb") as terminal:
        assert terminal.finish() == 2


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("", ["alpha beta", "beta", "a b", "gamma"]),
        ("beta", ["alpha beta", "beta"]),
        ("gm", ["gamma"]),
        ("ab", ["a b", "alpha beta"]),
        ("b a", ["alpha beta", "a b", "beta"]),
        ("a.*", []),
        ("GAM", ["gamma"]),
    ],
)
def test_closest_letters_come_first(text: str, titles: list[str]) -> None:
    choices = [Choice(title, title) for title in ("alpha beta", "beta", "a b", "gamma")]
    assert [choice.title for choice in rank_choices(text, choices)] == titles
