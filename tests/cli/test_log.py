"""``llmctl log``: text that grows, written from a pipe, shown, followed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmctl.store.opening import open_hub
from llmctl.store.records import text_logs
from tests.cli.within import parsed, run  # noqa: F401


def start(env, *arguments):
    command = [sys.executable, "-m", "llmctl", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=dict(env), stdin=pipe, stdout=pipe, stderr=pipe)


def test_what_is_piped_in_comes_out(run):  # noqa: F811
    log_id = run("--quiet", "log", "add", input="one\ntwo é\n").stdout.strip()
    assert run("log", "show", log_id).stdout == "one\ntwo é\n"
    run("log", "add", "--to", log_id, "and", "three")
    assert run("log", "show", log_id[:8]).stdout == "one\ntwo é\nand three\n"
    document = parsed(run("log", "show", log_id, "--json"))
    assert (document["text"], document["pieces"], document["characters"]) == ("one\ntwo é\nand three\n", 3, 20)


def test_list_shows_where_logs_begin_the_newest_first(run):  # noqa: F811
    run("log", "add", "first", "--reference", "ticket=42")
    run("log", "add", "second")
    found = parsed(run("log", "list", "--json"))
    assert [row["beginning"] for row in found] == ["second\n", "first\n"]
    assert found[1]["references"] == {"ticket": "42"}


@pytest.mark.parametrize(("lines", "wanted"), [(0, ""), (1, "line 29"), (2, "line 28\nline 29"), (40, None)])
def test_tail_prints_the_last_lines_over_all_pieces(env, run, lines, wanted):  # noqa: F811
    text = "\n".join(f"line {number}" for number in range(30))
    database = open_hub(env["LLMCTL_DB"], "create")
    log_id = text_logs.add(database, text[:50], {})
    for begin in range(50, len(text), 7):
        text_logs.append(database, log_id, text[begin : begin + 7])
    database.close()
    assert run("log", "tail", log_id, "-n", str(lines)).stdout == (text if wanted is None else wanted)


def test_tail_reads_no_more_pieces_than_it_needs(env):
    database = open_hub(env["LLMCTL_DB"], "create")
    log_id = text_logs.add(database, "", {})
    with database.transaction():
        for number in range(500):
            text_logs.append(database, log_id, f"line {number}\n")
    seen = []
    rows = database.rows
    database.rows = lambda *arguments: (seen.append(row) or row for row in rows(*arguments))
    assert text_logs.ending(database, log_id, 3)[0] == "line 497\nline 498\nline 499\n"
    assert len(seen) == 4
    plan = database.query(
        "EXPLAIN QUERY PLAN SELECT text FROM {text_logs} WHERE series_id = ? AND position > ? ORDER BY position",
        (log_id, 400),
    )
    assert [step["detail"].split(" ", 1)[0] for step in plan] == ["SEARCH"]


def test_a_log_can_be_followed_while_it_is_written(env):
    writer = start(env, "log", "add")
    log_id = writer.stdout.readline().decode().strip()
    reader = start(env, "log", "tail", log_id, "-f")
    try:
        for word in (b"one\n", b"two\n"):
            writer.stdin.write(word)
            writer.stdin.flush()
            assert reader.stdout.readline() == word
    finally:
        reader.kill()
        reader.communicate()
        writer.kill()
        writer.communicate()
    # Killed in the middle: what was read is safe.
    with_hub = open_hub(env["LLMCTL_DB"])
    assert "".join(piece["text"] for piece in text_logs.pieces(with_hub, log_id)) == "one\ntwo\n"
    with_hub.close()


def test_bad_bytes_become_legible(llmctl, env):
    done = subprocess.run(
        [sys.executable, "-m", "llmctl", "--quiet", "log", "add"],
        env=dict(env),
        input=b"\xc3\x28\0x",
        capture_output=True,
    )
    log_id = done.stdout.decode().strip()
    assert llmctl("log", "show", log_id).stdout == "\ufffd(\ufffdx"


def test_an_unknown_log_is_not_found_and_a_piece_is_no_log(env, run):  # noqa: F811
    log_id = run("--quiet", "log", "add", "x").stdout.strip()
    database = open_hub(env["LLMCTL_DB"])
    piece = database.value("SELECT id FROM {text_logs} WHERE series_id = ?", (log_id,))
    database.close()
    assert run("log", "show", "00000000").exit_code == 3
    assert run("log", "show", piece).exit_code == 2
