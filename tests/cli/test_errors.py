"""How a command line fails: exit code, the lines for people, the line for programs, and silence from Python."""

from __future__ import annotations

import json
import os
import select
import subprocess
from pathlib import Path

import pytest

from llmctl.cli.help.topics import EXIT_CODE_HELP
from llmctl.core.errors import EXIT_CODES
from tests.cli.sample_commands import SAMPLE_CLI
from tests.harness import wait_until


def stage(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SAMPLE_CLI, *arguments], capture_output=True, text=True)


def test_known_error_is_a_line_and_its_hints() -> None:
    done = stage("fail", "known")
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == "llmctl: no answer\nhint: try again\nhint: or do not\n"


@pytest.mark.parametrize("flag", ["--json", "--jsonl"])
def test_known_error_is_an_object_with_json(flag: str) -> None:
    done = stage("row", flag, "--zzz")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"] == {
        "code": "usage",
        "reason": None,
        "message": 'no option "--zzz"',
        "hint": 'see "llmctl row --help"',
        "retryable": False,
        "chat_id": None,
        "request_id": None,
    }


def test_json_behind_the_dashes_is_no_flag() -> None:
    assert stage("fail", "--", "known", "--json").stderr.startswith('llmctl: unexpected argument "--json"\n')


def test_bug_is_one_line_and_a_traceback_only_with_debug() -> None:
    done = stage("fail", "bug")
    assert done.returncode == 1
    assert done.stderr == (
        "llmctl: internal error: ZeroDivisionError: oh no\nhint: run again with --debug to see the traceback\n"
    )
    assert "Traceback" in stage("fail", "bug", "--debug").stderr
    assert "Traceback" in stage("--debug", "fail", "bug").stderr


def test_error_message_with_bytes_that_are_no_text_is_printed() -> None:
    done = stage("fail", "name")
    assert (done.returncode, done.stderr) == (3, 'llmctl: no chat "\\udcff"\n')


def test_output_before_a_failure_is_delivered() -> None:
    done = stage("fail", "after-output")
    assert (done.returncode, done.stdout, done.stderr) == (6, "half\n", "llmctl: gone\n")


def test_sqlite_error_is_a_storage_error_in_clear_words(tmp_path: Path) -> None:
    text = tmp_path / "hub.db"
    text.write_text("no database at all, but long enough to look at\n" * 100)
    for path, message in ((text, "the file is not an SQLite database"), (tmp_path, "the hub cannot be opened")):
        done = stage("fail", str(path))
        assert done.returncode == 13
        assert done.stderr.splitlines()[0] == f"llmctl: {message}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fail"], "missing argument KIND"),
        (["rows", "--count", "x"], 'invalid value for "--count": "x" is not a valid int'),
        (["rows", "--count"], 'option "--count" requires a value'),
        (["rows", "--cuont=1"], 'no option "--cuont"'),
        (["rows", "more"], 'unexpected argument "more"'),
        (["rows", "--json=1"], 'option "--json" takes no value'),
        (["rows", "--tsv", "--csv"], "--tsv and --csv cannot be combined"),
        (["rows", "--columns", "nmae"], 'no column "nmae"'),
        (["rows", "--columns", ","], 'option "--columns" requires column names'),
        (["--db"], 'option "--db" requires a value'),
        (["--db="], 'option "--db" requires a path'),
        (["--db", "--quiet", "rows"], 'option "--db" requires a path'),
    ],
)
def test_bad_usage_is_one_clear_line_and_a_hint(arguments: list[str], message: str) -> None:
    done = stage(*arguments)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, lines[0]) == (2, "", f"llmctl: {message}")
    assert lines[1].startswith("hint: ")


def test_unknown_column_lists_those_there_are() -> None:
    assert "hint: available: id, name, created_at" in stage("rows", "--columns", "x").stderr


def test_full_disk_behind_stdout_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SAMPLE_CLI, "rows"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "llmctl: cannot write to standard output: No space left on device\n",
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-"])
def test_closed_stream_is_no_crash(closed: str) -> None:
    command = f'"$@" {closed}'
    done = subprocess.run(["bash", "-c", command, "_", *SAMPLE_CLI, "rows"], capture_output=True, text=True)
    if closed == ">&-":
        assert done.returncode == 1
        assert done.stderr == "llmctl: cannot write to standard output: Bad file descriptor\n"
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("00000000-0000\t")


def test_closed_stdout_stays_free_of_files_that_are_opened_later(tmp_path: Path) -> None:
    hub = tmp_path / "hub.db"
    subprocess.run(["bash", "-c", '"$@" >&-', "_", *SAMPLE_CLI, "fail", str(hub)], capture_output=True)
    assert hub.read_bytes().startswith(b"SQLite format 3")


def test_output_is_utf8_whatever_the_locale() -> None:
    for locale in ("C", "POSIX", "de_DE.ISO-8859-1"):
        done = subprocess.run(
            [*SAMPLE_CLI, "caf\u00e9"], capture_output=True, env={"LC_ALL": locale, "PYTHONIOENCODING": "latin-1"}
        )
        assert 'no command "caf\u00e9"'.encode() in done.stderr


def test_every_exit_code_is_explained() -> None:
    assert EXIT_CODE_HELP.keys() == EXIT_CODES.keys()


def test_pipe_that_does_not_block_gets_everything() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with subprocess.Popen(
        [*SAMPLE_CLI, "rows", "--count", "5000"], stdout=write_end, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: not select.select([], [write_end], [], 0)[1])  # the pipe is full
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            assert pipe.read().count(b"\n") == 5000
    assert process.returncode == 0
