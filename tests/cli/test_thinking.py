"""``--thinking`` and ``--show-thinking`` on the command line: asked for, shown, kept, counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Llmctl, query

THINKS = ("-m", "echo", "-o", "thinking=let me see", "hi")


def effort(run: Llmctl, *arguments: str) -> Any:
    done = run("chat", "--dry-run", "--json", *arguments, "hi")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["body"].get("reasoning_effort")


@pytest.mark.parametrize("flags", [(), ("--no-stream",)])
def test_thinking_is_kept_and_counted_and_shown_when_asked_for(
    llmctl: Llmctl, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    done = llmctl("chat", *THINKS, *flags)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")
    done = llmctl("chat", "--show-thinking", *THINKS, *flags)
    assert (done.stdout, done.stderr) == ("hi\n", "let me see\n\n")
    kept = query(
        tmp_path / "hub.db", "SELECT content, thinking_text, thinking_tokens FROM messages WHERE role = 'assistant'"
    )
    assert kept == [("hi", "let me see", 3)] * 2
    assert query(tmp_path / "hub.db", "SELECT thinking_tokens, output_tokens FROM requests") == [(3, 4)] * 2


def test_thinking_stands_in_json_and_streams_in_jsonl(llmctl: Llmctl) -> None:
    found = json.loads(llmctl("chat", "--json", *THINKS).stdout)
    assert (found["thinking"], found["content"], found["usage"]["thinking_tokens"]) == ("let me see", "hi", 3)
    lines = [json.loads(line) for line in llmctl("chat", "--jsonl", *THINKS).stdout.splitlines()]
    assert "".join(line["text"] for line in lines if line["type"] == "thinking") == "let me see"


def test_thinking_is_shown_though_the_answer_waits_for_its_end(llmctl: Llmctl) -> None:
    done = llmctl(
        "chat", "--show-thinking", "-m", "echo", "-o", "thinking=hm", "--schema", "a int", "-o", 'reply={"a":1}', "x"
    )
    assert (done.stdout, done.stderr) == ('{"a":1}\n', "hm\n\n")


def test_chat_keeps_the_thinking_of_its_first_turn(llmctl: Llmctl) -> None:
    llmctl("chat", "-m", "echo", "--name", "x", "--thinking", "high", "one", check=True)
    assert effort(llmctl, "--name", "x") == "high"
    assert effort(llmctl, "--name", "x", "--thinking", "none") == "none"
    llmctl("chat", "--name", "x", "--thinking", "low", "two", check=True)
    assert effort(llmctl, "--name", "x") == "high"


@pytest.mark.parametrize(("given", "sent"), [("low", "low"), ("1000", "low"), ("9000", "medium"), ("90000", "high")])
def test_tokens_become_an_effort_where_the_host_knows_no_tokens(llmctl: Llmctl, given: str, sent: str) -> None:
    assert effort(llmctl, "-m", "echo", "--thinking", given) == sent


@pytest.mark.parametrize("given", ["much", "-1", "1.5", ""])
def test_what_is_neither_effort_nor_number_is_refused(llmctl: Llmctl, given: str) -> None:
    done = llmctl("chat", "-m", "echo", f"--thinking={given}", "hi")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--thinking" in done.stderr


def test_interrupted_thinking_is_kept(llmctl: Llmctl, tmp_path: Path) -> None:
    done = llmctl("chat", "-m", "echo", "--no-stdin", "-o", "thinking=one two", "-o", "cut=2", "hi")
    assert done.returncode == 12
    assert query(tmp_path / "hub.db", "SELECT status, thinking_text FROM messages WHERE role = 'assistant'") == [
        ("incomplete", "one two")
    ]


def test_model_is_asked_to_say_what_shall_be_shown(llmctl: Llmctl) -> None:
    told = ("-m", "anthropic:claude-sonnet-5-5", "--dry-run", "--json", "hi")
    thinking = [
        json.loads(llmctl("chat", *flags, *told).stdout)["body"].get("thinking") for flags in ((), ("--show-thinking",))
    ]
    assert thinking == [None, {"type": "adaptive", "display": "summarized"}]
