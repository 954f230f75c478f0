"""Answers as models write them: thinking between tags, fences wherever they stand, JSON with words around it."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.answer_text import find_fenced_block, strip_thinking
from llmctl.engine.turn.output_schema import check_output

FENCE = "```"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>hm</think>\n\nyes", "yes"),
        ("\ufeff\n <think>\nhm\n</think>yes", "yes"),
        ("<thinking>hm</thinking>\nyes", "yes"),
        ("<THINK>hm</THINK>yes", "yes"),
        ('<think effort="low">hm</think>yes', "yes"),
        ("<thought>hm</thought>yes", "yes"),
        ("<reasoning>\nhm\n</reasoning>\nyes", "yes"),
        ("[THINK]hm[/THINK]yes", "yes"),
        ("◁think▷hm◁/think▷yes", "yes"),
        ("<|START_THINKING|>hm<|END_THINKING|>yes", "yes"),
        ("<think>hm</think>one\n<think>more</think>\ntwo", "one\n\ntwo"),
        ("hm, so\n</think>\n\nyes", "yes"),
        ("hm, so </think>\r\nyes", "yes"),
        ("<think>cut off here", ""),
        ("<think></think>yes", "yes"),
        # The answer's own words:
        ("Write <think> before you begin, and </think> after it.", None),
        ("The tag `</think>` ends it.", None),
        (f"{FENCE}html\n<think>x</think>\n{FENCE}\n", None),
        (f"{FENCE}text\nhm\n</think>\n{FENCE}\n", None),
        ("one\n<think>never closed", None),
        ("I think so.", None),
    ],
)
def test_thinking_in_the_text_is_not_part_of_the_answer(text: str, answer: str | None) -> None:
    assert strip_thinking(text) == (text if answer is None else answer)


@pytest.mark.parametrize(
    ("text", "block"),
    [
        (f"{FENCE}sh\nls\n{FENCE}", "ls\n"),
        (f"  {FENCE}sh\n  ls -l\n  {FENCE}\n", "ls -l\n"),
        (f"   {FENCE}\n     two more\n   {FENCE}", "  two more\n"),
        (f"1. Run this:\n\n    {FENCE}sh\n    ls\n      -l\n    {FENCE}\n", "ls\n  -l\n"),
        (f"- {FENCE}sh\n  ls\n  {FENCE}\n", "ls\n"),
        (f"10) {FENCE}\n    ls\n    {FENCE}\n", "ls\n"),
        (f"> {FENCE}sh\n> ls\n>\n> pwd\n> {FENCE}\n", "ls\n\npwd\n"),
        (f"> > {FENCE}\n> > ls\n> > {FENCE}\n", "ls\n"),
        (f"> {FENCE}\n> ls\nafter", "ls\n"),
        (f"\t{FENCE}\n\tls\n\t{FENCE}", "ls\n"),
        ("~~~sh\nls\n```\n~~~\n", "ls\n```\n"),
        (f"{FENCE}`md\n{FENCE}sh\nls\n{FENCE}\n{FENCE}`\n", f"{FENCE}sh\nls\n{FENCE}\n"),
        (f"{FENCE}sh\nls\n{FENCE}``\nafter", "ls\n"),
        (f"text\r\n{FENCE}sh\r\nls\r\npwd\r\n{FENCE}\r\n", "ls\npwd\n"),
        (f"\ufeff{FENCE}sh\nls\n{FENCE}", "ls\n"),
        (f"{FENCE}\n{FENCE}", ""),
        (f"{FENCE}sh\nnever closed", "never closed"),
        (f"{FENCE}sh\nopen\n~~~\nclosed\n~~~", "open\n~~~\nclosed\n~~~"),
        (f"<think>{FENCE}sh\nbad\n{FENCE}</think>{FENCE}sh\ngood\n{FENCE}", "good\n"),
        (f"<think>\n{FENCE}sh\nbad\n{FENCE}\n</think>\n{FENCE}sh\ngood\n{FENCE}", "good\n"),
        (f"try\n{FENCE}sh\nbad\n{FENCE}\n</think>\n{FENCE}sh\ngood\n{FENCE}", "good\n"),
        (f"<think>\n{FENCE}sh\nbad\n{FENCE}\n", None),
        ("Use ```code``` in a line.", None),
        ("``\nls\n``", None),
        ("", None),
    ],
)
def test_first_fenced_block_is_found_wherever_it_stands(text: str, block: str | None) -> None:
    assert find_fenced_block(text) == block


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1}',
        '\ufeff{"a":1}\r\n',
        'Here is the JSON: {"a": 1}',
        'Here is the {JSON}:\n\n{"a": 1}\n\nAnything else?',
        '<think>{"a": 2}</think>\n{"a":1}',
        '{"a": 2} is too much\n</think>\n{"a":1}',
        f'Sure:\n  {FENCE}json\r\n  {{"a": 1}}\r\n  {FENCE}',
        f'The schema:\n{FENCE}json\n{{"type":"object"}}\n{FENCE}\nThe answer:\n{FENCE}json\n{{"a":1}}\n{FENCE}',
        f'{FENCE}json\n{{"a":1}}\n{FENCE}\nor\n{FENCE}json\n{{"a":2}}\n{FENCE}',
        '{"b": 1} is not what you want, {"a": 1} is',
    ],
)
def test_json_is_found_among_what_models_write_around_it(text: str) -> None:
    assert check_output(SCHEMA, text) == ({"a": 1}, [])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"a": 1}\n{"a": 2}', "invalid JSON: 2 documents instead of one"),
        ('{"x": {"a": 1}, oops}', "invalid JSON: "),
        ('Here: {"a": NaN}', "invalid JSON: "),
        ("no JSON", "invalid JSON: "),
        ("<think>I could say", "invalid JSON: "),
        ('Here: {"a": "x"}', '/a: "x" is not of type "integer"'),
    ],
)
def test_text_without_one_right_document_is_refused(text: str, error: str) -> None:
    errors: list[Any] = check_output(SCHEMA, text)[1]
    assert errors
    assert errors[0].startswith(error)
