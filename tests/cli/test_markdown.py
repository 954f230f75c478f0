"""Answers on a terminal: Markdown by finished blocks, true scroll-back, code as it was written, no foreign escapes."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.cli.console.markdown import break_rows, render_markdown
from tests.benchmarks.rendering import build_answer, measure_cpu_s
from tests.harness import LLMCTL, Llmctl, parse_json, require_success, run_on_terminal
from tests.terminal import Terminal

CODE = "def f(x):\n    return 'a very long line of code that is wider than any narrow terminal could ever show' + x\n"
ANSWER = f"""# Title

Some **bold** text with `code` and a [link](https://example.com/page), long enough to be wrapped somewhere.

- one
- two
  - nested

3. three
4. four

> quoted

| name | count |
|------|------:|
| ab   | 12    |

```python
{CODE}```

The end.
"""
#: Everything that this program itself may write: colors, and links to the web.
OWN_ESCAPES = re.compile(r"\x1b\[[\d;]*m|\x1b\]8;[^;\x1b]*;(?:(?:https?://|mailto:)[!-~]+)?\x1b\\")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

StartTerminal = Callable[..., Terminal]


@pytest.fixture
def color_env(env: dict[str, str]) -> dict[str, str]:
    """The environment of a terminal with colors."""
    return {name: value for name, value in env.items() if name != "NO_COLOR"}


@pytest.fixture
def start(color_env: dict[str, str]) -> Iterator[StartTerminal]:
    """Start llmctl on a terminal with colors."""
    started: list[Terminal] = []

    def start_on_terminal(*arguments: str, columns: int = 80, **options: object) -> Terminal:
        started.append(Terminal([*LLMCTL, *arguments], color_env, columns=columns, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start_on_terminal
    for terminal in started:
        terminal.__exit__()


def strip_escapes(text: str) -> str:
    return OWN_ESCAPES.sub("", text)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_text_is_rendered_within_the_width_and_code_as_it_was_written(width: int) -> None:
    shown = strip_escapes(render_markdown(ANSWER, width))
    assert CODE in shown
    prose = shown.replace(CODE, "")
    assert max(map(len, prose.splitlines())) <= width
    assert not re.search(r"[*`#|]|\]\(|- ", prose)
    assert re.sub(r"\s+", " ", prose).startswith("Title Some bold text with code and a link, long enough to be wrapped")
    assert "\n\n• one\n• two\n  • nested\n\n3. three\n4. four\n\n│ quoted\n\nname   count\n──" in prose


def test_items_are_numbered_on_from_the_first() -> None:
    assert strip_escapes(render_markdown("7. a\n7. b\n\n   more\n1. c\n\ntext\n\n1. d\n", 80)) == (
        "7. a\n8. b\n\n   more\n9. c\n\ntext\n\n1. d\n"
    )


def test_a_table_wider_than_the_terminal_is_shown_as_records() -> None:
    table = "|a|b|c|d|e|f|\n|-|-|-|-|-|-|\n|1|2|3|4|5|6|\n|7|8|9|x|y|z|\n"
    assert strip_escapes(render_markdown(table, 40)).startswith("a: 1\nb: 2\n")
    assert "1" in strip_escapes(render_markdown(table, 80)).splitlines()[2]


def test_wide_characters_are_wrapped_by_their_cells() -> None:
    shown = render_markdown("漢字かな交じり文は空白なしに長く続くものであるからここで折り返す\n", 20)
    assert [len(line) for line in shown.splitlines()] == [10, 10, 10, 2]
    assert break_rows("a👩‍👩‍👧b שלום", 5)[-1] == "שלום"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("[text](https://a.example/x)", "text"),
        ("<https://a.example/x>", "https://a.example/x"),
        ("[click](javascript:alert(1))", "[click](javascript:alert(1))"),
        ("[click](file:///etc/passwd)", "[click](file:///etc/passwd)"),
        ("[click](ftp://a.example/x)", "click (ftp://a.example/x)"),
        ("[https://bank.example](https://evil.example)", "https://bank.example (https://evil.example)"),
        ("![alt](https://a.example/x.png)", "alt (https://a.example/x.png)"),
        ("<b onclick=x>html</b>", "<b onclick=x>html</b>"),
    ],
)
def test_a_link_says_where_it_leads(source: str, shown: str) -> None:
    assert strip_escapes(render_markdown(source, 80)) == f"{shown}\n"


ATTACKS = (
    "\x1b[2J", "\x1b]52;c;AAAA\x07", "\x1b]0;title\x07", "\x9b31m", "\x07", "\x1b[8m", "&#27;[2J", "&#x9b;2J", "\u202e",
    "&#x202e;", "[a](https://x/\x1b]52;c;A\x07)", "[\x1b[2J](https://x)", "`\x1b[2J`", "```\x1b]0;x\x07\n\x1b[2J\n```",
    "| \x1b[2J |\n|---|\n| \x9b |", "![\x1b[2J](x\x1b[2J)", "# \x1b[2J", "<https://x/\x1b[2J>", "\r", "\x00", "\x0c",
    "- \x1b[A", "> \x1b[A", "[a]: https://x/\x1b[A\n\n[a]", "[b](https://x/%1b%5d52 'ti\x1btle')", "\x1b\\", "~~~\x9b",
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.sampled_from((*ATTACKS, "a", "\n", "\n\n", " ")), max_size=8).map("".join))
def test_no_escape_of_an_answer_reaches_the_terminal(text: str) -> None:
    assert not CONTROLS.search(strip_escapes(render_markdown(text, 40)))


def test_each_attack_alone_does_not_reach_the_terminal() -> None:
    for attack in ATTACKS:
        assert not CONTROLS.search(strip_escapes(render_markdown(attack, 40))), attack


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_an_answer_on_a_terminal_is_what_rendering_the_whole_gives(start: StartTerminal, columns: int) -> None:
    terminal = start("chat", "-m", "echo", "--no-log", ANSWER, columns=columns)
    assert terminal.finish() == 0
    expected = strip_escapes(render_markdown(ANSWER, columns)).splitlines()
    rows = [line[at : at + columns].rstrip() for line in expected for at in range(0, len(line) or 1, columns)]
    assert terminal.text()[: len(rows)] == rows


def test_only_the_open_block_is_drawn_live(start: StartTerminal) -> None:
    text = "**one** is done\n\ntwo is **open** now, for as long as nothing follows it"
    terminal = start("chat", "-m", "echo", "--no-log", "-o", "delay=0.1", text, columns=40)
    terminal.wait_for("two is **open**")
    assert terminal.screen()[0] == "one is done"
    assert terminal.finish() == 0
    assert terminal.text()[:4] == ["one is done", "", "two is open now, for as long as nothing", "follows it"]


def test_an_open_block_higher_than_the_terminal_leaves_nothing_in_the_scroll_back(start: StartTerminal) -> None:
    rows = "".join(f"| {n} |\n" for n in range(40))
    terminal = start("chat", "-m", "echo", "--no-log", "-o", "delay=0.005", f"| n |\n|---|\n{rows}", rows=10)
    assert terminal.finish() == 0
    assert [line for line in terminal.text() if line.isdecimal()] == [str(n) for n in range(40)]
    assert not [line for line in terminal.text() if "|" in line]


def test_a_terminal_that_becomes_narrower_while_streaming_keeps_each_word_once(start: StartTerminal) -> None:
    words = [f"word{n}" for n in range(60)]
    terminal = start("chat", "-m", "echo", "--no-log", "-o", "delay=0.02", "done\n\n" + " ".join(words), columns=80)
    terminal.wait_for("word20")
    terminal.resize(40, 24)
    assert terminal.finish() == 0
    assert " ".join(terminal.text()).split()[: len(words) + 1] == ["done", *words]


@pytest.mark.parametrize(("flags", "variables"), [(["--plain"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})])
def test_plain_answers_are_the_text_as_it_came(
    color_env: dict[str, str], flags: list[str], variables: dict[str, str]
) -> None:
    command = [*LLMCTL, "chat", "-m", "echo", "--no-log", "--quiet", *flags, ANSWER]
    env = {"TERM": "xterm", **color_env, **variables}
    assert run_on_terminal(command, env) == (0, ANSWER)


def test_an_answer_in_a_pipe_is_the_text_as_it_came(llmctl: Llmctl, color_env: dict[str, str]) -> None:
    attacked = ANSWER + "\x1b[2J"
    assert require_success(llmctl("chat", "-m", "echo", attacked, env=color_env | {"TERM": "xterm"})) == f"{attacked}\n"


def test_the_setting_makes_answers_plain(llmctl: Llmctl, start: StartTerminal) -> None:
    require_success(llmctl("init", "--no-detect"))
    require_success(llmctl("settings", "set", "plain", "true"))
    terminal = start("chat", "-m", "echo", "**bold**")
    assert terminal.finish() == 0
    assert terminal.text()[0] == "**bold**"


def test_an_interrupted_answer_shows_what_it_had(start: StartTerminal) -> None:
    terminal = start(
        *("chat", "-m", "echo", "-o", "delay=0.05", "--"), "- one\n- **two** three four five six seven eight nine ten"
    )
    terminal.wait_for("two** three")
    terminal.signal(signal.SIGINT)
    assert terminal.finish() == -signal.SIGINT
    assert terminal.text()[0] == "• one"
    assert terminal.text()[1].startswith("• two three")


def test_stored_answers_are_rendered_on_a_terminal_alone(llmctl: Llmctl, start: StartTerminal) -> None:
    require_success(llmctl("chat", "-m", "echo", "--name", "md", "--", "- **bold**"))
    for command in (["chats", "show", "md"], ["chats", "render", "md"]):
        terminal = start(*command)
        assert terminal.finish() == 0
        assert terminal.text()[-3:] == ["", "assistant (echo):", "• bold"]
        assert "user:\n- **bold**" in "\n".join(terminal.text())  # what the user wrote stays as it was
        plain = start(*command, "--plain")
        assert plain.finish() == 0
        assert plain.text()[-1] == "- **bold**"
        assert "- **bold**" in require_success(llmctl(*command)).splitlines()
    assert parse_json(llmctl("chats", "show", "md", "--json"))["messages"][-1]["content"] == "- **bold**"


@pytest.mark.slow
def test_a_rendered_answer_costs_at_most_three_times_the_plain_one(tmp_path: Path) -> None:
    answer = build_answer(20_000)
    ratios = (measure_cpu_s(answer, tmp_path) / measure_cpu_s(answer, tmp_path, "--plain") for _ in range(3))
    assert min(ratios) < 3  # about 2 on a machine at rest; see tests/benchmarks/rendering.py
