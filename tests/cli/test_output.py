"""Results on stdout: what a pipe gets, what programs get, what a terminal shows."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
from typing import Any

import pytest

from llmctl.cli.console import terminal
from llmctl.core.humanize import format_age
from tests.cli.sample_commands import ROW, SAMPLE_CLI, add_sample_commands
from tests.harness import run_in_process

add_sample_commands()


def piped(*arguments: str) -> str:
    result = run_in_process(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def on_terminal(*arguments: str, columns: int = 100, **env: str) -> str:
    """Run with a real terminal as stdout and stderr; return what it was sent."""
    ours, theirs = pty.openpty()
    environment = {"COLUMNS": str(columns), "TERM": "xterm", "PATH": os.environ["PATH"]} | env
    process = subprocess.Popen([*SAMPLE_CLI, *arguments], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    assert process.wait() == 0
    return b"".join(pieces).decode().replace("\r\n", "\n")


NAME = r"tab\there, back\\slash,\nline " + "\x1b[31mred"


def test_pipe_gets_tabs_without_header_full_and_escaped() -> None:
    line = f"00000000-0000\t{NAME}\t2026-01-02T03:04:05.678+00:00\t1234\ttrue\n"
    assert piped("rows") == line


def test_pipe_gets_nothing_for_no_rows() -> None:
    assert piped("rows", "--count", "0") == ""


def test_tsv_has_a_header_and_all_columns() -> None:
    header, line = piped("rows", "--tsv").splitlines()
    assert header == "id\tname\tcreated_at\tinput_tokens\tis_default\tstatus\tmetadata"
    assert line.endswith('\ttrue\tfailed\t{"k":[1,null]}')


def test_csv_is_rfc_4180() -> None:
    text = piped("rows", "--csv")
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert header[:2] == ["id", "name"]
    assert (row[1], row[-1]) == (ROW["name"], ROW["metadata"])
    assert text.endswith("\r\n")


def test_json_is_an_array_of_whole_records() -> None:
    (record,) = json.loads(piped("rows", "--json"))
    assert record["references"] == {}
    assert "refs" not in record
    assert (record["is_default"], record["metadata"], record["unlisted"]) == (True, {"k": [1, None]}, "x")
    assert record["created_at"] == "2026-01-02T03:04:05.678+00:00"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_array_is_valid_for_any_number_of_rows(count: int) -> None:
    assert len(json.loads(piped("rows", "--json", "--count", str(count)))) == count


def test_jsonl_is_an_object_a_line() -> None:
    lines = piped("rows", "--jsonl", "--count", "2").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["00000000-0000", "00000001-0000"]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ((), "1234\t00000000-0000\n"),
        (("--csv",), "input_tokens,id\r\n1234,00000000-0000\r\n"),
        (("--jsonl",), '{"input_tokens":1234,"id":"00000000-0000"}\n'),
    ],
)
def test_columns_choose_and_order(flag: tuple[Any, ...], expected: str) -> None:
    assert piped("rows", "--columns", "input_tokens, id", *flag) == expected


def test_record_in_a_pipe_is_a_name_and_a_value_a_line() -> None:
    lines = piped("row").splitlines()
    assert lines[0] == f"id\t{ROW['id']}"
    assert lines[1] == f"name\t{NAME}"


def test_record_in_json_is_an_object() -> None:
    assert json.loads(piped("row", "--json"))["references"] == {}
    assert json.loads(piped("row", "--json", "--columns", "name")) == {"name": ROW["name"]}


def test_made_record_is_its_id_to_a_pipe_and_with_quiet() -> None:
    result = run_in_process("make")
    assert (result.stdout, result.stderr) == (f"{ROW['id']}\n", 'llmctl: made row "x"\n')
    result = run_in_process("make", "--quiet")
    assert (result.stdout, result.stderr) == (f"{ROW['id']}\n", "")
    assert json.loads(piped("make", "--json"))["id"] == ROW["id"]


def test_made_record_on_a_terminal_is_a_sentence_and_quiet_its_id() -> None:
    assert on_terminal("make") == 'llmctl: made row "x"\n'
    assert on_terminal("make", "--quiet") == f"{ROW['id']}\n"


def test_terminal_gets_a_table_with_short_ids_and_relative_times() -> None:
    header, line = on_terminal("rows", NO_COLOR="1").splitlines()
    assert header.split() == ["ID", "NAME", "CREATED", "AT", "INPUT", "TOKENS", "IS", "DEFAULT"]
    assert line.startswith("00000000  tab here, back\\slash, line ␛[31mred")
    assert "1,234" in line
    assert "yes" in line
    assert "T03:04" not in line


def test_terminal_is_never_steered_by_data() -> None:
    for flags in ((), ("--json",), ("--columns", "name")):
        assert "\x1b[31mred" not in on_terminal("rows", *flags)
        assert "\x1b[31mred" not in on_terminal("row", *flags)


def test_terminal_table_fits_its_width() -> None:
    for columns in (60, 80, 200):
        lines = on_terminal("rows", "--quiet", columns=columns, NO_COLOR="1").splitlines()
        assert max(map(len, lines)) <= columns
    assert "…" in on_terminal("rows", columns=60, NO_COLOR="1")


def test_columns_at_the_end_go_before_the_name_is_cut() -> None:
    lines = on_terminal("named", columns=62, NO_COLOR="1").splitlines()
    assert lines[0].split() == ["NAME", "CREATED", "AT", "INPUT", "TOKENS"]
    assert lines[1].startswith("a-name-of-thirty-characters-01  ")
    assert lines[3] == "llmctl: not wide enough for 1 column; to see: --columns is_default"
    chosen = on_terminal("named", "--columns", "name,created_at,input_tokens,is_default", columns=62, NO_COLOR="1")
    assert chosen.splitlines()[0].endswith("IS DEFAULT")


def test_color_is_used_only_on_request() -> None:
    assert "\x1b[33m" in on_terminal("rows")
    assert "\x1b" not in on_terminal("rows", NO_COLOR="1")
    assert "\x1b" not in on_terminal("rows", TERM="dumb")
    assert "\x1b" not in piped("rows", "--columns", "id")


def test_wide_characters_take_two_cells() -> None:
    assert terminal.display_width("日本e\u0301") == 5
    assert terminal.truncate("日本語日本語", 7) == "日本語…"
    assert terminal.truncate("abc", 3) == "abc"


def test_columns_stay_in_line_beside_wide_characters() -> None:
    _, wide, narrow = on_terminal("rows", "--count=-1", "--columns", "name,input_tokens", NO_COLOR="1").splitlines()
    assert terminal.display_width(wide) == terminal.display_width(narrow)


def test_ago_counts_in_the_unit_that_fits() -> None:
    then = "2026-01-02T03:04:05.678+00:00"
    base = 1767323045.678
    said = [format_age(then, base + seconds) for seconds in (0, 59, 61, 7300, 86400 * 3, 86400 * 40, -120)]
    assert said == ["0 s ago", "59 s ago", "1 min ago", "2 h ago", "3 d ago", "2026-01-02", "in 2 min"]


@pytest.mark.slow
def test_listing_streams_with_flat_memory() -> None:
    script = f"import resource, runpy, sys; sys.argv = ['x', 'rows', '--count', sys.argv[1], '--jsonl']; {_PEAK}"
    small, large = (
        int(subprocess.run([SAMPLE_CLI[0], "-c", script, count], capture_output=True, text=True).stderr)
        for count in ("10", "50000")
    )
    assert large - small < 3000  # KiB


_PEAK = f"""
sys.path.insert(0, {os.path.dirname(SAMPLE_CLI[1])!r})
import sample_commands, os
from llmctl.cli.console.console import process_streams
from llmctl.cli.main import run
sample_commands.add_sample_commands()
run(sys.argv[1:], {{}}, process_streams())
sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
""".strip().replace("\n", "; ")
