"""Cutting Markdown into blocks: whatever the pieces, the blocks mean together what the whole text means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.formats.markdown_blocks import Block, BlockSplitter, build_parser, split_blocks

DOCUMENTS = {
    "prose": "One.\ntwo\n\nThree\n===\n\nFour\n---\nfive\n***\n",
    "headings": "# A\n## B\ntext\n### C #\n\n#no heading\n",
    "list": "- a\n- b\n  more\n\n  still b\n- c\nlazy\n\nafter\n",
    "nested": "1. a\n   - x\n     - y\n   - z\n\n2. b\n\n   ```py\n   code\n\n   more\n   ```\n10. c\n- d\n* e\n",
    "fences": "```py\na\n\n\nb\n```\n~~~\n```\n~~~\n````\n```\n````\nend\n```\nopen",
    "long fence": "para\n```py\n" + "".join(f"line {n}\n" for n in range(50)) + "```\nafter\n",
    "quote": "> a\nlazy\n> - b\n\n> new\n> ```\n> code\nnot code\n",
    "table": "text\n| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n\nafter\n# h\na | b\n--|--\n1 | 2\n- list\n",
    "indented": "    code\n\n    more\n\ntext\n    not code\n",
    "links": '[a]: /one\n"title"\n\n[a] and [b]\n\n[b]: <two>\ntext\n',
    "returns": "a\r\n\r\n- b\r\n- c\r\rd\r\n",
    "empty lines": "\n\n  \n\t\na\n\n\n\nb\n\n",
    "list of fences": "- ```\n- ```\n</div>\n\n  ```\n```\n+ c\n```\n--|--",
    "empty": "",
}


def test_blocks_mean_what_the_whole_text_means(text: str) -> None:
    require_same_meaning(text)


def test_blocks_do_not_depend_on_the_pieces(text: str) -> None:
    whole = list(split_blocks(text))
    for position in range(0, len(text) + 1, len(text) // 100 + 1):
        assert split(text[:position], text[position:]) == whole
    assert split(*text) == whole


LINES = (
    "- a", "* b", "1. x", "2. y", "  - n", "    - m", "   text", "      deep", "\tcode", "    code", "", "para", "# h",
    "===", "---", "***", "```", "```py", "~~~", "> q", ">", "> - a", "[foo]: /url", '"title"', "[foo]", "  ", "-",
    "- - x", "- ```", "  ```", "-\tt", "<div>", "a\\", "| a | b |", "|---|---|", "a | b",
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.sampled_from(LINES), max_size=12).map("\n".join))
def test_any_lines_mean_what_they_mean_together(text: str) -> None:
    require_same_meaning(text)


def test_a_block_is_finished_as_soon_as_nothing_can_change_it() -> None:
    splitter = BlockSplitter()
    lines = ("# A\n", "one\n", "\n", "- a\n", "- b\n", "\n", "end\n", "\n", "```\n", "x\n", "```\n")
    finished = ["|".join(block.text for block in splitter.feed(line)) for line in lines]
    assert finished == ["# A\n", "", "one\n\n", "", "- a\n", "", "- b\n\n", "end\n\n", "", "", "```\nx\n```\n"]


def test_a_long_fenced_block_is_finished_in_pieces_that_stand_alone() -> None:
    blocks = list(split_blocks(DOCUMENTS["long fence"]))[1:-1]
    assert len(blocks) > 2
    assert [(block.lead, block.continues) for block in blocks] == [
        ("", False),
        *[("```py\n", True)] * (len(blocks) - 1),
    ]
    code = "".join(token.content for block in blocks for token in build_parser().parse(block.source))
    assert code == "".join(f"line {n}\n" for n in range(50))


def test_the_end_of_the_open_block_is_there_to_be_drawn() -> None:
    splitter = BlockSplitter()
    assert list(splitter.feed("done\n\nopen one\ntwo thr")) == [Block("done\n\n")]
    assert splitter.open_tail(1000) == "open one\ntwo thr"
    assert splitter.open_tail(3) == "two thr"


@pytest.mark.parametrize(
    ("line", "is_list"),
    [("2. x\n", False), ("- x\n", True), ("[a]: /b\n", False), ("| x |\n", False), ("> x\n", False), ("* * x\n", True)],
)
def test_lines_are_read_a_bounded_number_of_times(line: str, is_list: bool) -> None:
    """A text twice as long takes twice the parsing, not four times."""
    counts = [count_parsed_characters("text\n" + ("\n" if is_list else "") + line * size) for size in (300, 600)]
    assert counts[1] < counts[0] * 2.5


def count_parsed_characters(text: str) -> int:
    """Return how many characters the parser is given, as the profiler sees its calls."""
    import sys

    count = 0

    def watch(frame: Any, event: str, _: object) -> None:
        nonlocal count
        if event == "call" and frame.f_code.co_name == "_read_units":
            count += len(frame.f_locals["text"])

    sys.setprofile(watch)
    try:
        list(split_blocks(text))
    finally:
        sys.setprofile(None)
    return count


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.fixturenames == ["text"]:
        metafunc.parametrize("text", list(DOCUMENTS.values()), ids=list(DOCUMENTS))


def split(*pieces: str) -> list[Block]:
    splitter = BlockSplitter()
    return [*(block for piece in pieces for block in splitter.feed(piece)), *splitter.finish()]


def require_same_meaning(text: str) -> None:
    """Check the blocks against the whole: joined where one continues another, with all definitions of links known."""
    blocks = list(split_blocks(text))
    assert "".join(block.text for block in blocks) == text.replace("\r\n", "\n").replace("\r", "\n")
    joined: list[str] = []
    for block in blocks:
        joined[-1:] = [joined[-1] + block.text] if block.continues else [*joined[-1:], block.text]
    parser, env = build_parser(), {}  # type: ignore[var-annotated]
    parser.parse(text, env)
    assert "".join(parser.render(piece, dict(env)) for piece in joined) == parser.render(text)
