"""``llmctl log``: text that grows, written from a pipe, shown, followed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from llmctl.store.opening import open_hub
from llmctl.store.records import text_logs
from tests.harness import Llmctl, RunInProcess, parse_json


def test_what_is_piped_in_comes_out(llmctl_in_process: RunInProcess) -> None:
    log_id = llmctl_in_process("--quiet", "log", "add", input="one\ntwo é\n").stdout.strip()
    assert llmctl_in_process("log", "show", log_id).stdout == "one\ntwo é\n"
    llmctl_in_process("log", "add", "--to", log_id, "and", "three")
    assert llmctl_in_process("log", "show", log_id[:8]).stdout == "one\ntwo é\nand three\n"
    document = parse_json(llmctl_in_process("log", "show", log_id, "--json"))
    assert (document["text"], document["pieces"], document["characters"]) == ("one\ntwo é\nand three\n", 3, 20)


def test_list_shows_where_logs_begin_the_newest_first(llmctl_in_process: RunInProcess) -> None:
    llmctl_in_process("log", "add", "first", "--reference", "ticket=42")
    llmctl_in_process("log", "add", "second")
    found = parse_json(llmctl_in_process("log", "list", "--json"))
    assert [row["beginning"] for row in found] == ["second\n", "first\n"]
    assert found[1]["references"] == {"ticket": "42"}


@pytest.mark.parametrize(("lines", "wanted"), [(0, ""), (1, "line 29"), (2, "line 28\nline 29"), (40, None)])
def test_tail_prints_the_last_lines_over_all_pieces(
    env: dict[str, str], llmctl_in_process: RunInProcess, lines: int, wanted: str | None
) -> None:
    text = "\n".join(f"line {number}" for number in range(30))
    database = open_hub(env["LLMCTL_DB"], "create")
    log_id = text_logs.add(database, text[:50], {})
    for begin in range(50, len(text), 7):
        text_logs.append(database, log_id, text[begin : begin + 7])
    database.close()
    assert llmctl_in_process("log", "tail", log_id, "-n", str(lines)).stdout == (text if wanted is None else wanted)


def test_tail_reads_no_more_pieces_than_it_needs(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_hub(env["LLMCTL_DB"], "create")
    log_id = text_logs.add(database, "", {})
    with database.transaction():
        for number in range(500):
            text_logs.append(database, log_id, f"line {number}\n")
    seen: list[Any] = []
    rows = database.rows

    def count_rows(*arguments: Any) -> Iterator[Any]:
        for row in rows(*arguments):
            seen.append(row)
            yield row

    monkeypatch.setattr(database, "rows", count_rows)
    assert text_logs.tail(database, log_id, 3)[0] == "line 497\nline 498\nline 499\n"
    assert len(seen) == 4
    plan = database.query(
        "EXPLAIN QUERY PLAN SELECT text FROM {text_logs} WHERE series_id = ? AND position > ? ORDER BY position",
        (log_id, 400),
    )
    assert [step["detail"].split(" ", 1)[0] for step in plan] == ["SEARCH"]


def test_log_is_followed_while_it_is_written(llmctl: Llmctl, env: dict[str, str]) -> None:
    with llmctl.start("log", "add", stdin=subprocess.PIPE) as writer:
        log_id = writer.wait_for_output("\n").strip()
        with llmctl.start("log", "tail", log_id, "-f") as reader:
            for word in ("one\n", "two\n"):
                writer.write(word.encode())
                reader.wait_for_output(word)
            assert reader.output == b"one\ntwo\n"
    # Killed in the middle: what was read is safe.
    with_hub = open_hub(env["LLMCTL_DB"])
    assert "".join(piece["text"] for piece in text_logs.list_pieces(with_hub, log_id)) == "one\ntwo\n"
    with_hub.close()


def test_bad_bytes_become_legible(llmctl: Llmctl) -> None:
    log_id = llmctl("--quiet", "log", "add", input=b"\xc3\x28\0x").stdout.strip()
    assert llmctl("log", "show", log_id).stdout == "\ufffd(\ufffdx"


def test_an_unknown_log_is_not_found_and_a_piece_is_no_log(
    env: dict[str, str], llmctl_in_process: RunInProcess
) -> None:
    log_id = llmctl_in_process("--quiet", "log", "add", "x").stdout.strip()
    database = open_hub(env["LLMCTL_DB"])
    piece = database.value("SELECT id FROM {text_logs} WHERE series_id = ?", (log_id,))
    database.close()
    assert llmctl_in_process("log", "show", "00000000").returncode == 3
    assert llmctl_in_process("log", "show", piece).returncode == 2
