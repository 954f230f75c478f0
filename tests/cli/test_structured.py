"""``--schema`` and ``--fix`` on the command line: what is printed, sent back, kept and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Llmctl, query

WRONG, RIGHT = '{"a":"x"}', '{"a": 3}'


def replies(*lines: str) -> tuple[str, ...]:
    return ("-m", "echo", "-o", "replies:=" + json.dumps("\n".join(lines)), "hi")


def test_answer_that_meets_the_schema_is_printed_as_one_line_of_json(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "--schema", "a int", *replies(RIGHT))
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"a":3}\n', "")
    assert query(env, "SELECT correction_rounds, json_extract(parameters, '$.schema.required') FROM requests") == [
        (0, '["a"]')
    ]


def test_answer_that_does_not_meet_the_schema_leaves_stdout_empty(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "--schema", "a int", *replies(WRONG))
    assert (done.returncode, done.stdout) == (11, "")
    assert '/a: "x" is not of type "integer"' in done.stderr
    assert query(env, "SELECT role, status, content, chat_id IS NULL FROM messages ORDER BY seq") == [
        ("user", "completed", "hi", 0),
        ("assistant", "completed", WRONG, 0),
    ]


def test_json_has_the_value_as_data_and_the_error_has_its_code(llmctl: Llmctl) -> None:
    found = json.loads(llmctl("chat", "--json", "--schema", "a int", *replies(RIGHT)).stdout)
    assert (found["data"], found["content"], found["status"]) == ({"a": 3}, RIGHT, "completed")
    done = llmctl("chat", "--json", "--schema", "a int", *replies(WRONG))
    assert (done.returncode, done.stdout) == (11, "")
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert (error["code"], error["reason"]) == ("invalid-output", "schema")
    assert error["request_id"]


def test_jsonl_ends_with_the_value_or_the_error(llmctl: Llmctl) -> None:
    done = llmctl("chat", "--jsonl", "--schema", "a int", "--fix", "1", *replies("no", RIGHT))
    assert json.loads(done.stdout.splitlines()[-1])["data"] == {"a": 3}
    done = llmctl("chat", "--jsonl", "--schema", "a int", *replies(WRONG))
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "invalid-output"


@pytest.mark.parametrize("flags", [(), ("-x",)])
def test_first_fenced_block_may_hold_the_json(llmctl: Llmctl, flags: tuple[str, ...]) -> None:
    reply = "reply:=" + json.dumps('Here it is:\n\n```json\n{"a": 1}\n```\nand more')
    done = llmctl("chat", "-m", "echo", "--schema", "a int", *flags, "-o", reply, "hi")
    assert (done.returncode, done.stdout) == (0, '{"a":1}\n')


@pytest.mark.parametrize("text", ["NaN", "{}{}", "", "[" * 100_000], ids=["nan", "two", "empty", "deep"])
def test_text_that_is_no_json_is_no_answer(llmctl: Llmctl, text: str) -> None:
    assert llmctl("chat", "-m", "echo", "--schema", "a? int", "-o", f"reply={json.dumps(text)}", "hi").returncode == 11


def test_wrong_answers_go_back_with_what_is_wrong_and_are_counted(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "--name", "x", "--schema", "a int", "--fix", "2", *replies("no", WRONG, RIGHT))
    assert (done.returncode, done.stdout) == (0, '{"a":3}\n')
    assert done.stderr.count("sending it back") == 2
    assert query(env, "SELECT step, correction_rounds, status FROM requests ORDER BY step") == [
        (1, 0, "completed"),
        (2, 1, "completed"),
        (3, 2, "completed"),
    ]
    kept = query(env, "SELECT role, chat_id IS NULL, content FROM messages ORDER BY seq")
    assert [row[:2] for row in kept] == [("user", 0), *[("assistant", 1), ("user", 1)] * 2, ("assistant", 0)]
    assert "invalid JSON" in kept[2][2]
    assert '/a: "x" is not of type "integer"' in kept[4][2]
    assert query(env, "SELECT json_array_length(body, '$.messages') + omitted_messages FROM network_calls") == [
        (1,),
        (3,),
        (5,),
    ]


def test_next_turn_does_not_send_correction_rounds(llmctl: Llmctl) -> None:
    llmctl("chat", "--name", "x", "--schema", "a int", "--fix", "1", *replies("no", RIGHT), check=True)
    body = json.loads(llmctl("chat", "--name", "x", "--dry-run", "--json", "next").stdout)["body"]
    assert [message["content"] for message in body["messages"]] == ["hi", RIGHT, "next"]
    assert "response_format" not in body


def test_what_stays_invalid_keeps_every_row_and_its_last_answer(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "--name", "x", "--schema", "a int", "--fix", "1", *replies("no", WRONG))
    assert (done.returncode, done.stdout) == (11, "")
    assert "after 1 correction" in done.stderr
    assert query(env, "SELECT content, chat_id IS NULL FROM messages WHERE role = 'assistant' ORDER BY seq") == [
        ("no", 1),
        (WRONG, 0),
    ]
    assert query(env, "SELECT status, exit_code FROM jobs") == [("failed", 11)]
    body = json.loads(llmctl("chat", "--name", "x", "--dry-run", "--json", "next").stdout)["body"]
    assert [message["content"] for message in body["messages"]] == ["hi", WRONG, "next"]


def test_steps_bound_the_corrections(llmctl: Llmctl) -> None:
    done = llmctl("chat", "--max-steps", "2", "--schema", "a int", "--fix", "9", *replies("no"))
    assert done.returncode == 11
    assert done.stderr.count("sending it back") == 1


def test_correction_is_no_turn_of_its_own(llmctl: Llmctl) -> None:
    llmctl("chat", "--name", "x", "-m", "echo", "one", check=True)
    given = ("--name", "x", "--history", "1", "--schema", "a int", "--fix", "1", "--jsonl")
    done = llmctl("chat", *given, *replies("no", "no", RIGHT))
    assert done.returncode == 0
    assert "left out" not in done.stderr


def test_unlogged_answer_is_corrected_too_and_leaves_no_text(llmctl: Llmctl, env: dict[str, str]) -> None:
    done = llmctl("chat", "-n", "--schema", "a int", "--fix", "1", *replies("no", RIGHT))
    assert (done.returncode, done.stdout) == (0, '{"a":3}\n')
    assert query(env, "SELECT count(*) FROM messages") == [(0,)]
    assert query(env, "SELECT correction_rounds FROM requests ORDER BY step") == [(0,), (1,)]


def test_tools_may_be_called_before_the_answer_is_checked(llmctl: Llmctl, env: dict[str, str]) -> None:
    tool = ("-o", "tool=weather {}", "-o", "replies:=" + json.dumps("no\n" + RIGHT))
    done = llmctl("chat", "-m", "echo", "--schema", "a int", *tool, "hi")
    assert (done.returncode, done.stdout) == (0, '{"a":3}\n')
    assert query(env, "SELECT count(*) FROM tool_invocations") == [(1,)]


def test_output_file_is_written_for_a_good_answer_alone(llmctl: Llmctl, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert llmctl("chat", "--schema", "a int", "--output", str(path), *replies(WRONG)).returncode == 11
    assert not path.exists()
    assert llmctl("chat", "--schema", "a int", "--output", str(path), *replies(RIGHT)).returncode == 0
    assert path.read_text() == '{"a":3}\n'


def test_schema_comes_from_a_file_json_or_the_short_form(llmctl: Llmctl, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    (tmp_path / "short.txt").write_text("a int: a, or b\nb?\n")

    def sent(given: str) -> Any:
        done = llmctl("chat", "-m", "echo", "--dry-run", "--json", "--schema", given, "hi")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["body"]["response_format"]["json_schema"]["schema"]

    assert sent("schema.json") == sent(json.dumps(schema)) == schema
    assert sent("short.txt")["properties"]["a"] == {"type": "integer", "description": "a, or b"}
    assert sent("a int")["required"] == ["a"]


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--schema", "a foo"), 2, '"foo"'),
        (("--schema", '{"type": "foo"}'), 2, '"foo"'),
        (("--schema", '{"type": '), 2, "not valid JSON"),
        (("--schema", "none.json"), 3, "none.json"),
        (("--schema", "."), 3, "directory"),
        (("--fix", "1"), 2, "--schema"),
        (("--schema", "a", "--fix", "-1"), 2, "--fix"),
    ],
)
def test_bad_schema_is_refused_before_any_call(
    llmctl: Llmctl, env: dict[str, str], flags: tuple[str, ...], code: int, said: str
) -> None:
    llmctl("init", "--no-detect", "--no-prisma", check=True)
    done = llmctl("chat", "-m", "echo", *flags, "hi")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert query(env, "SELECT count(*) FROM requests") == [(0,)]
