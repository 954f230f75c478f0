"""``chat -m A -m B``: all models at once, one answer under the other, and which of them goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import (
    LLMCTL,
    Llmctl,
    RunInProcess,
    parse_json,
    query,
    require_failure,
    require_success,
    run_on_terminal,
)

Ask = Callable[..., object]


@pytest.fixture
def models(llmctl_in_process: RunInProcess) -> RunInProcess:
    """llmctl with three connections: two that answer with their names, and one that fails."""
    for name, option in (("one", "reply=I am **one**"), ("two", "reply=I am two"), ("bad", "fail=503")):
        require_success(
            llmctl_in_process("connection", "add", name, "--provider", "echo", "--model", "echo", "--option", option)
        )
    return llmctl_in_process


BOTH = ("chat", "-m", "one", "-m", "two")
FAILING = ("--retries", "0")


def test_answers_stand_one_under_the_other_in_the_order_of_the_models(models: RunInProcess) -> None:
    done = models("chat", "-u", "-m", "two", "-m", "one", "hi")
    assert require_success(done) == "## two (echo)\n\nI am two\n\n## one (echo)\n\nI am **one**\n"
    assert [line.split(", ")[-2] for line in done.stderr.splitlines()] == ["echo", "echo"]


def test_json_is_an_array_and_jsonl_objects_of_a_model(models: RunInProcess) -> None:
    documents = parse_json(models(*BOTH, "--json", "hi"))
    assert [(one["connection"], one["content"]) for one in documents] == [("one", "I am **one**"), ("two", "I am two")]
    lines = models(*BOTH, "--jsonl", "hi").lines
    for name, text in (("one", "I am **one**"), ("two", "I am two")):
        own = [line for line in lines if line["connection"] == name]
        assert [own[0]["type"], own[-1]["type"], own[-1]["content"]] == ["start", "done", text]
        assert "".join(line["text"] for line in own if line["type"] == "text") == text


@pytest.mark.parametrize("data", ["[1, 2]", '{"a": 1}'])
def test_data_of_a_schema_has_no_field_of_ours(models: RunInProcess, data: str) -> None:
    schema = '{"type": "array"}' if data.startswith("[") else '{"type": "object"}'
    done = models(*BOTH, "--schema", schema, "-o", f"reply={data}", "hi")
    shown = require_success(done).replace("\n", "").replace(" ", "")
    assert shown == "".join(f"##{name}(echo){data}" for name in ("one", "two")).replace(" ", "")


def test_some_failures_are_exit_code_14_and_all_that_of_the_first(models: RunInProcess) -> None:
    some = models("chat", "-m", "one", "-m", "bad", *FAILING, "hi")
    assert (some.returncode, some.stdout) == (14, "## one (echo)\n\nI am **one**\n\n## bad (echo)\n\n")
    assert "llmctl: bad (echo): simulated failure with status 503 (from bad)\n" in some.stderr
    assert some.stderr.splitlines()[-1] == 'llmctl: 1 of 2 models failed: "bad"'
    documents = models("chat", "-m", "bad", "-m", "one", *FAILING, "--json", "hi")
    assert documents.returncode == 14
    assert [one.get("error", {}).get("code") for one in documents.json] == ["unavailable", None]
    every = models("chat", "-m", "bad", "-m", "bad", *FAILING, "hi")
    assert (every.returncode, every.stderr.splitlines()[-1]) == (6, "llmctl: all 2 models failed")


def test_output_has_all_answers_or_is_not_written(models: RunInProcess, tmp_path: Path) -> None:
    file = tmp_path / "answers.md"
    require_success(models(*BOTH, "--output", str(file), "hi"))
    text = file.read_text()
    assert text == "## one (echo)\n\nI am **one**\n\n## two (echo)\n\nI am two\n"
    assert models("chat", "-m", "one", "-m", "bad", *FAILING, "--output", str(file), "no").returncode == 14
    assert file.read_text() == text


def test_the_branches_are_one_chat_until_one_of_them_goes_on(models: RunInProcess, env: dict[str, str]) -> None:
    require_success(models(*BOTH, "--name", "both", "hi"))
    listed = parse_json(models("chats", "list", "--json"))
    assert [chat["name"] for chat in listed] == ["both"]
    assert len(parse_json(models("chats", "list", "--branches", "--json"))) == 2
    for words in (["-c"], ["--name", "both"]):
        asked = require_failure(models("chat", *words, "more"), 2)
        refs = [line.rpartition(" ")[2] for line in asked.splitlines() if "--chat" in line]
        assert len(refs) == 2
    require_success(models("chat", "--chat", refs[1], "more"))
    assert query(env, "SELECT name, superseded_by IS NULL FROM chats ORDER BY superseded_by IS NULL") == [
        (None, 0),
        ("both", 1),
    ]
    assert require_success(models("chat", "-c", "again")) == "I am two\n"


def test_each_model_continues_the_chat_in_a_branch_of_its_own(models: RunInProcess) -> None:
    require_success(models("chat", "-m", "one", "--name", "long", "first"))
    documents = parse_json(models(*BOTH, "--name", "long", "--json", "second"))
    for document in documents:
        shown = parse_json(models("chats", "show", document["chat_id"], "--json"))
        assert [message["content"] for message in shown["messages"]][::2] == ["first", "second"]
    require_success(models("chat", "--chat", documents[1]["chat_id"], "third"))
    assert parse_json(models("chats", "show", "long", "--json"))["id"] == documents[1]["chat_id"]
    assert require_success(models("chat", "--name", "long", "fourth")) == "I am two\n"  # with the model that was kept


def test_a_failed_model_is_no_branch_to_go_on_with(models: RunInProcess) -> None:
    assert models("chat", "-m", "bad", "-m", "one", *FAILING, "--name", "mixed", "hi").returncode == 14
    assert require_success(models("chat", "--name", "mixed", "more")) == "I am **one**\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "-m", "one", "-m", "two", "file"), '--model may be given once here, got "one" and "two"'),
        (("agent", "run", "clerk", "-m", "one", "-m", "two", "hi"), "--model may be given once here"),
        ((*BOTH, "--dry-run", "hi"), "several -m and --dry-run cannot be combined"),
        ((*BOTH, "--detach", "hi"), "several -m and --detach cannot be combined"),
        ((*BOTH, "--connection", "one", "hi"), "several -m and --connection cannot be combined"),
    ],
)  # fmt: skip
def test_several_models_are_refused_where_one_answer_is_meant(
    models: RunInProcess, arguments: tuple[str, ...], message: str
) -> None:
    assert message in require_failure(models(*arguments), 2)


def test_a_limit_of_cost_holds_for_all_models_together(models: RunInProcess) -> None:
    assert len(parse_json(models(*BOTH, "--max-cost", "1", "--json", "hi"))) == 2


def test_the_terminal_asks_which_one_goes_on(models: RunInProcess, env: dict[str, str]) -> None:
    assert run_on_terminal([*LLMCTL, *BOTH, "hi"], env)[0] == 0
    where = "Which one goes on? Number or model:"
    code, screen = run_on_terminal([*LLMCTL, "chat", "-c", "m"], env, [(where, b"three\n"), (where, b"2\n")])
    assert code == 0, screen
    assert "  1  echo of one\n  2  echo of two\n" in screen
    assert 'no single answer of "three"; choose one of: 1 echo, 2 echo' in screen
    assert "I am two\n" in screen


def test_keep_chooses_within_the_interactive_chat(models: RunInProcess, env: dict[str, str]) -> None:
    typed = [(">", b"/keep two\n"), (">", b"more\n"), (">", b"/keep one\n"), (">", b"exit\n")]
    code, screen = run_on_terminal([*LLMCTL, *BOTH, "-i", "hi"], env, typed)
    assert code == 0, screen
    assert "now using echo of two" in screen
    assert "there is one answer only" in screen
    assert query(env, "SELECT count(*) FROM chats WHERE superseded_by IS NULL") == [(1,)]


def test_an_interrupted_comparison_keeps_what_each_model_said(llmctl: Llmctl, env: dict[str, str]) -> None:
    require_success(llmctl("init", "--no-detect"))
    arguments = ("chat", "-m", "echo", "-m", "echo:echo", "--jsonl", "-o", "delay=0.05", "a " * 400)
    with llmctl.start(*arguments) as running:
        running.wait_for_output('"text"')
        assert running.kill(signal.SIGINT).returncode == -signal.SIGINT
    assert query(env, "SELECT DISTINCT status FROM requests") == [("interrupted",)]
    assert query(env, "SELECT count(*) FROM message_threads WHERE locking_job_id IS NOT NULL") == [(0,)]
